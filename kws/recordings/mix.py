"""Speech in noise at a stated ratio; one definition of level for every measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.recordings.data import Int16Array

_BLOCK = 800  # samples, 50 ms


def level(audio: NDArray[Any]) -> float:
    """Root mean square of the louder half of the 50 ms blocks, in the samples' own unit.

    A word fills about half of its clip; the pauses around it say nothing of how loud it is.
    Raises ValueError for less than 50 ms.
    """
    if len(audio) < _BLOCK:
        raise ValueError(f"expected at least {_BLOCK} samples, got {len(audio)}")
    blocks = audio[: len(audio) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).astype(np.float64)
    power = np.sort(np.mean(blocks * blocks, axis=1))
    return float(np.sqrt(power[len(power) // 2 :].mean()))


def add_noise(
    audio: Int16Array, noise: Int16Array, snr_db: float, loudness: float | None = None
) -> Int16Array:
    """Audio with noise of the same length, `snr_db` below the audio's level, clipped to int16.

    `loudness` takes the place of the audio's own level where that is nothing to go by, as in a
    clip of silence. Silent noise adds nothing.
    """
    if len(audio) != len(noise):
        raise ValueError(f"expected noise of {len(audio)} samples, got {len(noise)}")
    loudness = level(audio) if loudness is None else loudness
    noise_level = level(noise)
    gain = loudness * 10.0 ** (-snr_db / 20.0) / noise_level if noise_level else 0.0
    mixed = np.round(audio + gain * noise.astype(np.float64))
    return np.clip(mixed, -32768, 32767).astype(np.int16)
