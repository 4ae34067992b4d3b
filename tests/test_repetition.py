"""A word said several times in a row: where the scenes have it, and what is promised of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from test_scenes import clip

from benchmarks.product.repetition import by_word
from kws.config import SAMPLE_RATE
from kws.evaluation.repetition import TIMES, figures, repeated, shortest
from kws.evaluation.streameval import Evaluator, choose_clips
from kws.model.load import load_model
from kws.operating_point import OperatingPoint
from kws.recordings.data import find_corpus


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


def test_faint_ends_are_kept() -> None:
    """What is faint before and behind the loud part of a word belongs to it, as the f of "off"."""
    audio = clip(0.3, 0.5)
    audio[int(0.5 * SAMPLE_RATE) : int(0.6 * SAMPLE_RATE)] = 20  # a hundredth of the word
    scene = repeated([("off", audio)], 0.6)
    for each in scene.spoken:
        assert each.end - each.start == pytest.approx(0.2, abs=0.02)
        behind = scene.audio[int((each.end + 0.02) * SAMPLE_RATE) :][: int(0.06 * SAMPLE_RATE)]
        assert behind.all()


def test_shortest() -> None:
    """The distance from which on every longer one keeps the promise too."""
    assert 0.6 == shortest({0.5: 0.8, 0.6: 0.9, 1.0: 0.95})
    assert 1.0 == shortest({0.5: 0.95, 0.6: 0.8, 1.0: 0.95})
    assert shortest({0.5: 0.95, 1.0: 0.5}) is None
    assert shortest({}) is None


def test_real_words_said_again(recordings: Path) -> None:
    """At the default setting each of four equal words, 0.6 s apart, is detected about as surely as
    if they were far apart."""
    pytest.importorskip("onnxruntime")
    model = load_model()
    evaluator = Evaluator(model, OperatingPoint.of(model))
    chosen = choose_clips(find_corpus(recordings), "validation", model.manifest.keywords, 4, seed=0)
    clips = [each for each in chosen if each[0] in model.manifest.keywords]
    detected = {}
    for distance in (0.6, 1.5):
        outcome = evaluator.outcome(evaluator.record(repeated(clips, distance)))
        detected[distance] = len(outcome.hits)
        assert len(outcome.false_accepts) <= 0.02 * outcome.spoken
    assert detected[0.6] >= 0.9 * detected[1.5] > 0


def test_figures() -> None:
    """Shares of all words and of each, and of those whose recording is detected when said once."""
    row = {"detected": 0.875, "again": 7 / 8, "words": {"no": each(0.875, 0.875)}}
    once = [("no", True), ("no", True)]
    found = figures({0.6: said("no", 4, 3), 1.0: said("no", 4, 4)}, once)
    assert row == found["distances"]["0.6 s"]
    assert (1.0, {"no": 1.0}) == (found["shortest_s"], found["shortest_of_each_s"])


def test_what_is_missed_alone_does_not_count_against_its_speed() -> None:
    """A recording that is missed when said once is left out of what is promised."""
    once = [("no", True), ("stop", False), ("yes", True)]
    found = figures({0.6: said("no", 4) + said("stop", 0) + said("yes", 3)}, once)
    assert {"detected": 2 / 3, "words": {"no": 1.0, "stop": 0.0, "yes": 1.0}} == found["once"]
    row = found["distances"]["0.6 s"]
    assert (7 / 12, 7 / 8) == (row["detected"], row["again"])
    assert {"no": each(1, 1), "stop": each(0, None), "yes": each(0.75, 0.75)} == row["words"]
    assert {"no": 0.6, "stop": None, "yes": None} == found["shortest_of_each_s"]


def test_no_words_no_figures() -> None:
    """A model of other words than there are recordings of."""
    found = figures({0.6: []}, [])
    assert {"detected": None, "words": {}} == found["once"]
    assert found["shortest_s"] is None


def test_a_row_for_each_word() -> None:
    """What is published of the figures: words by distance, and all of them first."""
    once = [("no", True), ("yes", False)]
    found = by_word(figures({0.6: said("no", 4) + said("yes", 1)}, once))
    assert {
        "all": {"said_once": 0.5, "0.6 s": 0.625},
        "no": {"said_once": 1.0, "0.6 s": 1.0},
        "yes": {"said_once": 0.0, "0.6 s": 0.25},
    } == found["detected_by_time_from_onset_to_onset"]
    assert {
        "all": {"0.6 s": 1.0, "90_%_from_s": 0.6},
        "no": {"0.6 s": 1.0, "90_%_from_s": 0.6},
        "yes": {"0.6 s": None, "90_%_from_s": None},
    } == found["of_words_detected_when_said_once"]


def said(word: str, *detected: int) -> list[tuple[str, bool]]:
    """The words of recordings of which so many of the four were detected."""
    return [(word, place < count) for count in detected for place in range(TIMES)]


def each(detected: float, again: float | None) -> dict[str, float | None]:
    """The shares of one word."""
    return {"detected": detected, "again": again}
