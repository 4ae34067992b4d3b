"""When the samples of a stream were recorded."""

from __future__ import annotations

import time
from collections import deque

from kws.config import SAMPLE_RATE

WINDOW = 128  # blocks, 10 s: over so many the earliest arrival counts


def now() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class ArrivalClock:
    """Where the zero of a stream lies on the clock `now`, from the arrivals of its blocks.

    A block cannot arrive before its last sample was recorded, only later, so that the earliest
    arrival of some seconds, seen from its position in the stream, is the best estimate. It follows
    the drift between the device's clock and the machine's.
    """

    def __init__(self) -> None:
        self._zeros: deque[float] = deque(maxlen=WINDOW)

    def __bool__(self) -> bool:
        return bool(self._zeros)

    def add(self, end: int, arrival: float) -> None:
        """A block arrived that ends at sample `end` (16 kHz) of the stream."""
        self._zeros.append(arrival - end / SAMPLE_RATE)

    def lateness(self, end: int, arrival: float) -> float:
        """How many seconds later than expected the block that ends there arrived."""
        return arrival - end / SAMPLE_RATE - min(self._zeros)

    def recent_lateness(self, blocks: int) -> float:
        """The same for the earliest of the last `blocks`; 0.0 while there are fewer than twice."""
        if len(self._zeros) < 2 * blocks:
            return 0.0
        return min(list(self._zeros)[-blocks:]) - min(self._zeros)

    def time_of(self, sample: int) -> float:
        """When that sample of the stream was recorded, on the clock `now`."""
        return min(self._zeros) + sample / SAMPLE_RATE
