"""The choice of settings and thresholds, on tracks whose right settings are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="export's requirements are not installed")

from export.tuning import MISSED, OFFSETS, Recorded, curve_of, tune
from kws.config import SAMPLE_RATE, DecisionConfig
from kws.evaluation.replay import PosteriorTrack
from kws.evaluation.scenes import Scene, Spoken

LABELS = ("yes", "no", "silence", "unknown")
CONFIG = DecisionConfig()
WORD, APART = 40, 150  # rows


def track(heights: list[tuple[str, float]], before: float = 0.0, below_db: float = 0.0) -> tuple:
    """Words of these posteriors, `before` each so much other speech, so far below it in level."""
    rows = np.zeros((APART * (len(heights) + 1), len(LABELS)), np.float32)
    levels = np.full(len(rows), 5.0, np.float32)
    spoken = []
    for index, (word, height) in enumerate(heights):
        start = APART * (index + 1) - 50
        rows[start : start + WORD, LABELS.index(word)] = height
        rows[start - 60 : start - 5, 3] = before
        levels[start - 60 : start] = 60.0 - below_db
        levels[start - 15 : start + 5] = 60.0
        spoken.append(Spoken(word, start / 50 - 0.3, start / 50 + 0.1))
    rows[:, 2] = 1.0 - rows.sum(axis=1)
    seconds = len(rows) / 50
    scene = Scene(np.zeros(int(seconds * SAMPLE_RATE), np.int16), tuple(spoken))
    return scene, PosteriorTrack("x", seconds, rows, rows, levels)


def recorded(before: float = 0.0, below_db: float = 0.0) -> Recorded:
    """Commands of many heights, and sentences that resemble them less."""
    generator = np.random.default_rng(0)
    words = [("yes", "no")[i % 2] for i in range(60)]
    scenes = {
        name: track(
            [
                (word, float(h))
                for word, h in zip(words, generator.uniform(0.6, 1.0, 60), strict=True)
            ],
            before if name.startswith("talk") else 0.0,
            below_db,
        )
        for name in MISSED
    }
    wrong = [("yes", float(h)) for h in generator.uniform(0.1, 0.8, 60)]
    quiet = [track(wrong, 0.9)[1]]
    return Recorded(scenes, {"speech/a": quiet, "other_words/b": quiet, "noise/c": quiet})


def test_curve_counts_what_a_detector_does() -> None:
    """At every preset the misses and false accepts of the curve are those of replayed decisions."""
    material = recorded(before=0.5)
    curve = curve_of(material, LABELS, CONFIG)
    for place in curve.presets().values():
        thresholds = curve.thresholds(place)
        for name, (scene, rows) in material.scenes.items():
            found = rows.detections(LABELS, thresholds, CONFIG)
            missed = 1.0 - len(found) / len(scene.spoken)
            assert missed == pytest.approx(curve.missed[name][place], abs=0.04), name
        for name in ("speech/a", "other_words"):
            tracks = material.quiet["speech/a"]
            count = sum(len(each.detections(LABELS, thresholds, CONFIG)) for each in tracks)
            assert count == pytest.approx(curve.false_accepts[name][place], abs=2), name


def test_presets_are_in_order() -> None:
    """A stricter preset has higher thresholds, fewer false accepts and more misses."""
    curve = curve_of(recorded(), LABELS, CONFIG)
    places = curve.presets()
    low, medium, high = (places[name] for name in ("low", "medium", "high"))
    assert low > medium > high
    assert curve.thresholds(low)["yes"] > curve.thresholds(high)["yes"]
    total = sum(curve.false_accepts.values())
    assert total[low] <= total[medium] / 3 <= total[high]
    assert all((np.diff(share) >= 0).all() for share in curve.missed.values())
    assert all((np.diff(count) <= 0).all() for count in curve.false_accepts.values())
    assert len(OFFSETS) == len(curve.regret)


def test_the_better_settings_are_taken() -> None:
    """Faint talk before commands needs isolation by level, and no more of it than helps."""
    faint = recorded(before=0.9, below_db=25.0)
    blunt = replace(CONFIG, faint_db=0.0, loud_db=0.0)
    assert CONFIG == tune(faint, LABELS, [blunt, CONFIG]).config
    loud_sentences_only = recorded()
    without = replace(CONFIG, isolation=0.0)
    assert CONFIG == tune(loud_sentences_only, LABELS, [without, CONFIG]).config
