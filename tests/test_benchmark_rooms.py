"""Commands over talk: scenes at their mixture, misses by a plain rule, as detectors find them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from test_streameval import audio_of
from tone_model import tone

from benchmarks.product.rooms import Material, Replayed, hits, rows, scene
from kws import Detector
from kws.config import SAMPLE_RATE
from kws.decision import Detection
from kws.evaluation.scenes import loudness
from kws.model.load import Model, load_model
from kws.operating_point import OperatingPoint

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def model(tones: Path) -> Model:
    """The network that knows tones."""
    return load_model(tones)


def found(word: str, end: float) -> Detection:
    """A detection that ends there."""
    return Detection(word, 0.9, end - 0.5, end)


def test_hits() -> None:
    """One detection of its own for each word, from its start to 0.8 s after its end."""
    when = [("yes", 1.0, 2.0), ("yes", 2.5, 3.5), ("no", 5.0, 6.0)]
    assert [True, True, False] == hits([found("yes", 1.9), found("yes", 2.8)], when)
    assert [True, False, False] == hits([found("yes", 2.79)], when)
    assert [True, False, True] == hits([found("yes", 1.0), found("no", 6.8)], when)
    assert [False, False, False] == hits([found("yes", 0.99), found("no", 6.81)], when)
    assert [False, False, False] == hits([found("no", 1.5), found("yes", 5.5)], when)


def test_scene() -> None:
    """Words at -30 dBFS where they are said to be, what lies behind them so far below."""
    clips = [("low", tone("low")), ("high", tone("high", 500.0)), ("low", tone("low", 90.0))]
    behind = [np.random.default_rng(0).normal(0, 900, SAMPLE_RATE).astype(np.int16)]
    silent, when = scene(clips, [], None)
    noisy, same = scene(clips, behind, 20.0)
    assert when == same
    assert sorted(word for word, _, _ in when) == ["high", "low", "low"]
    for _, begin, end in when:
        word = silent[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        assert 0.03 * 32_768 == pytest.approx(loudness(word), rel=0.02)
    for one, other in pairwise(when):
        assert 0.8 <= other[1] - one[2] <= 2.5
    beginning = noisy[: SAMPLE_RATE // 2]
    assert 0.003 * 32_768 == pytest.approx(loudness(beginning), rel=0.05)
    assert not silent[: SAMPLE_RATE // 2].any()


def test_figures_are_those_of_detectors(model: Model, tmp_path: Path) -> None:
    """Misses and false accepts replayed are those of a Detector that listens to the same audio."""
    clips = [(word, tone(word, seconds=0.9)) for word in ("low", "high", "high", "low")]
    behind = [audio_of(1.0, "unknown", 0.5)]
    scenes = {"silence": scene(clips, [], None), "talk 5 dB": scene(clips, behind, 5.0)}
    recordings = [audio_of(1.0, "low", 1.0, "unknown", 1.0), audio_of(1.0, "unknown", 2.0)]
    quiet = {"noise/a": [(Path(str(i)), audio) for i, audio in enumerate(recordings)]}
    replayed = Replayed(model, Material(scenes, quiet), tmp_path)
    for threshold in (0.3, 0.6, 0.9):
        figures = replayed.figures(OperatingPoint.of(model, threshold=threshold))
        detector = Detector(model, threshold=threshold)
        for name, (audio, when) in scenes.items():
            detected = list(detector.listen([audio]))
            assert hits(detected, when).count(False) == figures["missed"][name]["missed"]
        counts = [len(list(detector.listen([audio]))) for audio in recordings]
        for name in ("noise/a", "noise"):
            row = figures["false_accepts"][name]
            assert (sum(counts), 2) == (row["events"], row["recordings"])
            assert sum(map(len, recordings)) / SAMPLE_RATE / 3600 == pytest.approx(row["hours"])
            assert row["interval_95_per_hour"][0] <= sum(counts) / row["hours"]


def test_rows(model: Model, tmp_path: Path) -> None:
    """A table says of what each figure is."""
    clips = [("low", tone("low", seconds=0.9))]
    quiet = {
        name: [(Path("x"), audio_of(2.0, "unknown", 1.0))]
        for name in ("speech/orders", "noise/a", "other_words/b")
    }
    (tmp_path / "speech" / "orders").mkdir(parents=True)
    material = Material({"silence": scene(clips, [], None)}, quiet)
    figures = Replayed(model, material, tmp_path).figures(OperatingPoint.of(model))
    table = dict(rows(figures))
    assert "of 1" in table["missed, silence"]
    assert "0 in 0.00 h (95 %: 0.0 to" in table["false accepts, speech/orders"]
    assert table["other words that fire"] == "0.0% of 1"
    assert "false accepts, noise" in table
    assert "false accepts, noise/a" not in table
