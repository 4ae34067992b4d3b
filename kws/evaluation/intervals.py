"""How sure a count is: intervals of rare events and of shares."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

CONFIDENCE = 0.95
MANY = 1_000  # events, from which on the sum over all of them is not worth its time
MOST_EVENTS = 10**12


def poisson_interval(events: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Lowest and highest expected count that agree with `events` (>= 0): Garwood, Biometrika 1936.

    Outside the interval such a count, or one further away, has a probability of less than half of
    1 - confidence. Divide by the hours of audio for events per hour.
    """
    if not 0 <= events <= MOST_EVENTS or not 0.0 < confidence < 1.0:
        raise ValueError(
            f"expected events >= 0, at most {MOST_EVENTS:.0e}, and a confidence between 0 and 1, "
            f"got {events} and {confidence}"
        )
    tail = (1.0 - confidence) / 2.0
    if events > MANY:
        return _cubed(events, tail), _cubed(events + 1, 1.0 - tail)
    top = events + 10.0 * math.sqrt(events + 1.0) + 20.0  # P(X <= events) is far below any tail
    lowest = (
        _root(lambda mean: _at_most(events - 1, mean) - (1.0 - tail), events) if events else 0.0
    )
    return lowest, _root(lambda mean: _at_most(events, mean) - tail, top)


def share_interval(part: int, whole: int) -> tuple[float, float]:
    """95 % interval of the share part / whole, by Wilson (JASA 1927)."""
    if not 0 <= part <= whole or whole == 0:
        raise ValueError(f"expected a part of a whole above 0, got {part} of {whole}")
    z = 1.959964  # of the normal distribution, two-sided
    scale, share = 1.0 + z * z / whole, part / whole
    middle = (share + z * z / (2 * whole)) / scale
    reach = z / scale * math.sqrt(share * (1.0 - share) / whole + z * z / (4 * whole * whole))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def rate_text(events: int, hours: float) -> str:
    """The count, the hours and the interval in events per hour, as every document prints it."""
    if hours <= 0.0:
        raise ValueError(f"expected hours above 0, got {hours}")
    low, high = (_short(limit / hours) for limit in poisson_interval(events))
    return f"{events:,} in {_short(hours)} h (95 %: {low} to {high} per hour)"


def preset_text(point: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """`rate_text` of a preset in a manifest's `measurements`, where it is one of `measured`.

    Manifests of older exports hold the rate alone. Raises KeyError for other content.
    """
    if "false_accepts" in point:
        sources = point["false_accepts"].values()
        return rate_text(*(sum(each[key] for each in sources) for key in ("events", "hours")))
    hours = measured["hours"]
    return rate_text(round(point["false_accepts_per_hour"] * hours), hours)


def _at_most(events: int, mean: float) -> float:
    """Probability of at most so many events where `mean` (> 0) are expected."""
    terms = (k * math.log(mean) - mean - math.lgamma(k + 1.0) for k in range(events + 1))
    return math.fsum(map(math.exp, terms))


def _cubed(events: int, quantile: float) -> float:
    """Half a chi-square quantile of 2 * events degrees, by Wilson and Hilferty (PNAS 1931)."""
    ninth = 1.0 / (9.0 * events)
    z = statistics.NormalDist().inv_cdf(quantile)
    return float(events * (1.0 - ninth + z * math.sqrt(ninth)) ** 3)


def _root(falling: Callable[[float], float], top: float) -> float:
    """Where a function that falls on (0, top] is zero, by bisection."""
    low, high = 0.0, float(top)
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if falling(middle) > 0.0 else (low, middle)
    return (low + high) / 2.0


def _short(value: float) -> str:
    """Two digits that count, without an exponent: 0.029, 6.4, 123."""
    if value == 0.0 or value >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}"
