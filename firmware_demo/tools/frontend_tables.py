"""The tables of the C front end, from the same formulas as kws/frontend.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kws.config import FeatureConfig
from kws.errors import ModelError
from kws.frontend import SparseFilters, window

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class FrontendTables:
    """What src/model.h declares under "the front end"."""

    window: FloatArray  # (window,)
    fft_places: NDArray[np.uint16]  # (fft_size / 2,)
    twiddles: FloatArray  # (3 fft_size / 4, 2)
    first_bin: int
    mel_bins: NDArray[np.uint16]  # (bands + 1,)
    mel_weights: FloatArray  # (bins, 2)
    energy_steps: FloatArray  # (255,)


def frontend_tables(config: FeatureConfig, scale: float, zero: int) -> FrontendTables:
    """Tables for features stored as int8: feature = scale * (stored - zero).

    Raises ModelError unless the features are mel bands, fft_size / 2 a power of 4, the window even.
    """
    if config.coefficients:
        raise ModelError(
            "the firmware's front end makes mel bands, and this model takes "
            f"{config.coefficients} cepstral coefficients; train with coefficients of 0"
        )
    half = config.fft_size // 2
    digits = (half.bit_length() - 1) // 2
    if 4**digits != half or config.fft_size % 2 or config.window % 2:
        raise ModelError(
            "the firmware's front end takes an fft_size of 128, 512, 2048 or 8192 and an even "
            f"window, and this model has {config.fft_size} and {config.window}; train with those"
        )
    filters = SparseFilters(config)
    bins = filters.last - filters.first
    return FrontendTables(
        # The transform of real samples gives twice the spectrum; halving here makes up for it.
        window=(window(config) / np.float32(65536.0)).astype(np.float32),
        fft_places=_digit_reversal(digits),
        twiddles=_twiddles(config.fft_size),
        first_bin=filters.first,
        mel_bins=np.diff(np.append(filters.starts, bins)).astype(np.uint16),
        mel_weights=np.stack([filters.rising, filters.falling], axis=1),
        energy_steps=_energy_steps(config.floor, scale, zero),
    )


def _digit_reversal(digits: int) -> NDArray[np.uint16]:
    numbers = np.arange(4**digits)
    places = np.zeros_like(numbers)
    for _ in range(digits):
        places = places * 4 + numbers % 4
        numbers = numbers // 4
    return places.astype(np.uint16)


def _twiddles(size: int) -> FloatArray:
    angles = -2.0 * np.pi * np.arange(3 * size // 4) / size
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _energy_steps(floor: float, scale: float, zero: int) -> FloatArray:
    """The least energy whose feature is stored as -127, -126, ... 127."""
    halfway = np.arange(-127, 128) - zero - 0.5
    energies: FloatArray = (floor * np.expm1(halfway * float(scale))).astype(np.float32)
    return energies
