"""The log-mel reference: golden values, limits, and a stream that equals the whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kws.config import FeatureConfig
from kws.frontend import band_centres, cosines, frame_count, log_mel, mel_filters, step_levels

CONFIG = FeatureConfig()

# Bands 0, 4, ..., 36 of the first frame of a 1 kHz sine of amplitude 0.5, by `by_definition`.
GOLDEN_TONE = [0.1174, 0.6951, 2.382, 18.643, 4.9433, 0.2595, 0.0042, 0.0006, 0.0001, 0.0]


def by_definition(frame: NDArray[np.int16], config: FeatureConfig) -> list[float]:
    """One frame's features in 64 bits, term by term: DFT, triangles, logarithm."""
    n = np.arange(config.window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / config.window)
    samples = frame / 32768 * hann

    def mel(hertz: float) -> float:
        return 2595 * np.log10(1 + hertz / 700)

    low, high = mel(config.low_hz), mel(config.high_hz)
    step = (high - low) / (config.bands + 1)
    energies = np.zeros(config.bands)
    for k in range(config.fft_size // 2 + 1):
        power = abs(np.sum(samples * np.exp(-2j * np.pi * k * n / config.fft_size))) ** 2
        position = (mel(k * config.sample_rate / config.fft_size) - low) / step
        for band in range(config.bands):
            energies[band] += power * max(0.0, 1 - abs(position - (band + 1)))
    return [float(np.log(1 + energy / config.floor)) for energy in energies]


def sine(hertz: float = 1000.0, samples: int = 480) -> NDArray[np.int16]:
    """A sine of amplitude 0.5."""
    return np.round(16384 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16_000)).astype(
        np.int16
    )


def test_golden_tone() -> None:
    """A sine has the features that the definition gave when the format was fixed."""
    features = log_mel(sine(), CONFIG)[0, ::4]
    difference = np.abs(features - GOLDEN_TONE).max()
    assert difference < 1e-3


def test_definition(noise: NDArray[np.int16]) -> None:
    """Every value is what the formula gives in 64 bits, in quiet and in loud frames."""
    features = log_mel(noise, CONFIG)
    differences = [
        np.abs(features[i] - by_definition(noise[i * 160 : i * 160 + 480], CONFIG)).max()
        for i in (0, 99, 397)
    ]
    assert max(differences) < 1e-4


def test_shape() -> None:
    """One second is 98 frames of 40 bands, float32; less than a window is none."""
    features = log_mel(np.zeros(16_000, np.int16), CONFIG)
    assert (98, 40) == features.shape
    assert np.float32 == features.dtype
    assert (0, 40) == log_mel(np.zeros(479, np.int16), CONFIG).shape
    assert [0, 1, 1, 2] == [frame_count(n, CONFIG) for n in (0, 480, 639, 640)]


def test_silence_is_zero() -> None:
    """Digital silence is exactly 0.0 in every band, so that a stream may begin with zeros."""
    assert not log_mel(np.zeros(16_000, np.int16), CONFIG).any()


@pytest.mark.parametrize("value", [-32768, 32767])
def test_extremes_are_finite(value: int) -> None:
    """A stuck converter and a full-scale square wave give finite, bounded features."""
    stuck = np.full(16_000, value, np.int16)
    square = np.where(np.arange(16_000) % 40 < 20, value, -value - 1).astype(np.int16)
    for audio in (stuck, square):
        features = log_mel(audio, CONFIG)
        assert np.isfinite(features).all()
        assert 0.0 <= features.min() <= features.max() < 24.0


@pytest.mark.parametrize(
    "audio", [np.zeros(480, np.float32), np.zeros((480, 2), np.int16), np.zeros(480, np.uint16)]
)
def test_other_audio_is_refused(audio: NDArray[np.int16]) -> None:
    """Anything but one-dimensional int16 is a mistake of the caller, and told as one."""
    with pytest.raises(ValueError, match="one-dimensional int16"):
        log_mel(audio, CONFIG)


def test_strided_audio(noise: NDArray[np.int16]) -> None:
    """One channel of interleaved stereo gives the features of its copy."""
    stereo = np.stack((noise, -noise), axis=1)
    assert np.array_equal(log_mel(noise, CONFIG), log_mel(stereo[:, 0], CONFIG))


def test_every_filter_has_weights() -> None:
    """No band is empty, and none reaches beyond the limits."""
    filters = mel_filters(CONFIG)
    hertz = np.arange(len(filters)) * CONFIG.sample_rate / CONFIG.fft_size
    assert (filters.max(axis=0) > 0).all()
    assert not filters[(hertz < CONFIG.low_hz) | (hertz > CONFIG.high_hz)].any()


def test_filters_peak_where_their_centres_lie() -> None:
    """A filter rises to its centre and falls behind it; at the centre it is 1, and others are 0."""
    filters, centres = mel_filters(CONFIG), band_centres(CONFIG)
    assert (257, 40) == filters.shape
    assert (40,) == centres.shape
    # Centres are equally far apart in mel, and so are the band limits beside the outer ones.
    limits = [CONFIG.low_hz, *centres.tolist(), CONFIG.high_hz]
    mel = [2595.0 * math.log10(1.0 + hertz / 700.0) for hertz in limits]
    assert np.diff(mel) == pytest.approx((mel[-1] - mel[0]) / 41, rel=1e-4)
    bins = np.arange(257) * 16_000 / 512  # Hz
    for band, centre in enumerate(centres):
        inside = np.flatnonzero(filters[:, band])
        assert limits[band] < bins[inside[0]] <= bins[inside[-1]] < limits[band + 2]
        nearest = int(filters[:, band].argmax())
        assert abs(bins[nearest] - centre) <= 16_000 / 512
        assert 0.0 < filters[nearest, band] <= 1.0


def test_too_many_bands() -> None:
    """Bands narrower than a bin are refused, not silently empty."""
    with pytest.raises(ValueError, match="too narrow"):
        log_mel(np.zeros(480, np.int16), FeatureConfig(bands=120))


def test_cepstral_coefficients(noise: NDArray[np.int16]) -> None:
    """The transform is orthonormal: all coefficients give the bands back, fewer are the first."""
    bands = log_mel(noise)
    whole = replace(FeatureConfig(), coefficients=40)
    restored = log_mel(noise, whole) @ cosines(whole).T
    assert np.abs(bands - restored).max() < 1e-4
    few = replace(FeatureConfig(), coefficients=10)
    assert np.array_equal(log_mel(noise, whole)[:, :10], log_mel(noise, few))
    assert 10 == few.width
    assert not log_mel(np.zeros(16_000, np.int16), few).any()


def test_levels(noise: NDArray[np.int16]) -> None:
    """Ten times the amplitude are 20 dB more, step by step; of cepstra nothing is known."""
    loud, faint = (
        step_levels(log_mel(audio, CONFIG)[:20], CONFIG) for audio in (noise, noise // 10)
    )
    assert (10,) == loud.shape
    assert np.abs(loud - faint - 20.0).max() < 1.0
    streams = np.stack((log_mel(noise, CONFIG)[:8], np.zeros((8, 40), np.float32)))
    assert np.array_equal(step_levels(streams, CONFIG), np.stack((loud[:4], np.zeros(4))))
    few = replace(FeatureConfig(), coefficients=10)
    assert not step_levels(log_mel(noise, few)[:20], few).any()
    assert (1200,) == step_levels(np.zeros((2400, 40), np.float32), CONFIG).shape  # of any length


@pytest.mark.parametrize("coefficients", [-1, 41])
def test_impossible_coefficients(coefficients: int) -> None:
    """There are no more coefficients than bands."""
    with pytest.raises(ValueError, match="0 <= coefficients <= bands"):
        FeatureConfig(coefficients=coefficients)
