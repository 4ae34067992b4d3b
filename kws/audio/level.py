"""How loud a microphone is, and whether its level is one that words can be spotted at."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kws.audio.convert import Int16Array
from kws.audio.events import Kind

FLOOR = -100.0  # dBFS, what digital silence counts as
FULL_SCALE = 32768.0
CLIPPED = 32_700  # magnitude from which a sample counts as cut off; some converters stop short
PATIENCE = 5.0  # s for which something must be so before it is reported
EVERY = 0.5  # s between two looks for it, each of which goes through the last seconds

OFFSET = 0.02  # of full scale
SILENT = -70.0  # dBFS: a peak below is no live microphone, or one that is turned down
LOW = -45.0  # dBFS: a peak that speech near a well-set microphone passes
LIVELY = 10.0  # dB between the loudest and the softest block, which speech has and noise has not
HIGH = -1.0  # dBFS
OFTEN = 0.25  # share of blocks


@dataclass(frozen=True)
class Level:
    """How loud a block was."""

    peak: float  # dBFS, 0.0 at full scale, -100.0 in digital silence
    rms: float  # dBFS


class _Measured(NamedTuple):
    seconds: float
    peak: float  # dBFS
    rms: float
    mean: float  # share of full scale
    zero: bool
    clipped: bool


# What is reported when it begins, and when it is over; each with what to do.
TROUBLES: dict[Kind, tuple[Kind, str, str]] = {
    "muted": (
        "unmuted",
        "delivers only zeros: it is muted, or switched off in the sound settings",
        "delivers sound again",
    ),
    "offset": (
        "offset_ok",
        "has a constant offset: its plug or its bias voltage is at fault; try another socket",
        "has no constant offset any more",
    ),
    "clipping": (
        "unclipped",
        "clips: words are cut off at full scale; turn its level down in the sound settings",
        "does not clip any more",
    ),
    "loud": (
        "level_ok",
        "is near full scale: turn its level down in the sound settings",
        "has a good level now",
    ),
    "quiet": (
        "level_ok",
        "is very quiet: turn its level up in the sound settings, or speak closer to it",
        "has a good level now",
    ),
}


class LevelWatch:
    """Tells what is wrong with the level: once after 5 s, and once when it is over."""

    def __init__(self) -> None:
        self.trouble: Kind | None = None
        self._last = _Measured(0.0, FLOOR, FLOOR, 0.0, True, False)
        self._recent: deque[_Measured] = deque()
        self._seconds = 0.0  # of audio in _recent
        self._unjudged = EVERY  # s since the last look
        self._understood = False  # speech has been loud enough: from now on quiet means silence
        self._enough = LOW  # dBFS: a peak that ends "quiet"

    @property
    def level(self) -> Level:
        """Of the last block."""
        return Level(self._last.peak, self._last.rms)

    def add(self, block: Int16Array, seconds: float) -> Iterator[tuple[Kind, str]]:
        """Measure a block, shape (samples,); yields what is to be reported, kind and sentence."""
        self._last = last = _measure(block, seconds)
        self._understood |= last.peak >= LOW
        self._recent.append(last)
        self._seconds += seconds
        self._unjudged += seconds
        while self._seconds - self._recent[0].seconds >= PATIENCE - 1e-6:
            self._seconds -= self._recent.popleft().seconds
        if self.trouble is not None and not self._goes_on(last):
            kind, _, sentence = TROUBLES[self.trouble]
            self.trouble = None
            self._recent.clear()
            self._seconds = 0.0
            yield kind, sentence
        elif self.trouble is None and self._seconds >= PATIENCE - 1e-6 and self._unjudged >= EVERY:
            self._unjudged = 0.0
            self.trouble = self._judge()
            if self.trouble is not None:
                yield self.trouble, TROUBLES[self.trouble][1]

    def _goes_on(self, last: _Measured) -> bool:
        """Whether what was reported is still so; what comes and goes with speech needs 5 s."""
        if self.trouble == "muted":
            return last.zero
        if self.trouble == "offset":
            return abs(last.mean) > OFFSET
        if self.trouble == "clipping":
            return any(each.clipped for each in self._recent)
        if self.trouble == "loud":
            return any(each.peak > HIGH for each in self._recent)
        return last.peak < self._enough

    def _judge(self) -> Kind | None:
        """What is wrong over the last seconds, the worst first."""
        recent = self._recent
        if all(each.zero for each in recent):
            return "muted"
        if all(abs(each.mean) > OFFSET for each in recent):
            return "offset"
        peak = max(each.peak for each in recent)
        if peak > HIGH:
            if sum(each.clipped for each in recent) >= 3:
                return "clipping"
            if sum(each.peak > HIGH for each in recent) >= OFTEN * len(recent):
                return "loud"
        elif peak < SILENT:
            self._enough = SILENT + 6.0
            return "quiet"
        elif peak < LOW and not self._understood:
            levels = [each.rms for each in recent if not each.zero]
            if max(levels) - min(levels) > LIVELY:
                self._enough = LOW
                return "quiet"
        return None


def _measure(block: Int16Array, seconds: float) -> _Measured:
    # Without the methods of the same names, which run through more of NumPy's Python.
    low, high = int(np.minimum.reduce(block)), int(np.maximum.reduce(block))
    wide = block.astype(np.float32)
    mean = float(np.add.reduce(wide)) / len(wide)
    power = float(np.dot(wide, wide)) / len(wide)
    peak = max(high, -low)
    return _Measured(
        seconds,
        _decibels(peak / FULL_SCALE),
        _decibels((power**0.5) / FULL_SCALE),
        mean / FULL_SCALE,
        low == high == 0,
        peak >= CLIPPED,
    )


def _decibels(ratio: float) -> float:
    return max(FLOOR, 20.0 * math.log10(ratio)) if ratio > 0.0 else FLOOR


class LoudestChannel:
    """Which of several channels carries the signal.

    The loudest one at first; another only when it is 10 dB louder over the last seconds, so that
    nothing changes while somebody walks about.
    """

    EVERY = 4  # blocks, of which one is measured
    MEMORY = 0.85  # per measurement: 2 s with blocks of 80 ms
    LOUDER = 10.0  # times the power

    def __init__(self) -> None:
        self._power: NDArray[np.float64] = np.zeros(1)
        self._blocks = 0
        self.channel = 0  # from 0

    def choose(self, block: Int16Array) -> int:
        """The channel, from 0, to take of a block of shape (frames, channels)."""
        self._blocks += 1
        if block.shape[1] == 1 or self._blocks % self.EVERY != 1:
            return self.channel
        some = block[::8]  # enough to tell how loud it is
        power = np.square(some.max(axis=0).astype(np.float64) - some.min(axis=0))
        if not self._power.any():
            self._power = power
            self.channel = int(power.argmax())
            return self.channel
        self._power = self.MEMORY * self._power + (1.0 - self.MEMORY) * power
        loudest = int(self._power.argmax())
        if self._power[loudest] > self.LOUDER * self._power[self.channel]:
            self.channel = loudest
        return self.channel
