"""A word said several times in a row: where the scenes have it, and what is promised of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from test_scenes import clip

from kws.config import SAMPLE_RATE
from kws.evaluation.repetition import TIMES, figures, repeated, shortest


@pytest.mark.parametrize("distance", [0.5, 0.6, 1.0])
def test_words_are_that_far_apart(distance: float) -> None:
    """From onset to onset, four of each, loud where the words are said to be."""
    scene = repeated([("yes", clip()), ("no", clip(0.2, 0.5))], distance)
    assert ["yes"] * TIMES + ["no"] * TIMES == [each.word for each in scene.spoken]
    for one, other in pairwise(scene.spoken[:TIMES]):
        assert distance == pytest.approx(other.start - one.start, abs=1e-3)
    for each in scene.spoken:
        inside = scene.audio[int(each.start * SAMPLE_RATE) : int(each.end * SAMPLE_RATE)]
        assert np.abs(inside).max() > 1000


def test_a_long_word_is_not_cut() -> None:
    """A word longer than the distance is followed by a short pause all the same."""
    scene = repeated([("yes", clip(0.05, 0.95))], 0.5)
    for one, other in pairwise(scene.spoken):
        assert other.start - one.end == pytest.approx(0.1, abs=0.01)


def test_shortest() -> None:
    """The distance from which on every longer one keeps the promise too."""
    assert 0.6 == shortest({0.5: 0.8, 0.6: 0.9, 1.0: 0.95})
    assert 1.0 == shortest({0.5: 0.95, 0.6: 0.8, 1.0: 0.95})
    assert shortest({0.5: 0.95, 1.0: 0.5}) is None
    assert shortest({}) is None


def test_figures() -> None:
    """The share of all words and of each."""
    words = [("yes", True), ("yes", True), ("no", True), ("no", False)]
    found = figures({0.6: words, 1.0: [("yes", True)]})
    assert 0.75 == found["distances"]["0.6 s"]["detected"]
    assert {"no": 0.5, "yes": 1.0} == found["distances"]["0.6 s"]["words"]
    assert 1.0 == found["shortest_s"]
