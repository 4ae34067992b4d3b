"""Rare events are published with the interval that their count allows."""

from __future__ import annotations

import pytest

from kws.evaluation import intervals
from kws.evaluation.intervals import poisson_interval, preset_text, rate_text, share_interval


@pytest.mark.parametrize(
    ("events", "low", "high"),
    [  # Garwood's table, as in chi-square quantiles over two
        (0, 0.0, 3.6889),
        (1, 0.0253, 5.5716),
        (2, 0.2422, 7.2247),
        (10, 4.7954, 18.3904),
        (100, 81.3640, 121.6268),
    ],
)
def test_exact_limits(events: int, low: float, high: float) -> None:
    """The limits are those of the published table."""
    assert poisson_interval(events) == pytest.approx((low, high), abs=1e-4)


def test_a_lower_confidence_is_narrower() -> None:
    """90 % lies within 95 %, and many events are counted without overflow."""
    wide, narrow = poisson_interval(5), poisson_interval(5, 0.9)
    assert wide[0] < narrow[0] < 5 < narrow[1] < wide[1]
    assert poisson_interval(10**6) == pytest.approx((998_040.9, 1_001_961.9), abs=1.0)


def test_many_events_are_told_as_few_are() -> None:
    """The approximation goes on where the exact sum ends."""
    events = intervals.MANY
    exact = poisson_interval(events)
    approximate = intervals._cubed(events, 0.025), intervals._cubed(events + 1, 0.975)
    assert exact == pytest.approx(approximate, rel=1e-5)


def test_text() -> None:
    """Count, hours and events per hour, each with the digits that it is good for."""
    assert rate_text(1, 0.87) == "1 in 0.87 h (95 %: 0.029 to 6.4 per hour)"
    assert rate_text(0, 12.34) == "0 in 12 h (95 %: 0 to 0.30 per hour)"
    assert rate_text(1500, 3.0) == "1,500 in 3.0 h (95 %: 475 to 526 per hour)"


@pytest.mark.parametrize(("events", "confidence"), [(-1, 0.95), (1, 0.0), (1, 1.0), (10**13, 0.95)])
def test_what_cannot_be(events: int, confidence: float) -> None:
    """A negative count and a confidence of all or nothing are refused with what was expected."""
    with pytest.raises(ValueError, match="expected events >= 0"):
        poisson_interval(events, confidence)
    with pytest.raises(ValueError, match="expected hours above 0"):
        rate_text(1, 0.0)


def test_shares() -> None:
    """Wilson's interval holds the share, stays within [0, 1], and narrows with the count."""
    assert share_interval(32, 600) == pytest.approx((0.0380, 0.0744), abs=1e-4)
    assert share_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert share_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    with pytest.raises(ValueError, match="expected a part"):
        share_interval(3, 2)


def test_presets_of_manifests() -> None:
    """Counts by source are summed; where an older export kept the rate alone, it is multiplied."""
    counts = {"speech": {"events": 1, "hours": 0.5}, "noise": {"events": 0, "hours": 0.37}}
    expected = "1 in 0.87 h (95 %: 0.029 to 6.4 per hour)"
    assert expected == preset_text({"false_accepts": counts}, {})
    assert expected == preset_text({"false_accepts_per_hour": 1.149}, {"hours": 0.87})
