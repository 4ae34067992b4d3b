"""Medians of rounds: how sure they are, and what the rule leaves out."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks.product import peers
from benchmarks.timed import (
    add_rounds,
    median_interval,
    timed,
    timed_difference,
    timed_ratio,
    timed_text,
    too_noisy,
)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(6, 1, 6), (8, 1, 8), (9, 2, 8), (12, 3, 10), (15, 4, 12), (17, 5, 13), (25, 8, 18)],
)
def test_the_interval_of_a_median(count: int, low: int, high: int) -> None:
    """By ranks, as tables of the sign test have them: of 12 values the 3rd and the 10th."""
    values = list(range(1, count + 1))
    random.Random(count).shuffle(values)
    assert (low, high) == median_interval(values)


def test_too_few_values_have_no_interval() -> None:
    """Five values all lie on one side of the median in 1 of 16 cases."""
    with pytest.raises(ValueError, match="at least 6 values for a 95 % interval, got 5"):
        median_interval([1.0] * 5)


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    """96.1 % of the time for twelve values, though they come from a skewed distribution."""
    generator = random.Random(3)
    held = 0
    for _ in range(4_000):
        low, high = median_interval([generator.expovariate(1.0) for _ in range(12)])
        held += low <= 0.693147 <= high
    assert 0.9614 == pytest.approx(held / 4_000, abs=0.01)


def test_what_is_kept_of_rounds() -> None:
    """One round that was disturbed is told, and moves neither median nor interval."""
    row = timed([2.0, 2.1, 1.9, 2.0, 2.05, 1.95, 2.0, 2.0, 9.0])
    assert {"median": 2.0, "interval_95": [1.95, 2.1], "range": [1.9, 9.0], "rounds": 9} == row
    assert "2.00 ms (1.95 to 2.10; rounds 1.90 to 9.00)" == timed_text(row, unit=" ms")


def test_ratios_are_paired_by_round() -> None:
    """A machine that is slow for some rounds is so for both."""
    speed = [1.0, 1.0, 5.0, 5.0, 2.0, 1.0]
    assert [0.5, 0.5] == timed_ratio(speed, [2 * each for each in speed])["range"]


def test_differences_are_paired_by_round() -> None:
    """What a machine that is slow for some rounds takes from both is in neither."""
    speed = [1.0, 1.0, 5.0, 5.0, 2.0, 1.0]
    row = timed_difference([0.25 + each for each in speed], speed)
    assert ([0.25, 0.25], 0.25, 1.5) == (row["range"], row["median"], row["added_to"])


@pytest.mark.parametrize(
    ("row", "noisy"),
    [
        ({"median": 2.0, "interval_95": [1.9, 2.09], "range": [1.0, 9.0]}, False),
        ({"median": 2.0, "interval_95": [1.9, 2.11], "range": [1.9, 2.11]}, True),
        ({"median": 0.2, "interval_95": [0.1, 0.3], "range": [0, 1], "added_to": 2.1}, False),
        ({"median": 0.2, "interval_95": [0.1, 0.3], "range": [0, 1], "added_to": 1.9}, True),
        ({"median": 2.1, "interval_95": [2.0, 2.2], "range": [0, 9], "added_to": 0.1}, False),
        ({"accuracy": 0.9}, False),
    ],
)
def test_the_rule_for_times(row: dict[str, Any], noisy: bool) -> None:
    """A tenth of the median, by its interval; of a difference, a tenth of what it is added to."""
    assert noisy == too_noisy(row)


def test_rounds_are_as_many_as_an_interval_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer are a usage error."""
    parser = argparse.ArgumentParser()
    add_rounds(parser, 12)
    assert 12 == parser.parse_args([]).rounds
    assert 6 == parser.parse_args(["--rounds", "6"]).rounds
    for text, error in (("5", "expected at least 6, got 5"), ("many", "invalid")):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(["--rounds", text])
        assert error in capsys.readouterr().err


class Paced:
    """A spotter whose processor time is known: so much a byte, on a machine that slows down."""

    def __init__(self, name: str, seconds_per_byte: float, log: list[tuple[str, int, int]]) -> None:
        self.peer = peers.Peer(name, name)
        self._seconds_per_byte, self._log = seconds_per_byte, log

    def process(self, path: Path, part: tuple[int, int]) -> dict[str, Any]:
        """See peers.Running."""
        self._log.append((self.peer.name, *part))
        slower = 1.0 + len(self._log) // 12  # from one half of a round to the next
        return {"cpu_s": slower * self._seconds_per_byte * (part[1] - part[0])}


def test_turns_are_taken_within_a_round(tmp_path: Path) -> None:
    """A machine that gets slower all the time moves the times, and not their ratio."""
    path = tmp_path / "speech.raw"
    path.write_bytes(bytes(2 * peers.PART + 640))
    log: list[tuple[str, int, int]] = []
    found = peers.processor_time(
        [Paced("a", 1e-6, log), Paced("b", 3e-6, log)],  # type: ignore[list-item]
        {"speech": path},
        rounds=8,
    )
    starts = [begin for name, begin, _ in log if name == "a"]
    assert [0, peers.PART, 2 * peers.PART] * 9 == starts
    assert {"a", "b"} == {name for name, _, _ in log[:2]}
    ratio = found["b"]["speech"]["relative_processor_time"]
    assert 8 == ratio["rounds"]
    assert 3.0 == pytest.approx(ratio["median"], rel=0.05)
    assert not too_noisy(ratio)
    assert too_noisy(found["a"]["speech"]["ms_per_second"])


def test_a_millisecond_is_one_of_a_second_of_audio(tmp_path: Path) -> None:
    """1 ms for 32,000 bytes, a second of 16-bit samples."""
    path = tmp_path / "speech.raw"
    path.write_bytes(bytes(32_000))

    class Steady(Paced):
        def process(self, path: Path, part: tuple[int, int]) -> dict[str, Any]:
            return {"cpu_s": 1e-3}

    (row,) = peers.processor_time([Steady("a", 0.0, [])], {"x": path}, 6).values()  # type: ignore[list-item]
    assert 1.0 == pytest.approx(row["x"]["ms_per_second"]["median"])
