"""Detector, pool, replay, scan and listening find the same to the last digit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kws import AudioFile, Detection, Detector, DetectorPool, Model, load_model
from kws.cli import main
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.evaluation.replay import PosteriorRecorder
from kws.operating_point import OperatingPoint
from kws.scanning.scan import ScanSettings, scan_recordings

pytest.importorskip("onnxruntime")

Int16Array = NDArray[np.int16]


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped model."""
    return load_model()


@pytest.fixture(scope="module")
def demonstration() -> Int16Array:
    """The recording of `kws listen --demo`: commands, other words, pauses."""
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))


def pieces(audio: Int16Array, places: Sequence[int]) -> list[Int16Array]:
    """The audio, cut at these places, as far as they lie in it; empty blocks included."""
    return np.split(audio, sorted(place % len(audio) for place in places))


POINTS: tuple[dict[str, Any], ...] = (
    {},
    {"verify": False, "isolated": False},
    {"threshold": 0.4, "keywords": ("no", "up", "yes")},
    {"threshold": {"no": 0.3}, "sensitivity": "high"},
)
cuts = st.lists(st.integers(0, 200_000), max_size=30)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cut=st.lists(cuts, min_size=3, max_size=3), vad=st.booleans(), point=st.sampled_from(POINTS))
def test_all_ways_agree(
    cut: list[list[int]],
    vad: bool,
    point: dict[str, Any],
    model: Model,
    demonstration: Int16Array,
) -> None:
    """Detector, pool and replay find the same to the last digit, however the audio is cut."""
    pause = np.zeros(30_000, np.int16)  # closes the gate, which the recording's own do not
    parts = [
        np.concatenate((demonstration[:40_000], pause, demonstration[40_000:60_000])),
        np.concatenate((pause, demonstration[70_000:110_000])),
        demonstration[8_000:60_000],
    ]
    expected = [list(Detector(model, vad=vad, **point).listen([part])) for part in parts]
    assert any(expected)
    blocks = [pieces(part, places) for part, places in zip(parts, cut, strict=True)]

    detector = Detector(model, vad=vad, **point)
    assert expected == [list(detector.listen(each)) for each in blocks]

    pool = DetectorPool(model, 3, vad=vad, **point)
    found: list[list[Detection]] = [[], [], []]
    for turn in range(max(map(len, blocks))):
        turns = [each[turn] if turn < len(each) else None for each in blocks]
        for stream, detections in enumerate(pool.process(turns)):
            found[stream] += detections
    for stream in range(3):
        found[stream] += pool.finish(stream)
    assert expected == found

    chosen = OperatingPoint.of(model, **point)
    recorder = PosteriorRecorder(model, vad, chosen.verified)
    tracks = [recorder.record("", each) for each in blocks]
    labels, settled = model.manifest.labels, (chosen.thresholds, chosen.config, chosen.keywords)
    assert expected == [track.detections(labels, *settled) for track in tracks]


def test_scan_and_listen_agree(
    model: Model,
    demonstration: Int16Array,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A scan of several files at once finds in each what a detector finds, as listening does."""
    parts = [demonstration, demonstration[40_000:100_001], demonstration[:1]]
    paths = [str(tmp_path / f"{number}.wav") for number in range(3)]
    for path, part in zip(paths, parts, strict=True):
        soundfile.write(path, part, SAMPLE_RATE)
    expected = [list(Detector(model).listen([part])) for part in parts]
    assert len(expected[0]) >= 8
    scanned = scan_recordings(paths, ScanSettings(streams=2))
    assert expected == [list(each.detections) for each in scanned]
    assert 0 == main(["listen", "--input", paths[0], "--json-plain"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [round(each.score, 4) for each in expected[0]] == [line["score"] for line in lines]
