"""The front end of streams: the frames of any hop, at any time, are those of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kws.config import FeatureConfig
from kws.frontend import log_mel
from kws.recordings.data import find_corpus, read_recording
from kws.streaming_frontend import StreamingFrontend

CONFIG = FeatureConfig()
MFCC = FeatureConfig(window=640, hop=320, fft_size=1024, coefficients=10)
LONG = FeatureConfig(window=4_000, hop=320, fft_size=4096)  # frames longer than a hop of few


def whole(audio: NDArray[np.int16], config: FeatureConfig, frames: int) -> NDArray[np.float32]:
    """Frames (hops, frames, width) of whole audio; those that begin before it are 0.0."""
    features = log_mel(audio, config)
    early = -(-(config.window - config.hop) // config.hop)
    features = np.concatenate((np.zeros((early, features.shape[1]), np.float32), features))
    count = len(audio) // (frames * config.hop)
    return features[: count * frames].reshape(count, frames, -1)


def hops(audio: NDArray[np.int16], config: FeatureConfig, frames: int) -> NDArray[np.int16]:
    """The audio in whole hops (hops, samples)."""
    size = frames * config.hop
    return audio[: len(audio) // size * size].reshape(-1, size)


@settings(max_examples=40, deadline=None)
@given(
    config=st.sampled_from((CONFIG, MFCC, LONG)),
    frames=st.integers(1, 9),
    kept=st.integers(1, 5),
    data=st.data(),
)
def test_any_hop_that_is_kept(
    config: FeatureConfig, frames: int, kept: int, data: st.DataObject, noise: NDArray[np.int16]
) -> None:
    """Two streams that come at their own pace have the frames of the whole, bit for bit."""
    streams = [noise[:32_000], noise[32_000:]]
    expected = [whole(audio, config, frames) for audio in streams]
    frontend = StreamingFrontend(config, 2, frames, kept)
    audio = [hops(each, config, frames) for each in streams]
    places = [0, 0]
    for _ in range(data.draw(st.integers(1, 25))):
        chosen = data.draw(st.sampled_from(([0], [1], [0, 1])))
        if any(places[stream] == len(audio[stream]) for stream in chosen):
            break
        frontend.append(chosen, np.stack([audio[stream][places[stream]] for stream in chosen]))
        for stream in chosen:
            places[stream] += 1
        back = data.draw(st.integers(1, kept))
        wanted = [max(0, places[stream] - back) for stream in chosen]
        found = frontend.features(chosen, wanted)
        for row, stream, number in zip(found, chosen, wanted, strict=True):
            assert np.array_equal(expected[stream][number], row)


def test_real_clips(recordings: Path) -> None:
    """Real clips, hop by hop, have the frames of the whole file."""
    frontend = StreamingFrontend(CONFIG, 1, 8, 1)
    for clip in find_corpus(recordings).clips[::2000]:
        audio = read_recording(clip.path)
        frontend.reset(0)
        for number, hop in enumerate(hops(audio, CONFIG, 8)):
            frontend.append([0], hop[None])
            expected = whole(audio, CONFIG, 8)[number]
            assert np.array_equal(expected, frontend.features([0], [number])[0]), clip.path


def test_hops_are_copied(noise: NDArray[np.int16]) -> None:
    """A caller may reuse the array that it passed."""
    frontend = StreamingFrontend(CONFIG, 1, 2, 1)
    buffer = noise[None, :320].copy()
    for _ in range(3):
        frontend.append([0], buffer)
    buffer[:] = 0
    repeated = np.tile(noise[:320], 3)
    assert np.array_equal(whole(repeated, CONFIG, 2)[2], frontend.features([0], [2])[0])


def test_silence_that_is_not_copied(noise: NDArray[np.int16]) -> None:
    """Hops of silence that begin a stream count as though they had been copied."""
    frontend = StreamingFrontend(CONFIG, 2, 8, 2)
    for _ in range(3):
        frontend.append_silence(1)
    frontend.append([1], noise[None, :1280])
    audio = np.concatenate((np.zeros(3 * 1280, np.int16), noise[:1280]))
    for number in (2, 3):
        assert np.array_equal(whole(audio, CONFIG, 8)[number], frontend.features([1], [number])[0])


def test_memory_is_bounded(noise: NDArray[np.int16]) -> None:
    """Hops whose audio has been dropped, or has not come, are refused."""
    frontend = StreamingFrontend(CONFIG, 1, 8, 3)
    for number in (-1, 0):
        with pytest.raises(ValueError, match=f"hop {number} is not among the latest 3 of 0"):
            frontend.features([0], [number])
    for hop in hops(noise, CONFIG, 8)[:9]:
        frontend.append([0], hop[None])
    for number in (5, 9, -1):
        with pytest.raises(ValueError, match=f"hop {number} is not among the latest 3 of 9"):
            frontend.features([0], [number])
    assert np.array_equal(whole(noise, CONFIG, 8)[6], frontend.features([0], [6])[0])


def test_reset_of_one(noise: NDArray[np.int16]) -> None:
    """After a reset nothing of the old stream is left, and the other goes on."""
    frontend = StreamingFrontend(CONFIG, 2, 8, 2)
    audio = hops(noise, CONFIG, 8)
    frontend.append([0, 1], audio[:2])
    frontend.reset(0)
    frontend.append([0, 1], audio[[0, 2]])
    first, second = frontend.features([0, 1], [0, 1])
    assert np.array_equal(whole(noise, CONFIG, 8)[0], first)
    assert np.array_equal(whole(noise, CONFIG, 8)[2], second)
