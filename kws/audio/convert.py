"""Any rate, channel count and sample format to int16 mono at 16 kHz."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE

Int16Array = NDArray[np.int16]
FloatArray = NDArray[np.float32]

MIX_MS = 20  # channels are mixed again for each stretch of so long
_HIGHEST = np.float32(64.0)  # times full scale; nothing beyond is meant, and sums stay finite
_CANCELLED = 0.1  # a mix with less than this share of the loudest channel's energy (-10 dB)
_RESTORED = 0.2  # and of this share or more, to be taken again
_HELD = 0.98  # of the energy remembered after 20 ms: a time constant of one second

logger = logging.getLogger(__name__)


def to_int16(audio: FloatArray) -> Int16Array:
    """Samples in [-1, 1) as int16, of the same shape; what lies beyond is clipped."""
    scaled = np.rint(np.clip(audio, -1.0, 1.0) * np.float32(32768.0))
    samples: Int16Array = np.minimum(scaled, 32767).astype(np.int16)
    return samples


class Converter:
    """Float blocks of any rate and channel count to int16 mono at 16 kHz, carrying the overlap."""

    def __init__(self, rate: int) -> None:
        self.not_numbers = 0  # samples that were NaN or infinite, taken as zero
        self.peak = 0.0  # largest magnitude so far; 1.0 is full scale
        self._rate = rate
        self._mixer: _Mixer | None = None
        self._resampler: Any = None
        if rate != SAMPLE_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def convert(self, block: FloatArray, last: bool = False) -> Int16Array:
        """(frames, channels) float32 in [-1, 1] -> (samples,) int16.

        Channels are averaged; where they cancel each other out, the loudest is taken alone. With
        `last`, what the mixer and the resampler still hold comes too.
        """
        finite = np.isfinite(block)
        if not finite.all():
            self.not_numbers += int(np.count_nonzero(~finite))
            block = np.where(finite, block, np.float32(0.0))
        if block.size:
            self.peak = max(self.peak, float(np.abs(block).max()))
            block = np.clip(block, -_HIGHEST, _HIGHEST)
        if block.shape[1] > 1 and self._mixer is None:
            self._mixer = _Mixer(block.shape[1], max(1, self._rate * MIX_MS // 1000))
        mono = self._mixer.mix(block, last) if self._mixer else block[:, 0]
        if self._resampler is not None:
            # Beyond full scale nothing is meant, and the resampler would smear it over its window.
            mono = self._resampler.resample_chunk(np.clip(mono, -1.0, 1.0), last=last)
        return to_int16(mono)

    def report(self, name: str) -> None:
        """Warn, at the end of a source of this name, of what was wrong with its samples."""
        if self.not_numbers:
            logger.warning(
                "%s holds %d samples that are not numbers; they were taken as silence",
                name,
                self.not_numbers,
            )
        if self.peak > 2.0:  # resampled or mixed music goes a little above 1
            logger.warning(
                "%s reaches %.3g times full scale and was clipped; float samples lie in [-1, 1]",
                name,
                self.peak,
            )
        if self._mixer and self._mixer.cancelled is not None:
            logger.warning(
                "the channels of %s cancel each other out; channel %d was taken alone there",
                name,
                self._mixer.cancelled + 1,
            )


class _Mixer:
    """The mean of all channels, or the loudest one while that mean loses what they carry.

    A cable with swapped poles, or a "wide" stereo effect, inverts one channel: the mean is silence.
    Decides for each stretch of `stretch` frames from the start of the stream, so that what comes
    out does not depend on how it was cut into blocks.
    """

    def __init__(self, channels: int, stretch: int) -> None:
        self.cancelled: int | None = None
        self._stretch = stretch
        self._rest = np.empty((0, channels), np.float32)  # less than a stretch
        self._mean = np.full(channels, 1.0 / channels, np.float32)
        self._weights = self._mean
        self._energies = np.zeros(channels)
        self._mixed = 0.0  # energy of the mean
        self._ramp = np.linspace(0.0, 1.0, stretch, endpoint=False, dtype=np.float32)[:, None]

    def mix(self, block: FloatArray, last: bool) -> FloatArray:
        """(frames, channels) -> (samples,), whole stretches; all that is left with `last`."""
        block = np.concatenate((self._rest, block))
        whole = len(block) // self._stretch * self._stretch
        self._rest = block[whole:]
        parts = [
            self._mix(block[begin : begin + self._stretch])
            for begin in range(0, whole, self._stretch)
        ]
        if last:
            parts.append(self._rest @ self._weights)
            self._rest = self._rest[:0]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def _mix(self, stretch: FloatArray) -> FloatArray:
        self._energies = _HELD * self._energies + np.square(stretch).sum(axis=0)
        self._mixed = _HELD * self._mixed + float(np.square(stretch @ self._mean).sum())
        loudest = int(self._energies.argmax())
        before = self._weights
        share = self._mixed / self._energies[loudest] if self._energies[loudest] else 1.0
        if share < _CANCELLED:
            if before is self._mean:
                self._weights = np.eye(len(self._mean), dtype=np.float32)[loudest]
                self.cancelled = loudest
        elif share >= _RESTORED:
            self._weights = self._mean
        if before is self._weights:
            mixed: FloatArray = stretch @ before
            return mixed
        ramp = self._ramp * self._weights + (1.0 - self._ramp) * before
        faded: FloatArray = (stretch * ramp).sum(axis=1, dtype=np.float32)
        return faded
