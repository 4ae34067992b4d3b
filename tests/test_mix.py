"""Mixing at a signal-to-noise ratio."""

import numpy as np
import pytest

from kws.recordings import mix


def noise(rms: float, samples: int = 16_000) -> np.ndarray:
    """White noise of that root mean square, int16."""
    return np.round(np.random.default_rng(1).normal(0, rms, samples)).astype(np.int16)


def test_level_ignores_pauses() -> None:
    """A word that fills half of the clip is as loud as one that fills it all."""
    clip = noise(1000.0)
    clip[8000:] = 0
    assert 1000.0 == pytest.approx(mix.level(clip), rel=0.05)


@pytest.mark.parametrize("snr_db", [20.0, 0.0, -5.0])
def test_added_noise_has_the_stated_ratio(snr_db: float) -> None:
    """What is added lies snr_db below the clip's level, however loud the recording was."""
    clip = noise(1000.0)
    added = mix.add_noise(clip, noise(37.0)[::-1], snr_db).astype(float) - clip
    assert snr_db == pytest.approx(
        20 * np.log10(mix.level(clip) / np.sqrt(np.mean(added**2))), abs=0.2
    )


def test_loud_mixtures_clip() -> None:
    """Full scale is not exceeded and does not wrap around."""
    clip = np.full(16_000, 30_000, np.int16)
    mixed = mix.add_noise(clip, noise(1000.0), 0.0)
    assert 32_767 == mixed.max()
    assert -32_768 <= mixed.min()


def test_silent_noise_adds_nothing() -> None:
    """Digital silence cannot be made louder."""
    clip = noise(1000.0)
    assert clip.tolist() == mix.add_noise(clip, np.zeros(16_000, np.int16), 0.0).tolist()


def test_lengths_must_agree() -> None:
    """Noise of another length, and a clip too short for a level, are refused."""
    with pytest.raises(ValueError, match="16000 samples, got 15999"):
        mix.add_noise(noise(1.0), noise(1.0, 15_999), 0.0)
    with pytest.raises(ValueError, match="at least 800"):
        mix.level(noise(1.0, 799))
