"""Decisions on score sequences alone: no audio, no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.config import STEP_MS, DecisionConfig
from kws.decision import Decider, Deciders, Detection, context_weights, repeated_onset

LABELS = ("yes", "no", "silence", "unknown")
# Five rows of smoothing; of the context, ten rows that end five before those.
CONFIG = DecisionConfig(
    smoothing_ms=100,
    threshold=0.8,
    isolation=1.0,
    faint_db=15.0,
    loud_db=6.0,
    context_ms=200,
    lead_ms=100,
    longest_ms=1_000,
    release=0.5,
    rearm_ms=60,
    refractory_ms=300,
    hold_ms=0,
)
LOUD, MURMUR = 60.0, 40.0  # dB
REPEATING = replace(CONFIG, isolation=0.0, hold_ms=900)
YES, NO, OTHER, REST = (0.95, 0.0, 0.05), (0.0, 0.95, 0.05), (0.0, 0.0, 0.9), (0.0, 0.0, 0.0)

Row = tuple[float, float, float]


def rows_of(scores: Sequence[Row]) -> np.ndarray:
    """Posteriors of rows of (yes, no, unknown); silence takes the rest."""
    yes, no, unknown = np.array(scores, np.float32).reshape(-1, 3).T
    return np.stack((yes, no, 1.0 - yes - no - unknown, unknown), axis=1)


def detect(
    scores: Sequence[Row], decider: Decider | None = None, at_once: int = 3
) -> list[Detection]:
    """Feed the rows, so many at once."""
    decider = decider or Decider(LABELS, {}, CONFIG)
    rows = rows_of(scores)
    found = []
    for start in range(0, len(rows), at_once):
        found += decider.update(rows[start : start + at_once])
    return found


def detect_levels(scores: Sequence[Row], levels: Sequence[float], config: DecisionConfig) -> list:
    """Feed rows with their levels, three at once."""
    decider = Decider(LABELS, {}, config)
    rows, loudness = rows_of(scores), np.array(levels, np.float32)
    return [
        detection
        for start in range(0, len(rows), 3)
        for detection in decider.update(rows[start : start + 3], loudness[start : start + 3])
    ]


def words(detections: Iterable[Detection]) -> list[str]:
    """What was detected, in order."""
    return [detection.keyword for detection in detections]


@pytest.mark.parametrize("rows", [5, 40, 49])
def test_one_word_is_one_detection(rows: int) -> None:
    """A word that stays in the window for most of a second fires once."""
    assert ["yes"] == words(detect([REST] * 30 + [YES] * rows + [REST] * 60))


def test_a_steady_sound_is_one_detection() -> None:
    """A score that never falls again fires when it rises, and not again."""
    assert ["yes"] == words(detect([REST] * 30 + [YES] * 500))


def test_what_stayed_up_too_long_is_no_word() -> None:
    """A score that hovered below its threshold for longer than a word lasts does not fire."""
    hovering = [(0.6, 0.0, 0.0)]
    assert ["yes"] == words(detect(hovering * 40 + [YES] * 5))
    assert [] == detect(hovering * 60 + [YES] * 40)


def test_times_and_score() -> None:
    """The detection says when it was decided, from where the word may lie, and its mean score."""
    found = detect([REST] * 50 + [YES] * 10)
    # Four rows of 0.95 and one of 0 are too few, five are enough: rows 51 to 55.
    assert [Detection("yes", pytest.approx(0.95), pytest.approx(0.4), pytest.approx(1.1))] == found


def test_start_is_never_before_the_stream() -> None:
    """What is decided at once began no earlier than the stream."""
    assert [0.0] == [detection.start for detection in detect([NO] * 10)]


@pytest.mark.parametrize(("height", "expected"), [(0.75, 1), (0.7499, 0)])
def test_a_score_that_just_reaches_its_threshold(height: float, expected: int) -> None:
    """It is enough."""
    decider = Decider(LABELS, {}, replace(CONFIG, threshold=0.75))
    assert expected == len(detect([REST] * 30 + [(height, 0.0, 0.0)] * 10, decider))


@pytest.mark.parametrize(("height", "expected"), [(0.25, 0), (0.2499, 1)])
def test_what_stayed_just_up_too_long_is_no_word(height: float, expected: int) -> None:
    """As high as the release, which is half the threshold of 0.5, is up."""
    decider = Decider(LABELS, {}, replace(CONFIG, threshold=0.5, isolation=0.0))
    assert expected == len(detect([(height, 0.0, 0.0)] * 60 + [YES] * 10, decider))


def test_smoothing() -> None:
    """A few high scores are no word, also as the very first ones."""
    assert [] == detect([REST] * 30 + [(1.0, 0.0, 0.0)] * 3 + [REST] * 30)
    assert [] == detect([(1.0, 0.0, 0.0)] * 3 + [REST] * 30)


def test_without_smoothing() -> None:
    """Smoothing over nothing takes each score as it is."""
    decider = Decider(LABELS, {}, replace(CONFIG, smoothing_ms=0))
    assert ["yes"] == words(detect([REST] * 5 + [YES] + [REST] * 5, decider))


def test_the_first_row_of_a_stream() -> None:
    """It decides like any other: nothing was detected before it."""
    decider = Decider(LABELS, {}, replace(CONFIG, smoothing_ms=20))
    for _ in range(2):
        assert [pytest.approx(0.02)] == [each.end for each in decider.update(rows_of([YES]))]
        decider.reset()


def test_ripple_on_a_plateau() -> None:
    """A score that trembles about the threshold, or dips for a row, is still one word."""
    ripple = [(0.7, 0.0, 0.0) if i % 2 else (0.95, 0.0, 0.0) for i in range(40)]
    assert ["yes"] == words(detect([REST] * 30 + ripple + [REST] * 30))
    dips = [REST if i % 20 == 19 else YES for i in range(60)]
    assert ["yes"] == words(detect([REST] * 30 + dips + [REST] * 30))


@pytest.mark.parametrize(("first", "second"), [(YES, NO), (YES, YES)])
def test_two_words(first: Row, second: Row) -> None:
    """Two words 0.6 s apart whose scores show two peaks are two detections."""
    found = detect([REST] * 30 + [first] * 22 + [REST] * 8 + [second] * 22 + [REST] * 30)
    assert 2 == len(found)
    assert pytest.approx(0.6) == found[1].end - found[0].end


def test_second_best_word() -> None:
    """Of two words that rise together the likelier is detected, and the other one not after it."""
    decider = Decider(LABELS, {}, replace(CONFIG, threshold=0.4))
    both = [(0.45, 0.55, 0.0)] * 14
    assert ["no"] == words(detect([REST] * 30 + both + [REST] * 30, decider))


@pytest.mark.parametrize("rows", [1, 2, 5, 15])
def test_the_row_in_which_the_refractory_period_ends(rows: int) -> None:
    """Another word that waits for it is detected just so many rows after the first, not sooner."""
    config = replace(CONFIG, smoothing_ms=20, isolation=0.0, refractory_ms=20 * rows)
    found = detect([REST] * 30 + [YES] + [NO] * 40, Decider(LABELS, {}, config))
    assert ["yes", "no"] == words(found)
    assert pytest.approx(0.02 * rows) == found[1].end - found[0].end


def test_refractory_period() -> None:
    """Within the period nothing fires; a word that outlasts it does."""
    scores = [REST] * 30 + [YES] * 6
    assert ["yes"] == words(detect([*scores, *[NO] * 10, *[REST] * 30]))
    assert ["yes", "no"] == words(detect([*scores, *[NO] * 20, *[REST] * 30]))


def test_per_word_thresholds() -> None:
    """A word's own threshold counts; others take the common one."""
    low_yes, low_no = (0.6, 0.0, 0.0), (0.0, 0.6, 0.0)
    scores = [REST] * 30 + [low_yes] * 20 + [REST] * 40 + [low_no] * 20 + [REST] * 30
    assert ["yes"] == words(detect(scores, Decider(LABELS, {"yes": 0.5}, CONFIG)))
    assert ["no"] == words(detect(scores, Decider(LABELS, {"no": 0.55}, CONFIG)))


def test_isolation() -> None:
    """Speech just before a word raises its threshold; speech long before it does not."""
    word = [REST] * 5 + [YES] * 6 + [REST] * 30
    connected = Decider(LABELS, {}, replace(CONFIG, isolation=0.0))
    assert [] == detect([OTHER] * 30 + word)
    assert ["yes"] == words(detect([OTHER] * 30 + word, connected))
    assert ["yes"] == words(detect([OTHER] * 30 + [REST] * 25 + word))


def test_isolation_by_degrees() -> None:
    """The threshold rises on the way to 1 by the share of speech: 0.8 by half is 0.9."""
    for height, expected in ((0.88, 0), (0.92, 1)):
        halves = [(0.0, 0.0, 0.5)] * 30 + [REST] * 5 + [(height, 0.0, 0.0)] * 5 + [REST] * 30
        assert expected == len(detect(halves)), height


@pytest.mark.parametrize(
    ("below", "expected"), [(0.0, 0), (5.9, 0), (8.0, 0), (12.0, 1), (15.0, 1), (40.0, 1)]
)
def test_faint_speech_before_a_word_raises_less(below: float, expected: int) -> None:
    """Speech counts by its level against the word: 0.8 rises to 0.8 + 0.2 * share."""
    scores = [OTHER] * 60 + [REST] * 5 + [(0.92, 0.0, 0.0)] * 5 + [REST] * 30
    levels = [LOUD - below] * 62 + [LOUD] * 6 + [0.0] * 32
    assert expected == len(detect_levels(scores, levels, CONFIG))
    unweighted = replace(CONFIG, faint_db=0.0, loud_db=0.0)
    assert [] == detect_levels(scores, levels, unweighted)


def test_without_levels_all_speech_counts_in_full() -> None:
    """Rows without levels decide as before there were any, whatever faint_db is."""
    before = replace(CONFIG, faint_db=0.0, loud_db=0.0)
    for height in (0.85, 0.9, 0.97, 0.99):
        for share in (0.3, 0.6, 0.9):
            scores = [(0.0, 0.0, share)] * 30 + [REST] * 5 + [(height, 0.0, 0.0)] * 8
            expected = detect(scores, Decider(LABELS, {}, before))
            assert expected == detect(scores, Decider(LABELS, {}, CONFIG))


def repeated(distance: int, times: int, sounds: int) -> tuple[list[Row], list[float]]:
    """A posterior that stays up over so many words, `distance` rows apart, of which so many sound.

    It falls 40 rows after the end of the last word, each of 15 rows; a sound need be no word."""
    end = 30 + distance * (times - 1) + 15
    length = end + 100
    scores = [YES if 40 <= row < end + 40 else REST for row in range(length)]
    levels = [5.0] * length
    for word in range(sounds):
        levels[30 + word * distance : 45 + word * distance] = [LOUD - word % 2 * 3] * 15
    return scores, levels


@pytest.mark.parametrize("distance", [25, 30, 35, 40])
@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_word_said_again_before_its_posterior_fell(distance: int, times: int) -> None:
    """By the levels each of them is detected, in order, and starts after the one before."""
    scores, levels = repeated(distance, times, times)
    found = detect_levels(scores, levels, REPEATING)
    assert ["yes"] * times == words(found)
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(found))
    assert ["yes"] == words(detect_levels(scores, levels, replace(REPEATING, hold_ms=0)))


@pytest.mark.parametrize("distance", [30, 40])
def test_where_a_word_said_again_starts(distance: int) -> None:
    """A posterior that never fell counts from 300 ms after the onset that the levels show."""
    scores, levels = repeated(distance, 3, 3)
    found = detect_levels(scores, levels, REPEATING)
    risen = [30 + distance * word + 15 for word in (1, 2)]
    expected = [row * STEP_MS / 1000 - 0.6 for row in risen]
    assert pytest.approx(expected) == [each.start for each in found[1:]]


def test_a_word_with_which_the_stream_begins_said_again() -> None:
    """Its levels count from the very first row on."""
    levels = [LOUD] * 4 + [5.0] * 36 + [LOUD] * 15 + [5.0] * 60
    scores = [YES] * 80 + [REST] * 35
    found = detect_levels(scores, levels, REPEATING)
    assert pytest.approx([0.1, 1.12]) == [each.end for each in found]


def test_a_sound_after_a_word_is_not_the_word_again() -> None:
    """While the posterior falls as it does after one word, what follows makes no second one."""
    assert ["yes"] == words(detect_levels(*repeated(25, 1, 2), REPEATING))
    assert ["yes"] == words(detect_levels(*repeated(25, 1, 4), REPEATING))


@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_word_that_is_silent_within_is_detected_as_often_as_it_is_said(times: int) -> None:
    """80 ms of silence before the t of "stop" are no pause between two words."""
    scores, levels = repeated(30, times, times)
    for word in range(times):
        levels[34 + word * 30 : 38 + word * 30] = [5.0] * 4
    assert ["yes"] * times == words(detect_levels(scores, levels, REPEATING))


def test_a_long_sound_is_one_word() -> None:
    """Without a pause in the levels nothing was said again, however long the posterior stays up."""
    scores, levels = repeated(30, 4, 4)
    steady = [LOUD if 30 <= row < 135 else 5.0 for row in range(len(levels))]
    assert ["yes"] == words(detect_levels(scores, steady, REPEATING))


def test_keywords_are_speech_until_one_is_detected() -> None:
    """A quarter of what is likely to be some keyword is other speech; a detected word is none."""
    unsure = [(0.3, 0.3, 0.0)] * 30 + [REST] * 5  # raises 0.8 by 0.15 of 0.2
    for height, expected in ((0.82, 0), (0.84, 1)):
        assert expected == len(detect(unsure + [(height, 0.0, 0.0)] * 5 + [REST] * 30)), height

    after_no = [REST] * 30 + [NO] * 18 + [(0.84, 0.0, 0.0)] * 5 + [REST] * 30
    for at_once in (1, 3, 100):
        assert ["no", "yes"] == words(detect(after_no, at_once=at_once)), at_once
    assert [] == detect(after_no, Decider(LABELS, {"no": 0.97}, CONFIG))  # which is not detected


@pytest.mark.parametrize(("height", "expected"), [(0.88, ["yes"]), (0.9, ["yes", "no"])])
def test_a_detected_word_makes_no_room_for_other_speech(height: float, expected: list[str]) -> None:
    """One row of the word and one of speech are half speech: it raises 0.8 to 0.89."""
    config = replace(CONFIG, smoothing_ms=20, lead_ms=0, context_ms=40, refractory_ms=20)
    scores = [REST] * 30 + [YES, OTHER, (0.0, height, 0.0), REST]
    assert expected == words(detect(scores, Decider(LABELS, {}, config)))


@pytest.mark.parametrize(("low", "expected"), [(0.25, 1), (0.24, 2)])
def test_a_posterior_as_high_as_the_release_is_not_low(low: float, expected: int) -> None:
    """A keyword is armed again by what is lower than that alone."""
    config = replace(CONFIG, threshold=0.5, release=0.5, smoothing_ms=20, isolation=0.0)
    scores = [REST] * 30 + [YES] * 5 + [(low, 0.0, 0.0)] * 20 + [YES] * 5
    assert expected == len(detect(scores, Decider(LABELS, {}, config)))


@pytest.mark.parametrize("labels", [("yes", "no"), ("yes",)])
def test_without_the_labels_silence_and_unknown(labels: tuple[str, ...]) -> None:
    """A model may know keywords only, or one alone; then there is no context to look at."""
    decider = Decider(labels, {}, CONFIG)
    row = np.array([[0.95, 0.05]], np.float32)[:, : len(labels)]
    found = [decider.update(row) for _ in range(20)]
    assert 1 == sum(map(len, found))


def test_silence_and_unknown_never_fire() -> None:
    """However certain they are, and even at the lowest threshold."""
    decider = Decider(LABELS, {}, replace(CONFIG, threshold=1e-6))
    assert [] == detect([OTHER] * 60 + [REST] * 60, decider)


def test_rest() -> None:
    """A rest is rows of silence: it smooths, re-arms and passes the time like them."""
    for rows in (1, 7, 30, 500):
        scores = [*[REST] * 20, *[YES] * 10]
        decider, rested = Decider(LABELS, {}, CONFIG), Decider(LABELS, {}, CONFIG)
        expected = detect([*scores, *[REST] * rows, *[YES] * 10], decider)
        found = detect(scores, rested)
        rested.rest(rows)
        assert expected == found + detect([YES] * 10, rested)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_short_rest(rows: int) -> None:
    """Each of its steps is 20 ms of the stream."""
    decider = Decider(LABELS, {}, CONFIG)
    decider.rest(rows)
    (found,) = detect([YES] * 10, decider)
    assert pytest.approx(0.02 * rows + 0.1) == found.end


def test_a_long_rest() -> None:
    """Resting for a week costs no more than for a second."""
    decider = Decider(LABELS, {}, CONFIG)
    decider.rest(7 * 24 * 3600 * 50)
    (found,) = detect([YES] * 10, decider)
    assert pytest.approx(7 * 24 * 3600 + 0.1) == found.end


def test_reset() -> None:
    """After a reset the refractory period and the word that fired are forgotten."""
    decider = Decider(LABELS, {}, CONFIG)
    scores = [REST] * 5 + [YES] * 10
    first = detect(scores, decider)
    decider.reset()
    assert first == detect(scores, decider)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_finite_number(value: str) -> None:
    """A network that fails for a moment neither fires nor blocks or delays a later word."""

    def around(failed: Row) -> list[Row]:
        return [*[REST] * 10, *[failed] * 20, *[REST] * 6, *[YES] * 10, *[REST] * 5]

    with np.errstate(invalid="ignore"):  # inf - inf, where the test makes its rows
        found = detect(around((float(value),) * 3))
    assert ["yes"] == words(found)
    assert detect(around(REST)) == found


scores_of_two_words = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32), st.floats(0, 1, width=32)).map(
        lambda t: (t[0] * (1 - t[1]), t[1], (1 - t[0]) * (1 - t[1]) * t[2])
    ),
    max_size=120,
)


@settings(deadline=None)
@given(scores_of_two_words, st.lists(st.integers(0, 120), max_size=10))
def test_cutting_does_not_matter(scores: list[Row], places: list[int]) -> None:
    """Rows decide the same however many come at once."""
    config = replace(CONFIG, threshold=0.5, smoothing_ms=40)
    expected = detect(scores, Decider(LABELS, {}, config), at_once=1)
    decider = Decider(LABELS, {}, config)
    found = []
    for part in np.split(rows_of(scores), sorted(place for place in places if place < len(scores))):
        found += decider.update(part)
    assert expected == found


@settings(deadline=None)
@given(scores_of_two_words)
def test_always_a_refractory_period_apart(scores: list[Row]) -> None:
    """Whatever the scores, detections lie apart, exceed their threshold and are in order."""
    found = detect(scores, Decider(LABELS, {}, replace(CONFIG, threshold=0.5)))
    ends = [detection.end for detection in found]
    assert all(later - earlier > 0.3 - STEP_MS / 1000 for earlier, later in pairwise(ends))
    assert all(0.5 <= detection.score <= 1.0001 for detection in found)
    assert all(0.0 <= detection.start < detection.end for detection in found)


@settings(deadline=None)
@given(scores_of_two_words)
def test_no_word_fires_again_before_it_fell(scores: list[Row]) -> None:
    """Between two detections of a word its posterior was low for all of `rearm_ms` at once."""
    config = replace(CONFIG, threshold=0.5, smoothing_ms=40, refractory_ms=100)
    found = detect(scores, Decider(LABELS, {}, config))
    low = rows_of(scores) < np.float32(config.threshold * config.release)
    for keyword in ("yes", "no"):
        ends = [round(each.end * 1000) // STEP_MS for each in found if each.keyword == keyword]
        for earlier, later in pairwise(ends):
            between = low[earlier:later, LABELS.index(keyword)]
            assert "LLL" in "".join("L" if each else "-" for each in between)


@settings(deadline=None)
@given(
    st.sampled_from((YES, NO)),
    st.lists(st.integers(9, 27), min_size=2, max_size=8),
    st.sets(st.sampled_from(range(6, 26, 4))),
    st.integers(1, 2),
)
def test_equal_words_in_a_row(word: Row, up: list[int], dips: set[int], width: int) -> None:
    """Equal words 0.6 s apart fire once each, however long each stays up.

    A score that dips for less than `rearm_ms` makes no second word of the first.
    """
    low = {first + row for first in dips for row in range(width)}
    scores = [REST] * 30
    for rows in up:
        scores += [REST if row in low or row >= rows else word for row in range(30)]
    assert len(up) == len(detect([*scores, *[REST] * 30]))


@settings(deadline=None)
@given(st.lists(scores_of_two_words, min_size=3, max_size=3), st.randoms(use_true_random=False))
def test_many_streams_decide_as_one_each(scores: list[list[Row]], random: Random) -> None:
    """Whichever streams have something new, and rest or begin again in between."""
    config = replace(CONFIG, threshold=0.5, smoothing_ms=40, hold_ms=300)
    together = Deciders(LABELS, {}, config, len(scores))
    alone = [Decider(LABELS, {}, config) for _ in scores]
    left = [rows_of(each) for each in scores]
    while any(len(each) for each in left):
        size = random.randint(1, 5)
        loud = np.array([random.choice((5.0, MURMUR, LOUD)) for _ in range(size)], np.float32)
        streams = [s for s, rows in enumerate(left) if len(rows) >= size and random.random() < 0.8]
        if streams:
            expected = [
                (s, each) for s in streams for each in alone[s].update(left[s][:size], loud)
            ]
            levels = np.repeat(loud[None], len(streams), axis=0)
            found = together.update(streams, np.stack([left[s][:size] for s in streams]), levels)
            assert expected == sorted(found, key=lambda each: each[0])
        for stream in streams or range(len(left)):
            left[stream] = left[stream][size:]
        rested, pause = random.randrange(len(left)), random.choice((0, 0, 3, 200))
        together.rest(rested, pause)
        alone[rested].rest(pause)
        if random.random() < 0.05:
            together.reset(rested)
            alone[rested].reset()


@pytest.mark.parametrize(
    ("word", "pause", "again", "held", "onset"),
    [
        (4, 16, 16, 32, 20),
        (4, 16, 16, 33, None),  # the word ended 32 rows ago
        (4, 16, 15, 1, None),  # its posterior may not have risen yet
        (4, 15, 17, 1, None),  # what begins 19 rows after the word is part of it
        (17, 4, 16, 1, 21),
        (17, 3, 16, 1, None),  # a pause of 60 ms is within a word
        (3, 17, 16, 1, None),  # what is shorter than 80 ms is no word
        (9, 30, 40, 70, 39),
        (9, 30, 40, 71, None),
    ],
)
def test_the_row_in_which_a_word_begins_again(
    word: int, pause: int, again: int, held: int, onset: int | None
) -> None:
    """By rows of a word, a pause and a word, and by so many rows since the first ended."""
    for loud, faint in ((0.0, 12.5), (8.0, 40.0)):  # dB below the loudest
        levels = [60.0] + [60.0 - loud] * (word - 1) + [60.0 - faint] * pause
        assert onset == repeated_onset([*levels, *[60.0 - loud] * again], held)
    shallow = [60.0] * word + [48.0] * pause + [60.0] * again
    assert repeated_onset(shallow, held) is None  # 12 dB is no pause
    murmur = [60.0] * word + [40.0] * pause + [51.5] * again
    assert repeated_onset(murmur, held) is None  # 8.5 dB below the word is no word


@pytest.mark.parametrize(
    ("silent", "onset"),
    [
        ([15], None),  # what begins 19 rows after the word is part of it
        ([16], 20),
        ([4, 12], 24),  # after two early ones the search goes on
        ([4, 4, 7], 27),
        ([4, 7], None),
        ([4, 3], None),
    ],
)
def test_what_begins_early_is_part_of_the_word(silent: list[int], onset: int | None) -> None:
    """By the rows of the pauses after each four loud rows."""
    levels = [60.0] * 4
    for rows in silent:
        levels += [5.0] * rows + [60.0] * 4
    assert onset == repeated_onset(levels + [20.0] * 12, 1)


def test_a_row_of_context_is_as_loud_as_the_400_ms_up_to_it() -> None:
    """One loud moment counts in the rows of the 400 ms from it on."""
    config = replace(CONFIG, loud_db=6.0, faint_db=16.0)
    context = np.zeros((1, 60), np.float32)
    context[0, 25] = 50.0
    weights = context_weights(context, np.full((1, 5), 60.0, np.float32), config)
    assert (1, 41) == weights.shape
    counted = np.flatnonzero(weights[0])
    assert list(range(6, 26)) == counted.tolist()
    assert weights[0, counted] == pytest.approx(0.6)  # 10 dB below: 6 of the 10 dB from 16 to 6
    words_of_two = np.repeat(np.array([[60.0], [50.0]], np.float32), 5, axis=1)
    both = context_weights(np.repeat(context, 2, axis=0), words_of_two, config)
    assert both[0].tolist() == weights[0].tolist()  # each by its own word
    assert both[1, counted] == pytest.approx(1.0)


@pytest.mark.parametrize("context_ms", [20, 40, 60])
def test_the_shortest_context(context_ms: int) -> None:
    """One row of speech where the context is one row long is enough to raise the threshold."""
    config = replace(
        CONFIG, smoothing_ms=20, lead_ms=0, context_ms=context_ms, loud_db=0.0, faint_db=0.0
    )
    rows = context_ms // 20
    quiet = [REST] * 30 + [YES]
    assert ["yes"] == words(detect(quiet, Decider(LABELS, {}, config)))
    spoken = [REST] * (30 - rows) + [(0.0, 0.0, 1.0)] * rows + [YES]
    assert [] == detect(spoken, Decider(LABELS, {}, config))
    earlier = [REST] * (29 - rows) + [(0.0, 0.0, 1.0), *[REST] * rows, YES]
    assert ["yes"] == words(detect(earlier, Decider(LABELS, {}, config)))


@pytest.mark.parametrize(
    ("longest_ms", "hovering", "expected"), [(0, 0, 1), (0, 1, 0), (20, 0, 1), (20, 1, 0)]
)
def test_the_shortest_time_that_a_score_may_stay_up(
    longest_ms: int, hovering: int, expected: int
) -> None:
    """One row, less cannot be told: what was up in the row before is no word any more."""
    config = replace(CONFIG, smoothing_ms=20, isolation=0.0, longest_ms=longest_ms)
    scores = [REST] * 30 + [(0.6, 0.0, 0.0)] * hovering + [YES]
    assert expected == len(detect(scores, Decider(LABELS, {}, config)))


def test_the_shortest_time_in_which_a_keyword_is_armed_again() -> None:
    """One low row, less cannot be told."""
    config = replace(CONFIG, smoothing_ms=20, isolation=0.0, rearm_ms=0, refractory_ms=20)
    scores = [REST] * 30 + [YES, REST, YES, YES]
    assert ["yes", "yes"] == words(detect(scores, Decider(LABELS, {}, config)))


def test_a_word_is_remembered_for_as_long_as_it_may_be_said_again() -> None:
    """Until `hold_ms` after its end, however far its beginning lies back."""
    scores, levels = repeated(40, 2, 2)
    longer = replace(REPEATING, hold_ms=1_200)
    assert ["yes", "yes"] == words(detect_levels(scores, levels, longer))


def test_keywords_that_are_not_wanted() -> None:
    """They are not detected, and stay part of what was said before the others."""
    scores = [REST] * 30 + [YES] * 14 + [REST] * 60 + [NO] * 14 + [REST] * 30
    for chosen, expected in ((None, ["yes", "no"]), (("no",), ["no"]), (("yes",), ["yes"])):
        decider = Decider(LABELS, {}, CONFIG, chosen)
        assert expected == words(detect(scores, decider))


def could_detect(
    scores: Sequence[Row], new: int, config: DecisionConfig, lowest: Sequence[Row] | None = None
) -> bool:
    """Whether the last of these rows, which come after silence, could be a keyword."""
    deciders = Deciders(LABELS, {}, config)
    deciders.rest(0, 30)
    levels = np.full(len(scores), LOUD, np.float32)
    return deciders.could_detect(0, rows_of(scores), rows_of(lowest or scores), levels, new)


@pytest.mark.parametrize(
    ("scores", "new", "expected"),
    [
        ([YES] * 4, 4, False),  # four of five rows have a mean of 0.76
        ([YES] * 5, 1, True),
        ([YES] * 5, 5, True),
        ([YES] * 5 + [REST] * 2, 2, False),
        ([YES] * 5 + [REST] * 2, 3, True),
        ([REST] * 2 + [NO] * 6, 8, True),
        ([OTHER] * 11 + [YES] * 5, 5, True),
        ([OTHER] * 20 + [YES] * 5, 5, False),
    ],
)
def test_what_could_be_detected(scores: list[Row], new: int, expected: bool) -> None:
    """In which of the last rows a score may reach its threshold, raised by earlier speech."""
    assert expected == could_detect(scores, new, CONFIG)
    assert could_detect(scores, new, replace(CONFIG, isolation=0.0)) or not expected


def test_speech_that_may_be_none_forbids_nothing() -> None:
    """Only what is other speech for sure raises a threshold."""
    scores, lowest = [OTHER] * 20 + [YES] * 5, [REST] * 20 + [YES] * 5
    assert could_detect(scores, 5, CONFIG, lowest)


def test_each_row_could_be_detected_after_speech_of_its_own() -> None:
    """With a context of one row, the one before."""
    config = replace(CONFIG, smoothing_ms=20, lead_ms=0, context_ms=20, loud_db=0.0, faint_db=0.0)
    speech = (0.0, 0.0, 1.0)
    for scores, expected in (
        ([YES], True),
        ([speech, YES], False),
        ([speech, REST, YES], True),
        ([speech, YES, REST], False),
        ([speech, REST, YES, speech], True),
        ([REST, speech, YES, speech], False),
    ):
        assert expected == could_detect(scores, len(scores), config)
        assert expected == bool(detect([REST] * 30 + scores, Decider(LABELS, {}, config)))


@pytest.mark.parametrize(("height", "expected"), [(0.25, True), (0.2499, False)])
def test_what_could_be_up(height: float, expected: bool) -> None:
    """As high as the release, which is half the threshold of 0.5, is up; other speech never is."""
    deciders = Deciders(LABELS, {}, replace(CONFIG, threshold=0.5))
    assert expected == deciders.could_be_up(rows_of([REST, (0.0, height, 0.0), OTHER]))


def test_each_stream_is_armed_on_its_own() -> None:
    """From the end of its own word on."""
    deciders = Deciders(LABELS, {}, CONFIG, 2)
    rows = np.stack([rows_of([YES] * 5), rows_of([REST] * 5)])
    assert deciders.is_armed(0)
    assert [0] == [stream for stream, _ in deciders.update([0, 1], rows)]
    assert [False, True] == [deciders.is_armed(stream) for stream in (0, 1)]
    deciders.rest(0, 3)
    assert deciders.is_armed(0)
