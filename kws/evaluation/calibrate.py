"""Thresholds for a wanted rate of false accepts.

With recordings of keywords at hand, a keyword that other sounds resemble is given a higher one.
With nothing but a background, all thresholds move together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kws.config import KEYWORD_CONTEXT_WEIGHT, SILENCE, STEP_MS, UNKNOWN, DecisionConfig
from kws.decision import LEVEL_ROWS, context_weights
from kws.evaluation.replay import PosteriorTrack
from kws.evaluation.scenes import Spoken
from kws.evaluation.spotting import SLACK
from kws.operating_point import OperatingPoint

GRID = np.round(np.arange(0.10, 0.981, 0.01), 2)
RATE = 10.0  # false accepts per hour, at which there are enough to tell keywords apart by
SHARED = (
    0.75  # share of a keyword's difference from the mean, in log-odds, that is taken for chance
)
LOOSEST, STRICTEST = -2.0, 12.0  # log-odds by which a background may move the thresholds
_APART = 1_000 // STEP_MS  # rows; two false accepts closer than this are one

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Peak:
    """A moment at which a keyword would be detected, had it this threshold or a lower one."""

    row: int
    keyword: str
    threshold: float


def peaks(track: PosteriorTrack, labels: Sequence[str], config: DecisionConfig) -> list[Peak]:
    """Every moment worth a detection at any threshold of GRID, the best keyword of each.

    kws/decision.py requires score >= t + a * (1 - t), where a is what other speech adds; that is
    t <= (score - a) / (1 - a). Keywords count as other speech here though they were detected.
    """
    keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    reached = _reachable(track, labels, config)
    best = reached.argmax(axis=1)
    height = reached.max(axis=1, initial=0.0)
    found = []
    while len(height) and height.max() >= GRID[0]:
        row = int(height.argmax())
        found.append(Peak(row, keywords[best[row]], float(height[row])))
        height[max(0, row - _APART) : row + _APART + 1] = 0.0
    return found


def spoken_thresholds(
    track: PosteriorTrack, spoken: Sequence[Spoken], labels: Sequence[str], config: DecisionConfig
) -> list[tuple[str, float]]:
    """Of each word that was spoken, the highest threshold at which it is detected; 0 for none."""
    keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    reached = _reachable(track, labels, config)
    found = []
    for word in spoken:
        first = int(word.start * 1000) // STEP_MS
        last = int((word.end + SLACK) * 1000) // STEP_MS
        own = reached[first:last, keywords.index(word.word)]
        found.append((word.word, float(own.max(initial=0.0))))
    return found


def _reachable(track: PosteriorTrack, labels: Sequence[str], config: DecisionConfig) -> FloatArray:
    """The highest threshold at which each row detects each keyword, (rows, keywords)."""
    rows = track.rows
    smoothed = max(1, config.smoothing_ms // STEP_MS)
    columns = [index for index, label in enumerate(labels) if label not in (SILENCE, UNKNOWN)]
    scores = _means(rows[:, columns], smoothed)
    context = config.context_ms // STEP_MS
    if UNKNOWN not in labels or config.isolation == 0.0 or context == 0:
        return scores
    keyword_context = KEYWORD_CONTEXT_WEIGHT * rows[:, columns].sum(axis=1)
    end = smoothed + config.lead_ms // STEP_MS  # rows ago
    # Of each row, those of its context: (rows, context).
    other = _before(rows[:, labels.index(UNKNOWN)] + keyword_context, end, context)
    if config.faint_db > 0.0:
        other = other * context_weights(
            _before(track.levels, end, context + LEVEL_ROWS - 1),
            _before(track.levels, 0, end),
            config,
        )
    added = config.isolation * other.mean(axis=1, keepdims=True)
    reached: FloatArray = (scores - added) / np.maximum(1.0 - added, 1e-6)
    return reached


def _before(values: NDArray[np.float32], ago: int, count: int) -> NDArray[np.float32]:
    """Of each of the values (rows,) the `count` that end `ago` before the next, (rows, count).

    Zeros before the first."""
    padded = np.concatenate((np.zeros(ago + count - 1, values.dtype), values))
    return np.lib.stride_tricks.sliding_window_view(padded, count)[: len(values)]


def _means(rows: NDArray[np.float32], count: int) -> FloatArray:
    """The mean of each row and the count - 1 before it; zeros before the first."""
    total = np.cumsum(np.concatenate((np.zeros((count, rows.shape[1])), rows)), axis=0)
    return (total[count:] - total[:-count]) / count


def keyword_offsets(
    false: Sequence[Peak], hours: float, true: Sequence[tuple[str, float]]
) -> dict[str, float]:
    """How far apart the keywords' thresholds lie: the log-odds of each, to be moved together.

    `false` are the peaks in `hours` of audio without keywords, `true` what `spoken_thresholds`
    says of keywords, each of which weighs the same. At a strict rate of false accepts hardly any
    are left to choose by, and a keyword's own choice is chance. So keywords are told apart at the
    rate of RATE, by SHARED less than they differ there.
    """
    keywords = sorted({word for word, _ in true})
    own = _own_thresholds(false, hours, true)
    odds = [log_odds(own[word]) for word in keywords]
    mean = sum(odds) / len(odds)
    return {word: each + SHARED * (mean - each) for word, each in zip(keywords, odds, strict=True)}


def _own_thresholds(
    false: Sequence[Peak], hours: float, true: Sequence[tuple[str, float]]
) -> dict[str, float]:
    """Each keyword's threshold of GRID at RATE in all, for the least mean miss rate.

    A price per false accept is searched that meets the rate; at a price, each keyword's best
    threshold is its own affair.
    """
    misses, accepts = {}, {}
    for keyword in {word for word, _ in true}:
        reached = np.array([value for word, value in true if word == keyword])
        misses[keyword] = (reached[None, :] < GRID[:, None]).mean(axis=1)
        wrong = np.array([peak.threshold for peak in false if peak.keyword == keyword])
        accepts[keyword] = (wrong[None, :] >= GRID[:, None]).sum(axis=1)

    def at(price: float) -> dict[str, int]:
        return {k: int((misses[k] + price * accepts[k]).argmin()) for k in misses}

    low, high = -12.0, 6.0  # natural logarithm of the price
    for _ in range(60):
        middle = (low + high) / 2.0
        count = sum(accepts[k][place] for k, place in at(float(np.exp(middle))).items())
        low, high = (low, middle) if count <= RATE * hours else (middle, high)
    return {keyword: float(GRID[place]) for keyword, place in at(float(np.exp(high))).items()}


def log_odds(share: float) -> float:
    """ln(p / (1 - p)) of a share, kept a millionth away from 0 and 1."""
    inside = min(max(share, 1e-6), 1.0 - 1e-6)
    return math.log(inside / (1.0 - inside))


def move_thresholds(
    point: OperatingPoint,
    backgrounds: Sequence[PosteriorTrack],
    labels: Sequence[str],
    target: float,
) -> tuple[dict[str, float], int]:
    """All thresholds moved together so that at most `target` an hour fire on the backgrounds.

    They are moved as little as the target requires, and loosened where it allows more. Returns the
    thresholds and how many false accepts are left. Where even the strictest do not meet the
    target, they are returned all the same.
    """
    hours = sum(each.seconds for each in backgrounds) / 3600.0

    def count(offset: float) -> int:
        thresholds = point.moved(offset)
        return sum(len(h.detections(labels, thresholds, point.config)) for h in backgrounds)

    low, high = LOOSEST, STRICTEST
    if count(low) <= target * hours:
        high = low
    else:
        while high - low > 0.05:
            middle = (low + high) / 2.0
            low, high = (low, middle) if count(middle) <= target * hours else (middle, high)
    return point.moved(high), count(high)


def thresholds_as_stored(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Rounded up to what a manifest shows, and never beyond 1."""
    return {word: min(1.0, float(np.ceil(value * 1e4) / 1e4)) for word, value in thresholds.items()}
