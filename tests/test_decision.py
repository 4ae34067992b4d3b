"""Decisions on score sequences alone: no audio, no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kws.config import DecisionConfig
from kws.decision import Decider, Detection

LABELS = ("yes", "no", "silence", "unknown")
CONFIG = DecisionConfig(hop_ms=60, smoothing_ms=120, threshold=0.8, release=0.8, refractory_ms=400)
HOP = 960  # samples
SECOND = 16_000


def detect(scores: Iterable[Sequence[float]], decider: Decider | None = None) -> list[Detection]:
    """Feed rows of (yes, no), one per hop; silence takes the rest."""
    decider = decider or Decider(LABELS, {}, CONFIG)
    detections = []
    for index, (yes, no) in enumerate(scores):
        row = np.array([yes, no, 1.0 - yes - no, 0.0], np.float32)
        end = (index + 1) * HOP
        detections.append(decider.update(row, end - SECOND, end))
    return [detection for detection in detections if detection]


def words(detections: Iterable[Detection]) -> list[str]:
    """What was detected, in order."""
    return [detection.keyword for detection in detections]


def peak(word: str, hops: int, height: float = 0.95) -> list[tuple[float, float]]:
    """A plateau of one word's score."""
    return [(height, 0.0) if word == "yes" else (0.0, height)] * hops


def rest(hops: int) -> list[tuple[float, float]]:
    """Nothing is said."""
    return [(0.0, 0.0)] * hops


def test_one_word_is_one_detection() -> None:
    """A word that stays in the window for a whole second, or for ten, fires once."""
    for hops in (3, 16, 160):
        found = detect(rest(10) + peak("yes", hops) + rest(20))
        assert ["yes"] == words(found), hops


def test_times_and_score() -> None:
    """The detection says when it was decided, over what, and the mean of the smoothed scores."""
    found = detect([*rest(20), (0.8, 0.0), (0.9, 0.0), *rest(10)])
    assert [Detection("yes", pytest.approx(0.85), pytest.approx(0.32), 1.32)] == found


def test_start_is_never_before_the_stream() -> None:
    """A window that reaches back before the stream began is cut there."""
    assert [0.0] == [detection.start for detection in detect(peak("no", 4))]


def test_smoothing() -> None:
    """One high score alone is no word, also as the very first one."""
    assert [] == detect(rest(5) + peak("yes", 1, 1.0) + rest(5))
    assert [] == detect(peak("yes", 1, 1.0) + rest(5))
    assert ["yes"] == words(detect(rest(5) + peak("yes", 2, 1.0) + rest(5)))


def test_without_smoothing() -> None:
    """Smoothing over nothing takes each score as it is."""
    config = DecisionConfig(hop_ms=60, smoothing_ms=0)
    found = detect(rest(5) + peak("yes", 1) + rest(5), Decider(LABELS, {}, config))
    assert ["yes"] == words(found)


def test_ripple_on_a_plateau() -> None:
    """A score that trembles about the threshold is still one word."""
    ripple = [(0.78, 0.0) if i % 2 else (0.86, 0.0) for i in range(20)]
    assert ["yes"] == words(detect(rest(5) + ripple + rest(10)))


@pytest.mark.parametrize(("first", "second"), [("yes", "no"), ("yes", "yes")])
def test_two_words(first: str, second: str) -> None:
    """Two words 0.6 s apart whose scores show two peaks are two detections."""
    scores = rest(5) + peak(first, 6) + rest(4) + peak(second, 6) + rest(10)
    found = detect(scores)
    assert [first, second] == words(found)
    assert pytest.approx(0.6) == found[1].end - found[0].end


def test_refractory_period() -> None:
    """What rises within the period is swallowed whole, however long it stays up."""
    scores = rest(5) + peak("yes", 3) + peak("no", 14) + rest(10)
    assert ["yes"] == words(detect(scores))


def test_per_word_thresholds() -> None:
    """A word's own threshold counts; others take the common one."""
    scores = rest(5) + peak("yes", 5, 0.6) + rest(20) + peak("no", 5, 0.6) + rest(5)
    assert ["yes"] == words(detect(scores, Decider(LABELS, {"yes": 0.5}, CONFIG)))
    assert ["no"] == words(detect(scores, Decider(LABELS, {"no": 0.6}, CONFIG)))


def test_the_better_of_two() -> None:
    """Where two words rise at once, only the likelier one is detected."""
    config = DecisionConfig(hop_ms=60, smoothing_ms=0, threshold=0.3)
    scores = rest(5) + [(0.4, 0.5)] * 10 + rest(5)
    assert ["no"] == words(detect(scores, Decider(LABELS, {}, config)))


def test_silence_and_unknown_never_fire() -> None:
    """However certain they are, and even at the lowest threshold."""
    decider = Decider(LABELS, {}, DecisionConfig(threshold=1e-6))
    for column in (2, 3):
        row = np.zeros(4, np.float32)
        row[column] = 1.0
        for end in range(HOP, 50 * HOP, HOP):
            assert decider.update(row, end - SECOND, end) is None


def test_gap_in_the_scores() -> None:
    """A word may fire again once its old sound can no longer be in the window, not before."""
    row = np.array([1.0, 0.0, 0.0, 0.0], np.float32)
    for gap, expected in ((SECOND // 2, 1), (SECOND + HOP, 2)):
        decider = Decider(LABELS, {}, CONFIG)
        ends = [SECOND + HOP * i for i in range(3)]
        ends += [ends[-1] + gap + HOP * i for i in range(3)]
        fired = [decider.update(row, end - SECOND, end) for end in ends]
        assert expected == len([detection for detection in fired if detection])


def test_a_gap_does_not_smooth() -> None:
    """Scores from before a pause are not averaged with those after it."""
    decider = Decider(LABELS, {}, CONFIG)
    row = np.array([1.0, 0.0, 0.0, 0.0], np.float32)
    assert decider.update(row, 0, SECOND) is None
    assert decider.update(row, 2 * SECOND, 3 * SECOND) is None


def test_reset() -> None:
    """After a reset the refractory period and the word that fired are forgotten."""
    decider = Decider(LABELS, {}, CONFIG)
    scores = rest(2) + peak("yes", 3)
    assert ["yes"] == words(detect(scores, decider))
    decider.reset()
    assert ["yes"] == words(detect(scores, decider))


def test_not_a_number() -> None:
    """A network that fails for a moment neither fires nor stays deaf."""
    nan = [(float("nan"), float("nan"))] * 5
    assert ["yes"] == words(detect(rest(3) + nan + rest(3) + peak("yes", 5) + rest(3)))


@given(
    st.lists(
        st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)).map(
            lambda pair: (pair[0] * (1 - pair[1]), pair[1])
        ),
        max_size=80,
    )
)
def test_always_a_refractory_period_apart(scores: list[tuple[float, float]]) -> None:
    """Whatever the scores, detections lie apart, exceed their threshold and are in order."""
    found = detect(scores)
    ends = [detection.end for detection in found]
    assert all(later - earlier > 0.4 - 1e-9 for earlier, later in pairwise(ends))
    assert all(0.8 <= detection.score <= 1.0001 for detection in found)
    assert all(0.0 <= detection.start < detection.end for detection in found)
