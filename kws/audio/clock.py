"""When the samples of a stream were recorded."""

from __future__ import annotations

import math
import time
from collections import deque

from kws.config import SAMPLE_RATE

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
WINDOW = 128  # blocks, 10 s: over so many the earliest arrival counts


def now() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class ArrivalClock:
    """Where the zero of a stream lies on the clock `now`, from the arrivals of its blocks.

    A block cannot arrive before its last sample was recorded, only later, so that the earliest
    arrival of some seconds, seen from its position in the stream, is the best estimate. It follows
    the drift between the device's clock and the machine's. Where the sound system tells how long a
    block waited, its arrival is without that.
    """

    def __init__(self) -> None:
        self._zeros: deque[float] = deque(maxlen=WINDOW)
        self._earliest = math.inf  # of them

    def __bool__(self) -> bool:
        return bool(self._zeros)

    def add(self, end: int, arrival: float) -> None:
        """A block arrived that ends at sample `end` (16 kHz) of the stream."""
        zero = arrival - end / SAMPLE_RATE
        goes = len(self._zeros) == WINDOW and self._zeros[0] == self._earliest
        self._zeros.append(zero)
        self._earliest = min(self._zeros) if goes else min(self._earliest, zero)

    def lateness(self, end: int, arrival: float) -> float:
        """How many seconds later than expected the block that ends there arrived."""
        return arrival - end / SAMPLE_RATE - self._earliest

    def recent_lateness(self, blocks: int) -> float:
        """The same for the earliest of the last `blocks`; 0.0 while there are fewer than twice."""
        if len(self._zeros) < 2 * blocks:
            return 0.0
        return min(list(self._zeros)[-blocks:]) - self._earliest

    def time_of(self, sample: int) -> float:
        """When that sample of the stream was recorded, on the clock `now`."""
        return self._earliest + sample / SAMPLE_RATE
