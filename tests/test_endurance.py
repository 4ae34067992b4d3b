"""The long run: detections that move and memory that grows are seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.product import endurance
from kws import Detection, Detector
from kws.config import SAMPLE_RATE

LENGTH = 600 * SAMPLE_RATE


@dataclass
class Fake:
    """Two words in each repetition, in its own way from some repetition on."""

    slip: float = 0.0  # s by which the second word moves each time
    lost_after: int = 10**9  # repetitions
    samples: int = 0

    def process(self, block: np.ndarray) -> list[Detection]:
        """A word after the first and the second block of each repetition."""
        number, place = divmod(self.samples, LENGTH)
        self.samples += len(block)
        end = self.samples / SAMPLE_RATE
        word = Detection("yes", 0.9, end - 0.5, end)
        if place == 0:
            return [word]
        if place == endurance.BLOCK and number < self.lost_after:
            return [replace(word, keyword="no", end=end + number * self.slip)]
        return []


def measured(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two hours of it, in which the memory grows by a byte with each look."""
    counter = iter(range(1000, 2000))
    monkeypatch.setattr(endurance, "resident", lambda: next(counter))
    audio = np.zeros(LENGTH, np.int16)
    monkeypatch.setattr(endurance, "BLOCK", LENGTH // 4)
    return endurance.measure(audio, 2, fake)  # type: ignore[arg-type]


def test_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal repetitions have no drift; growth counts from the end of the first hour."""
    found = measured(Fake(), monkeypatch)
    assert (12, 2) == (found["repetitions"], found["detections_in_each"])
    assert 0 == found["repetitions_with_other_detections"]
    assert found["largest_shift_of_a_detection_s"] < 1e-9
    assert 6 == found["growth_bytes"]


def test_drift_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that slips, and a word that is lost from the eighth repetition on."""
    found = measured(Fake(slip=0.01), monkeypatch)
    assert 0.1 == pytest.approx(found["largest_shift_of_a_detection_s"])
    found = measured(Fake(lost_after=8), monkeypatch)
    assert 4 == found["repetitions_with_other_detections"]


def test_real_audio(recordings: Path) -> None:
    """Ten minutes of the recordings; the first of them hold words that are detected."""
    audio = endurance.audio_to_repeat(recordings.parent, 0)
    assert LENGTH == len(audio)
    assert not audio[-endurance.QUIET_END :].any()
    with Detector() as detector:
        assert detector.process(audio[: 20 * SAMPLE_RATE])
