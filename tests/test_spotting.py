"""Matching of detections with words, rates and their bounds."""

from __future__ import annotations

import pytest

from kws.decision import Detection
from kws.evaluation.scenes import Spoken
from kws.evaluation.spotting import NOTHING, Outcome, false_accept_figures, match


def found(keyword: str, end: float) -> Detection:
    """A detection that was decided at a time."""
    return Detection(keyword, 0.9, max(0.0, end - 1.0), end)


YES, NO = Spoken("yes", 1.0, 1.5), Spoken("no", 3.0, 3.4)


def test_hits_and_delay() -> None:
    """Each word gets its own detection; the delay counts from the word's end."""
    figures = match([YES, NO], [found("yes", 1.7), found("no", 3.8)]).figures()
    assert (2, 2, 0.0, 0.0) == tuple(
        figures[key] for key in ("spoken", "hits", "miss_rate", "word_error_rate")
    )
    assert pytest.approx(0.3) == figures["delay_median_s"]


def test_substitution_is_a_miss_but_no_false_accept() -> None:
    """Another word at the right time counts once."""
    outcome = match([YES], [found("no", 1.7)])
    assert ((YES, found("no", 1.7)),) == outcome.substituted
    assert (1.0, 1.0) == (outcome.figures()["miss_rate"], outcome.figures()["word_error_rate"])
    assert () == outcome.false_accepts


def test_second_detection_is_a_false_accept() -> None:
    """A word that fires twice is one hit and one insertion."""
    outcome = match([YES], [found("yes", 1.6), found("yes", 2.2)])
    assert (1, 1) == (len(outcome.hits), len(outcome.false_accepts))


def test_too_early_and_too_late() -> None:
    """A detection before the word begins, or a second after it, is not the word's."""
    for end in (1.0, 2.51):
        outcome = match([YES], [found("yes", end)])
        assert (1, 1) == (len(outcome.missed), len(outcome.false_accepts))


def test_own_word_comes_first() -> None:
    """A wrong word just before the right one does not take its place."""
    outcome = match([YES], [found("no", 1.4), found("yes", 1.7)])
    assert ["yes"] == [detection.keyword for _, detection in outcome.hits]
    assert ["no"] == [detection.keyword for detection in outcome.false_accepts]


def test_outcomes_add_up() -> None:
    """Several streams are counted as one."""
    total = match([YES], []) + match([NO], [found("no", 3.5)]) + NOTHING
    assert isinstance(total, Outcome)
    assert 0.5 == total.figures()["miss_rate"]


def test_nothing_spoken() -> None:
    """Shares of nothing are None, not zero."""
    figures = match([], [found("yes", 1.0)]).figures()
    assert figures["miss_rate"] is None
    assert figures["delay_median_s"] is None
    assert 1 == figures["insertions"]


def test_false_accepts() -> None:
    """The rate is over the hours, and every keyword has its count."""
    figures = false_accept_figures([found("no", 1), found("no", 9)], 4.0, ["yes", "no"])
    assert (2, 0.5, {"yes": 0, "no": 2}) == (
        figures["false_accepts"],
        figures["false_accepts_per_hour"],
        figures["words"],
    )
    assert [0.0606, 1.8062] == pytest.approx(figures["interval_95_per_hour"], abs=1e-4)
    assert false_accept_figures([], 0.0, ["yes"])["false_accepts_per_hour"] is None
