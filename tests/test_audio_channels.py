"""Several channels become one without losing what one of them carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from kws.audio import AudioFile, Converter
from kws.config import SAMPLE_RATE

VOICE = (np.random.default_rng(5).normal(0, 0.05, SAMPLE_RATE)).astype(np.float32)


def converted(block: NDArray[np.float32], size: int = 320, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Through a converter in blocks of `size`."""
    converter = Converter(rate)
    parts = [converter.convert(block[i : i + size]) for i in range(0, len(block), size)]
    return np.concatenate([*parts, converter.convert(block[:0], last=True)])


@pytest.mark.parametrize("gain", [-1.0, -0.9, -1.1])
def test_channels_that_cancel(gain: float) -> None:
    """One channel inverted, and a little louder or softer: the voice comes at full level."""
    output = converted(np.stack([VOICE, gain * VOICE], axis=1)) / 32768
    assert len(VOICE) == len(output)
    expected = VOICE[320:] * (gain if gain < -1 else 1.0)
    np.testing.assert_allclose(output[320:], expected, atol=2e-5)


@pytest.mark.parametrize(("channels", "level"), [(2, 1 / 2), (3, 1 / 3), (4, 1.0), (8, 1.0)])
def test_one_channel_carries_it(channels: int, level: float) -> None:
    """Of two the mean loses 6 dB and stays; of eight it would lose 18, and the one is taken."""
    block = np.zeros((len(VOICE), channels), np.float32)
    block[:, channels - 1] = VOICE
    np.testing.assert_allclose(converted(block)[320:] / 32768, level * VOICE[320:], atol=2e-5)


def test_ordinary_stereo_is_averaged() -> None:
    """Both channels, with noise of their own."""
    noise = np.random.default_rng(6).normal(0, 0.02, (len(VOICE), 2)).astype(np.float32)
    block = VOICE[:, None] + noise
    np.testing.assert_allclose(converted(block) / 32768, block.mean(axis=1), atol=2e-5)


@pytest.mark.parametrize("rate", [8_000, SAMPLE_RATE, 22_050, 44_100])
def test_blocks_do_not_matter(rate: int) -> None:
    """Where the channels begin and cease to cancel depends on the audio alone."""
    block = np.stack([VOICE, VOICE], axis=1)
    block[4_000:9_000, 1] *= -1
    whole = converted(block, 20_000, rate)
    for size in (1, 320, 441, 5_000):
        assert np.array_equal(whole, converted(block, size, rate))


def test_back_to_the_mean() -> None:
    """After a second of channels that agree again."""
    block = np.stack([np.tile(VOICE, 6), np.tile(VOICE, 6)], axis=1)
    block[:SAMPLE_RATE, 1] *= -1
    block[5 * SAMPLE_RATE :, 1] *= 0.5
    output = converted(block)[5 * SAMPLE_RATE :] / 32768
    np.testing.assert_allclose(output, 0.75 * VOICE, atol=2e-5)


def test_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Which channel of which file was taken."""
    soundfile.write(tmp_path / "a.wav", np.stack([0.5 * VOICE, -VOICE], axis=1), SAMPLE_RATE)
    with AudioFile(tmp_path / "a.wav") as file:
        output = np.concatenate(list(file)) / 32768
    np.testing.assert_allclose(output[320:], -VOICE[320:], atol=1e-4)
    assert "cancel each other out; channel 2 was taken alone" in caplog.text


@pytest.mark.parametrize("value", [1e35, 3e38, -3e38, np.inf, np.nan])
@pytest.mark.parametrize("channels", [1, 2, 256])
def test_beyond_any_range(value: float, channels: int) -> None:
    """Clipped, or silent where it is no number; NumPy, whose warnings are errors here, is quiet."""
    block = np.full((640, channels), value, np.float32)
    output = converted(block)
    expected = np.clip(np.nan_to_num(value, posinf=0.0, neginf=0.0), -1, 32767 / 32768) * 32768
    assert {int(expected)} == set(output.tolist())
