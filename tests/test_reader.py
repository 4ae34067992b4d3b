"""The stream's clock and what is left out of it, on a machine whose time the tests set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kws.audio.capture import Recorded
from kws.audio.gap import Gap
from kws.audio.reader import BLOCK, Reader
from kws.config import SAMPLE_RATE

STEP = BLOCK / SAMPLE_RATE  # s


class Machine:
    """A clock, a device at 16 kHz that records on it, and a reader of what it delivers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.time = 1000.0
        self.events: list[tuple[str, float, str, float, float]] = []
        monkeypatch.setattr("kws.audio.reader.clock.now", lambda: self.time)
        monkeypatch.setattr("kws.audio.reader.time.sleep", self.sleep)
        given: dict[str, Any] = {"channel": None, "max_age": 1.0, **settings}
        self.reader = Reader(**given, say=lambda *event: self.events.append(event))
        self.capture = Recording(self.time)

    def sleep(self, seconds: float) -> None:
        self.until(self.time + seconds)

    def until(self, moment: float, delivered: bool = True) -> None:
        """The device records until then; without `delivered` the blocks come at that moment."""
        self.capture.record(moment, None if delivered else moment)
        self.time = max(self.time, moment)

    def read(self, not_before: float = 0.0) -> list[Any]:
        """Everything that there is to read."""
        items = []
        while self.reader.waits(self.capture):
            items += self.reader.read(self.capture, not_before)
        return items


class Recording:
    """What Capture offers; the first sample of each block counts them."""

    def __init__(self, begin: float, slots: int = 100_000) -> None:
        self.begin = begin  # when the next block begins
        self.rate, self.channels, self.ended = SAMPLE_RATE, 1, False
        self.target = SimpleNamespace(name="Fake Mic")
        self.slots = slots
        self.arrivals: list[float] = []
        self.starts: list[float] = []
        self.flagged: set[int] = set()
        self.delay = 0.01  # s that a block takes to arrive

    def record(self, moment: float, arrival: float | None = None) -> None:
        while self.begin + STEP <= moment + 1e-9:
            self.starts.append(self.begin)
            self.begin += STEP
            self.arrivals.append((self.begin if arrival is None else arrival) + self.delay)

    @property
    def written(self) -> int:
        return len(self.arrivals)

    @property
    def oldest(self) -> int:
        return max(0, self.written - self.slots)

    def samples(self, number: int) -> np.ndarray:
        samples = np.where(np.arange(BLOCK) % 2, 8000, -8000).astype(np.int16)
        samples[0] = number + 1
        return samples

    def block(self, number: int) -> Recorded:
        samples, arrival = bytearray(self.samples(number).tobytes()), self.arrivals[number]
        return Recorded(samples, arrival, arrival, number in self.flagged)


def length(items: Iterable[Any]) -> int:
    """How far the stream's clock moves on."""
    return sum(item.samples if isinstance(item, Gap) else len(item) for item in items)


def gaps(items: Iterable[Any]) -> list[int]:
    return [item.samples for item in items if isinstance(item, Gap)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Makes a machine; its arguments are the reader's."""
    return lambda **settings: Machine(monkeypatch, **settings)


def listen(machine: Machine, seconds: float) -> list[Any]:
    """A loop that keeps up for so long."""
    items = []
    end = machine.time + seconds
    while machine.time < end - 1e-9:
        machine.until(machine.capture.begin + STEP)
        machine.time = machine.capture.arrivals[-1]
        items += machine.read()
        machine.time = machine.capture.begin
    return items


def test_nothing_happens(machine: Callable[..., Machine]) -> None:
    """Every block comes once, in order, without a gap or an event."""
    box = machine()
    items = listen(box, 20.0)
    assert gaps(items) == []
    assert [int(item[0]) for item in items] == list(range(1, 251))
    assert box.events == []


def test_a_stall_that_loses_nothing(machine: Callable[..., Machine]) -> None:
    """After 5 s of standing still all audio comes at once; where age does not count it is read."""
    box = machine(max_age=60.0)
    items = listen(box, 2.0)
    box.until(box.time + 5.0, delivered=False)
    items += box.read() + listen(box, 2.0)
    assert gaps(items) == []
    assert length(items) == round((box.capture.begin - 1000.0) * SAMPLE_RATE)


def test_the_newest_is_kept(machine: Callable[..., Machine]) -> None:
    """After 9 s of something else the last second is delivered, behind a gap of the others."""
    box = machine()
    items = listen(box, 2.0)
    box.until(box.time + 9.0)
    late = box.read()
    assert isinstance(late[0], Gap)
    assert 0.9 * SAMPLE_RATE <= length(late[1:]) <= SAMPLE_RATE + BLOCK
    items += late + listen(box, 2.0)
    assert len(gaps(items)) == 1
    assert length(items) == round((box.capture.begin - 1000.0) * SAMPLE_RATE)
    [(kind, seconds, message, start, end)] = box.events
    assert kind == "lost"
    # In the stream: from what was delivered before it to what came behind it.
    assert (25 * STEP, 25 * STEP + seconds) == pytest.approx((start, end))
    assert seconds == pytest.approx(gaps(items)[0] / SAMPLE_RATE)
    assert "waited longer than 1 s" in message


def test_overwritten(machine: Callable[..., Machine]) -> None:
    """Blocks that the ring no longer has are a gap of their length."""
    box = machine(max_age=60.0)
    box.capture.slots = 50
    items = listen(box, 2.0)
    box.until(box.time + 20.0)
    items += box.read()
    assert gaps(items) == [200 * BLOCK]
    assert length(items) == round((box.capture.begin - 1000.0) * SAMPLE_RATE)


@pytest.mark.parametrize("lost", [0.06, 0.3, 4.0])
def test_an_overflow(machine: Callable[..., Machine], lost: float) -> None:
    """The sound system says where it lost audio; how much shows in when the next block comes."""
    box = machine()
    items = listen(box, 3.0)
    box.capture.begin += lost
    box.capture.flagged.add(box.capture.written)
    box.time += lost
    items += listen(box, 3.0)
    assert gaps(items) == [pytest.approx(lost * SAMPLE_RATE, abs=0.02 * SAMPLE_RATE)]
    assert abs(length(items) - (box.capture.begin - 1000.0) * SAMPLE_RATE) < 0.02 * SAMPLE_RATE
    assert box.reader.lost == gaps(items)[0]


def test_an_overflow_within_what_had_waited(machine: Callable[..., Machine]) -> None:
    """A device that keeps 0.2 s of a stall of 3 s: the gap stands behind these, not before."""
    box = machine(max_age=60.0)
    listen(box, 3.0)
    before = box.capture.written
    box.until(box.time + 0.24, delivered=False)
    box.capture.arrivals[before:] = [arrival + 2.76 for arrival in box.capture.arrivals[before:]]
    box.capture.begin += 2.76
    box.time += 2.76
    box.capture.flagged.add(box.capture.written)
    box.until(box.time + STEP)
    items = box.read()
    assert [isinstance(item, Gap) for item in items[:5]] == [False, False, False, True, False]
    assert gaps(items) == [pytest.approx(2.76 * SAMPLE_RATE, abs=0.03 * SAMPLE_RATE)]


def test_what_had_waited_comes_in_portions(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound system that stops for a moment while it catches up has lost nothing."""
    box = machine(max_age=60.0)
    items = listen(box, 3.0)
    box.until(box.time + 5.0, delivered=False)
    portion = box.capture.arrivals[-30:]
    del box.capture.arrivals[-30:]
    box.time += 0.06

    def sleep(seconds: float) -> None:
        box.capture.arrivals += [box.time] * len(portion)
        portion.clear()
        box.sleep(seconds)

    monkeypatch.setattr("kws.audio.reader.time.sleep", sleep)
    items += box.read() + listen(box, 2.0)
    assert gaps(items) == []
    assert length(items) == round((box.capture.begin - 1000.0) * SAMPLE_RATE)


def test_sleep(machine: Callable[..., Machine]) -> None:
    """A machine that slept for an hour lost an hour, although nothing says so."""
    box = machine()
    items = listen(box, 3.0)
    box.capture.begin += 3600.0
    box.time += 3600.0
    items += listen(box, 3.0)
    assert gaps(items) == [pytest.approx(3600 * SAMPLE_RATE, abs=0.02 * SAMPLE_RATE)]
    assert box.events[0][0] == "lost"


def test_a_loss_without_a_word(machine: Callable[..., Machine]) -> None:
    """Too small to be seen in one block, it is found within seconds."""
    box = machine()
    listen(box, 12.0)
    box.capture.begin += 0.2
    box.time += 0.2
    items = listen(box, 8.0)
    assert gaps(items) == [pytest.approx(0.2 * SAMPLE_RATE, abs=0.02 * SAMPLE_RATE)]


def test_late_blocks_are_no_loss(machine: Callable[..., Machine]) -> None:
    """A busy machine delivers blocks late, in no order of lateness; nothing is made up."""
    box = machine(max_age=60.0)
    random = np.random.default_rng(7)
    items = []
    for _ in range(1000):
        box.capture.delay = 0.01 + random.exponential(0.04)
        box.until(box.time + STEP)
        box.time = box.capture.begin
        if random.random() < 0.3:
            box.time = max(box.time, *box.capture.arrivals[-3:])
            items += box.read()
    assert gaps(items) == []


def test_drift(machine: Callable[..., Machine]) -> None:
    """With a device that is 0.2 % slow no audio is lost and the times stay right."""
    box = machine()
    items: list[Any] = []
    for _ in range(4_500):  # six minutes
        box.capture.begin += STEP * 0.002
        items += listen(box, STEP)
        if len(items) % 1000 == 0:
            recorded = box.capture.starts[-1]
            assert abs(box.reader.time_of(length(items[:-1]) / SAMPLE_RATE) - recorded) < 0.05
    assert gaps(items) == []


def test_opened_again(machine: Callable[..., Machine]) -> None:
    """Another capture of the device goes on in the same stream, behind a gap of the time away."""
    box = machine()
    items = listen(box, 3.0)
    box.time += 7.0
    box.capture = Recording(box.time)
    box.until(box.time + 4 * STEP)
    items += box.read() + listen(box, 3.0)
    assert gaps(items) == [pytest.approx(7.0 * SAMPLE_RATE, abs=0.05 * SAMPLE_RATE)]
    assert box.events == []  # that it is back is said by who opens it
    assert box.reader.lost == gaps(items)[0]


def test_where_in_the_stream_the_level_is_wrong(machine: Callable[..., Machine]) -> None:
    """Each stream has its own times."""
    box = machine()
    box.capture.samples = lambda number: np.zeros(BLOCK, np.int16)
    listen(box, 1.0)
    box.reader.restart()
    assert 0.0 == box.reader.at
    items = listen(box, 4.4)
    [(kind, seconds, _, start, end)] = box.events
    assert ("muted", 5.0) == (kind, seconds)
    assert (0.0, 53 * STEP) == pytest.approx((start, end))
    assert length(items) / SAMPLE_RATE == pytest.approx(box.reader.at)


def test_what_is_not_wanted(machine: Callable[..., Machine]) -> None:
    """Audio from before a moment is left out, and not counted as lost."""
    box = machine()
    items = listen(box, 2.0)
    box.until(box.time + 0.8)
    items += box.read(not_before=box.time) + listen(box, 1.0)
    assert gaps(items) == [10 * BLOCK]
    assert box.reader.lost == 0
    assert box.events == []


def test_a_new_stream(machine: Callable[..., Machine]) -> None:
    """It begins at 0 with its first block, without a gap, and knows when that was."""
    box = machine()
    listen(box, 2.0)
    box.until(box.time + 0.8)
    box.reader.restart()
    begin = box.time
    items = box.read(not_before=begin) + listen(box, 1.0)
    assert gaps(items) == []
    assert begin <= box.reader.time_of(0.0) <= begin + STEP
    assert box.reader.lost == 0


def test_too_slow_a_loop(machine: Callable[..., Machine]) -> None:
    """A loop that takes twice as long as the audio gets long stretches, not scraps."""
    box = machine()
    items: list[Any] = []
    while box.time < 1060.0:
        box.until(box.time + 2 * STEP)
        if box.reader.waits(box.capture):
            items += box.reader.read(box.capture, 0.0)
    assert 10 < len(gaps(items)) < 60
    assert sum(gaps(items)) > 20 * SAMPLE_RATE


def test_other_rates(machine: Callable[..., Machine]) -> None:
    """With a resampler in between, gaps and audio add up to the position all the same."""
    box = machine()
    box.capture.rate = 48_000
    box.capture.samples = lambda number: np.full(3 * BLOCK, 1000, np.int16)
    items = listen(box, 3.0)
    box.capture.begin += 2.0
    box.capture.flagged.add(box.capture.written)
    box.time += 2.0
    items += listen(box, 3.0)
    assert len(gaps(items)) == 1
    assert 0 <= (box.capture.begin - 1000.0) * SAMPLE_RATE - length(items) < 0.05 * SAMPLE_RATE
