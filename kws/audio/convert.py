"""Any rate, channel count and sample format to int16 mono at 16 kHz."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE

Int16Array = NDArray[np.int16]
FloatArray = NDArray[np.float32]


def to_int16(audio: FloatArray) -> Int16Array:
    """Samples in [-1, 1) as int16, of the same shape; what lies beyond is clipped."""
    scaled = np.clip(np.rint(audio * np.float32(32768.0)), -32768, 32767)
    samples: Int16Array = scaled.astype(np.int16)
    return samples


class Converter:
    """Float blocks of any rate and channel count to int16 mono at 16 kHz, carrying the overlap."""

    def __init__(self, rate: int) -> None:
        self.not_numbers = 0  # samples that were NaN or infinite, heard as zero
        self.peak = 0.0  # largest magnitude so far; 1.0 is full scale
        self._resampler: Any = None
        if rate != SAMPLE_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def convert(self, block: FloatArray, last: bool = False) -> Int16Array:
        """(frames, channels) float32 in [-1, 1] -> (samples,) int16; channels are averaged.

        With `last`, the tail that the resampler still holds comes too.
        """
        mono: FloatArray = block.mean(axis=1, dtype=np.float32) if block.size else block.reshape(-1)
        finite = np.isfinite(mono)
        if not finite.all():
            self.not_numbers += int(np.count_nonzero(~finite))
            mono = np.where(finite, mono, np.float32(0.0))
        if len(mono):
            self.peak = max(self.peak, float(np.abs(mono).max()))
        if self._resampler is not None:
            # Beyond full scale nothing is meant, and the resampler would smear it over its window.
            mono = self._resampler.resample_chunk(np.clip(mono, -1.0, 1.0), last=last)
        return to_int16(mono)
