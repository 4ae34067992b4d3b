"""How loud a microphone is, and whether its level is one that words can be spotted at."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
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
TOGETHER = 6  # blocks, half a second, that are measured at once, for little more than one costs

# In units of int16.
OFFSET = 0.02 * FULL_SCALE
# A peak below is no live microphone, or one that is turned down.
SILENT = FULL_SCALE * 10 ** (-70.0 / 20)
LOW = FULL_SCALE * 10 ** (-45.0 / 20)  # a peak that speech near a well-set microphone passes
HIGH = FULL_SCALE * 10 ** (-1.0 / 20)
LIVELY = 10.0  # times the power of the softest block, which speech reaches and noise does not
OFTEN = 0.25  # share of blocks


@dataclass(frozen=True)
class Level:
    """How loud a block was."""

    peak: float  # dBFS, 0.0 at full scale, -100.0 in digital silence
    rms: float  # dBFS


class _Measured(NamedTuple):
    """Of one block, in units of int16."""

    seconds: float
    peak: int
    power: float
    mean: float


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
        self._waiting: list[Int16Array] = []  # to be measured
        self._block = np.zeros(1, np.int16)  # the last one
        self._recent: deque[_Measured] = deque()
        self._seconds = 0.0  # of audio in _recent
        self._understood = False  # speech has been loud enough: from now on quiet means silence
        self._enough = LOW  # a peak that ends "quiet"

    @property
    def level(self) -> Level:
        """Of the last block."""
        ((_, peak, power, _),) = _measure([self._block], 0.0)
        return Level(_decibels(peak), _decibels(power**0.5))

    def attach(self) -> None:
        """Blocks of another length, of another device, may come from now on."""
        self._waiting.clear()

    def add(self, block: Int16Array, seconds: float) -> Sequence[tuple[Kind, str, float]]:
        """Take a block, shape (samples,), as long as the others; returns what is to be reported:
        kind, sentence, and how many seconds before the end of this block."""
        self._block = block
        self._waiting.append(block)
        if len(self._waiting) < TOGETHER:
            return ()
        measured = _measure(self._waiting, seconds)
        self._waiting.clear()
        reports = []
        for waiting, last in zip(range(TOGETHER - 1, -1, -1), measured, strict=True):
            self._understood |= last.peak >= LOW
            self._recent.append(last)
            self._seconds += seconds
            while self._seconds - self._recent[0].seconds >= PATIENCE - 1e-6:
                self._seconds -= self._recent.popleft().seconds
            if self.trouble is not None and not self._goes_on(last):
                kind, _, sentence = TROUBLES[self.trouble]
                reports.append((kind, sentence, waiting * seconds))
                self.trouble = None
                self._recent.clear()
                self._seconds = 0.0
        if self.trouble is None and self._seconds >= PATIENCE - 1e-6:
            self.trouble = self._judge()
            if self.trouble is not None:
                reports.append((self.trouble, TROUBLES[self.trouble][1], 0.0))
        return reports

    def _goes_on(self, last: _Measured) -> bool:
        """Whether what was reported is still so; what comes and goes with speech needs 5 s."""
        if self.trouble == "muted":
            return last.peak == 0
        if self.trouble == "offset":
            return abs(last.mean) > OFFSET
        if self.trouble == "clipping":
            return any(each.peak >= CLIPPED for each in self._recent)
        if self.trouble == "loud":
            return any(each.peak > HIGH for each in self._recent)
        return last.peak < self._enough

    def _judge(self) -> Kind | None:
        """What is wrong over the last seconds, the worst first."""
        recent = self._recent
        peak = max(each.peak for each in recent)
        if peak == 0:
            return "muted"
        if all(abs(each.mean) > OFFSET for each in recent):
            return "offset"
        if peak > HIGH:
            if sum(each.peak >= CLIPPED for each in recent) >= 3:
                return "clipping"
            if sum(each.peak > HIGH for each in recent) >= OFTEN * len(recent):
                return "loud"
        elif peak < SILENT:
            self._enough = 2 * SILENT
            return "quiet"
        elif peak < LOW and not self._understood:
            powers = [each.power for each in recent if each.peak]
            if max(powers) > LIVELY * min(powers):
                self._enough = LOW
                return "quiet"
        return None


def _measure(blocks: Sequence[Int16Array], seconds: float) -> list[_Measured]:
    """Blocks of one length, of so many seconds each."""
    # Without the methods of the same names, which run through more of NumPy's Python.
    rows = np.concatenate(blocks).reshape(len(blocks), -1)
    low, high = np.minimum.reduce(rows, axis=1), np.maximum.reduce(rows, axis=1)
    peaks = [max(-low, high) for low, high in zip(low.tolist(), high.tolist(), strict=True)]
    wide = rows.astype(np.float32)
    powers = np.matmul(wide[:, None], wide[:, :, None])[:, 0, 0] / wide.shape[1]
    means = [0.0] * len(blocks)
    if max(peaks) > OFFSET:  # what is softer has none
        means = (np.add.reduce(wide, axis=1) / wide.shape[1]).tolist()
    each = zip(peaks, powers.tolist(), means, strict=True)
    return [_Measured(seconds, peak, power, mean) for peak, power, mean in each]


def _decibels(amplitude: float) -> float:
    """In dBFS."""
    return max(FLOOR, 20.0 * math.log10(amplitude / FULL_SCALE)) if amplitude else FLOOR


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
