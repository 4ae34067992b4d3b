"""Times of rounds: their median, how sure it is, and how far the rounds lie apart."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from kws.bench.timing import NOISY_SPREAD
from kws.evaluation.intervals import CONFIDENCE

FEWEST = 6  # rounds: of fewer the lowest and the highest enclose no median with 95 % confidence


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median that `values` were drawn around, whatever their distribution.

    The k-th lowest and the k-th highest of n values: the median lies below the one, or above the
    other, where at most k - 1 of n tosses of a coin show heads. The largest k counts for which that
    happens in at most 1 of 20 cases (David and Nagaraja, Order Statistics, 2003, 7.1). Raises
    ValueError for fewer than FEWEST values.
    """
    count = len(values)
    if count < FEWEST:
        raise ValueError(f"expected at least {FEWEST} values for a 95 % interval, got {count}")
    outside, place = 0.0, -1
    while outside <= 1.0 - CONFIDENCE:
        place += 1
        outside += 2 * math.comb(count, place) / 2**count
    ordered = sorted(values)
    return ordered[place - 1], ordered[count - place]


def timed(values: Sequence[float]) -> dict[str, Any]:
    """What is kept of the rounds of one figure; at least FEWEST of them."""
    return {
        "median": statistics.median(values),
        "interval_95": list(median_interval(values)),
        "range": [min(values), max(values)],
        "rounds": len(values),
    }


def timed_ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """`timed` of ours / theirs, paired by round."""
    return timed([a / b for a, b in zip(ours, theirs, strict=True)])


def timed_difference(values: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    """`timed` of what `values` have beyond `base`, paired by round, and what it is added to."""
    differences = [a - b for a, b in zip(values, base, strict=True)]
    return {**timed(differences), "added_to": statistics.median(base)}


def too_noisy(row: Mapping[str, Any]) -> bool:
    """Whether a measurement of time is beyond the rule of docs/benchmarks.md: the 95 % interval of
    its median is wider than a tenth of it. Of a difference, a tenth of it or of what it is added
    to, whichever is more. What has no interval is no time."""
    if "interval_95" not in row:
        return False
    low, high = row["interval_95"]
    return bool(high - low > NOISY_SPREAD * max(row["median"], row.get("added_to", 0.0)))


def timed_text(row: Mapping[str, Any], form: str = "{:.2f}", unit: str = "") -> str:
    """The median, its interval, and the range of the rounds beside it."""
    middle = form.format(row["median"])
    interval, rounds = (
        " to ".join(form.format(each) for each in row[key]) for key in ("interval_95", "range")
    )
    return f"{middle}{unit} ({interval}; rounds {rounds})"


def add_rounds(parser: argparse.ArgumentParser, default: int) -> None:
    """Declare --rounds, as many as an interval needs or more."""

    def rounds(text: str) -> int:
        if int(text) < FEWEST:
            raise argparse.ArgumentTypeError(f"expected at least {FEWEST}, got {text}")
        return int(text)

    parser.add_argument("--rounds", type=rounds, default=default, help=f"default: {default}")
