"""Log-mel features in NumPy: the reference that every other front end is tested against."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import STEP_MS, FeatureConfig

FloatArray = NDArray[np.float32]

DB = 10.0 / math.log(10.0)  # decibels in a natural logarithm of energy of 1

# Frames whose spectra fit into memory that the allocator keeps; larger blocks are allocated from
# the system each time, which doubles what a frame costs.
_AT_ONCE = 60


def hertz_to_mel(hertz: float) -> float:
    """The mel scale of O'Shaughnessy, *Speech Communication* (1987), as HTK uses it."""
    return 2595.0 * float(np.log10(1.0 + hertz / 700.0))


def window(config: FeatureConfig) -> FloatArray:
    """Periodic Hann window, shape (config.window,)."""
    phase = 2.0 * np.pi * np.arange(config.window) / config.window
    hann: FloatArray = np.asarray(0.5 - 0.5 * np.cos(phase), np.float32)
    return hann


def mel_filters(config: FeatureConfig) -> FloatArray:
    """Triangular filters of peak 1, equally spaced in mel; shape (fft_size // 2 + 1, bands)."""
    edges = np.linspace(hertz_to_mel(config.low_hz), hertz_to_mel(config.high_hz), config.bands + 2)
    hertz = np.arange(config.fft_size // 2 + 1) * config.sample_rate / config.fft_size
    mel = np.array([hertz_to_mel(f) for f in hertz])[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    triangles: FloatArray = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    return triangles


def band_centres(config: FeatureConfig) -> FloatArray:
    """Frequency in Hz at the peak of each of `mel_filters`, rising; shape (bands,)."""
    edges = np.linspace(hertz_to_mel(config.low_hz), hertz_to_mel(config.high_hz), config.bands + 2)
    centres: FloatArray = (700.0 * (10.0 ** (edges[1:-1] / 2595.0) - 1.0)).astype(np.float32)
    return centres


class SparseFilters:
    """`mel_filters` as weighted runs of bins.

    Between two neighbouring edges a bin contributes to two bands only, rising in one and falling
    in the other. Summing those runs with `reduceat` costs an eighth of the dense product, and,
    unlike a BLAS product, gives each frame the same bits whatever frames are beside it.
    """

    def __init__(self, config: FeatureConfig) -> None:
        dense = mel_filters(config)
        edges = np.linspace(
            hertz_to_mel(config.low_hz), hertz_to_mel(config.high_hz), config.bands + 2
        )
        hertz = np.arange(len(dense)) * config.sample_rate / config.fft_size
        mel = np.array([hertz_to_mel(f) for f in hertz])
        segment = np.searchsorted(edges, mel, side="right") - 1  # which gap a bin lies in
        used = (segment >= 0) & (segment <= config.bands)
        bins = np.flatnonzero(used)
        if len(set(segment[bins].tolist())) != config.bands + 1:
            raise ValueError(
                f"{config.bands} bands between {config.low_hz} and {config.high_hz} Hz are too "
                f"narrow for {config.fft_size}-point spectra: some band would see no bin; "
                "use fewer bands or a longer FFT"
            )
        self.first, self.last = int(bins[0]), int(bins[-1]) + 1
        own = segment[bins]
        padded = np.pad(dense, ((0, 0), (1, 1)))  # band b of `dense` is column b + 1
        self.rising = padded[bins, own + 1]
        self.falling = padded[bins, own]
        self.starts = np.searchsorted(own, np.arange(config.bands + 1))
        self._weights = np.stack((self.rising, self.falling))

    def __call__(self, spectrum: NDArray[np.complexfloating[Any, Any]]) -> FloatArray:
        """Mel energies of spectra: (frames, bins) -> (frames, bands)."""
        used = spectrum[:, self.first : self.last]
        power = np.square(used.real)
        power += np.square(used.imag)
        weighted = power.astype(np.float32, copy=False)[:, None] * self._weights
        sums = np.add.reduceat(weighted, self.starts, axis=2)  # (frames, rising or falling, gaps)
        energies: FloatArray = sums[:, 0, :-1] + sums[:, 1, 1:]
        return energies


@lru_cache(maxsize=8)
def cosines(config: FeatureConfig) -> FloatArray:
    """The orthonormal discrete cosine transform (type 2) of a frame, (bands, coefficients)."""
    phase = np.pi / config.bands * (np.arange(config.bands)[:, None] + 0.5)
    basis = np.cos(phase * np.arange(config.coefficients)) * np.sqrt(2.0 / config.bands)
    basis[:, :1] *= np.sqrt(0.5)
    rounded: FloatArray = basis.astype(np.float32)
    return rounded


@lru_cache(maxsize=8)
def _tables(config: FeatureConfig) -> tuple[FloatArray, SparseFilters]:
    return window(config) / np.float32(32768.0), SparseFilters(config)


def frame_count(samples: int, config: FeatureConfig) -> int:
    """How many whole frames fit into that many samples."""
    return max(0, 1 + (samples - config.window) // config.hop)


def log_mel(audio: NDArray[np.int16], config: FeatureConfig | None = None) -> FloatArray:
    """Log-mel frames of int16 audio: (samples,) -> (frames, bands), float32, in [0, about 23].

    Each value is ln(1 + energy / floor), where energy is the squared magnitude spectrum of the
    Hann-windowed frame (samples scaled to [-1, 1)) under a triangular mel filter. A configuration
    with cepstral coefficients gives those, (frames, coefficients), of any sign. Only
    frames that lie wholly inside the audio are made: 1 + (samples - window) // hop of them. Raises
    ValueError unless the audio is one-dimensional int16.
    """
    config = config or FeatureConfig()
    if audio.dtype != np.int16 or audio.ndim != 1:
        raise ValueError(
            f"log_mel takes one-dimensional int16 audio, got {audio.dtype} of shape {audio.shape}"
        )
    frames = frame_count(len(audio), config)
    if frames == 0:
        return np.empty((0, config.width), np.float32)
    step = audio.strides[0]
    framed = np.lib.stride_tricks.as_strided(
        audio, (frames, config.window), (step * config.hop, step), writeable=False
    )
    return log_mel_of_frames(framed, config)


def log_mel_of_frames(framed: NDArray[np.int16], config: FeatureConfig) -> FloatArray:
    """`log_mel` of frames that have been cut already: (frames, window) int16 -> (frames, width).

    A frame gets the same bits whatever frames are beside it.
    """
    if len(framed) <= _AT_ONCE:
        return _log_mel_of_few(framed, config)
    features = np.empty((len(framed), config.width), np.float32)
    for first in range(0, len(framed), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        features[some] = _log_mel_of_few(framed[some], config)
    return features


def _log_mel_of_few(framed: NDArray[np.int16], config: FeatureConfig) -> FloatArray:
    scaled_window, filters = _tables(config)
    # Padded here, because rfft pads frame by frame, which takes half as long as the transform.
    padded = np.zeros((len(framed), config.fft_size), np.float32)
    np.multiply(framed, scaled_window, out=padded[:, : config.window])
    features = filters(np.fft.rfft(padded))
    features *= np.float32(1.0 / config.floor)
    np.log1p(features, out=features)
    if config.coefficients:
        # Not a BLAS product, whose bits would depend on how many frames there are.
        features = (features[:, :, None] * cosines(config)).sum(axis=1)
    return features


def step_levels(features: FloatArray, config: FeatureConfig) -> FloatArray:
    """How loud each step of 20 ms is, in dB above the floor: its loudest mel band.

    Log-mel frames (..., frames, bands) of whole steps, as `log_mel` makes them -> (..., steps),
    float32; all 0.0, which says nothing, where the configuration has cepstral coefficients.
    """
    steps = features.shape[-2] * config.hop * 1000 // (config.sample_rate * STEP_MS)
    shape = (*features.shape[:-2], steps)
    if config.coefficients:
        return np.zeros(shape, np.float32)
    loudest = np.maximum.reduce(features.reshape(*shape, -1), axis=-1)
    levels: FloatArray = loudest * np.float32(DB)
    return levels
