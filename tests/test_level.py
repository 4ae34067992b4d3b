"""What is reported about a microphone's level, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kws.audio import AudioFile
from kws.audio.level import Level, LevelWatch, LoudestChannel
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING

BLOCK = 1280
RNG = np.random.default_rng(3)
SPEECH = np.concatenate(list(AudioFile(RECORDING)))[: 12 * SAMPLE_RATE].astype(np.float64)
SPEECH *= 0.3 * 32768 / np.abs(SPEECH).max()


def noise(seconds: float, peak: float) -> np.ndarray:
    """Noise of that peak, as a share of full scale."""
    return RNG.uniform(-peak, peak, round(seconds * SAMPLE_RATE)) * 32768


def reported(watch: LevelWatch, audio: np.ndarray) -> list[tuple[float, str]]:
    """When, in seconds, and what is reported of float audio in units of int16."""
    pcm = np.clip(np.rint(audio), -32768, 32767).astype(np.int16)
    found = []
    for begin in range(0, len(pcm) - BLOCK + 1, BLOCK):
        for kind, message, ago in watch.add(pcm[begin : begin + BLOCK], BLOCK / SAMPLE_RATE):
            assert "\n" not in message
            found.append((begin / SAMPLE_RATE - ago, kind))
    return found


TROUBLES: dict[str, tuple[Callable[[float], np.ndarray], str]] = {
    "muted": (lambda seconds: np.zeros(round(seconds * SAMPLE_RATE)), "unmuted"),
    "offset": (lambda seconds: noise(seconds, 0.01) + 2000, "offset_ok"),
    "clipping": (lambda seconds: np.resize(SPEECH, round(seconds * SAMPLE_RATE)) * 9, "unclipped"),
    "loud": (lambda seconds: np.clip(noise(seconds, 3.0), -31000, 31000), "level_ok"),
    "quiet": (lambda seconds: noise(seconds, 0.0002), "level_ok"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_once_and_when_it_is_over(trouble: str) -> None:
    """It is reported once, after five seconds, and so is its end."""
    make, over = TROUBLES[trouble]
    watch = LevelWatch()
    found = reported(watch, np.concatenate([make(20.0), SPEECH]))
    assert [kind for _, kind in found] == [trouble, over]
    assert 4.5 <= found[0][0] <= 9.0
    assert 20.0 <= found[1][0] <= 27.0


def test_good_speech_and_a_quiet_room() -> None:
    """Neither is remarkable, in either order."""
    room = noise(15.0, 0.002)
    assert reported(LevelWatch(), np.concatenate([SPEECH, room, SPEECH, room])) == []
    assert reported(LevelWatch(), np.concatenate([room, SPEECH])) == []


def test_speech_that_is_too_low() -> None:
    """Sound that rises and falls but never gets loud enough is reported until it does."""
    low = SPEECH * 10 ** (-40 / 20) + noise(12.0, 0.0001)
    assert ["quiet", "level_ok"] == [
        kind for _, kind in reported(LevelWatch(), np.concatenate([low, SPEECH]))
    ]


def test_short_troubles_are_passed_over() -> None:
    """Four seconds of zeros in speech, and one crash, are no reason to speak up."""
    audio = np.concatenate([SPEECH, np.zeros(4 * SAMPLE_RATE), SPEECH, noise(0.1, 2.0), SPEECH])
    assert reported(LevelWatch(), audio) == []


def test_level() -> None:
    """Peak and RMS of the last block, in dBFS."""
    watch = LevelWatch()
    assert Level(-100.0, -100.0) == watch.level
    square = np.where(np.arange(BLOCK) % 2, 16384, -16384)
    reported(watch, square)
    assert (-6.02, -6.02) == pytest.approx((watch.level.peak, watch.level.rms), abs=0.01)
    reported(watch, np.zeros(BLOCK))
    assert Level(-100.0, -100.0) == watch.level


def test_the_channel_with_the_signal() -> None:
    """Chosen at once; a pause or a few decibels change nothing, a dead channel does."""
    loudest = LoudestChannel()

    def play(seconds: float, *peaks: float) -> int:
        channel = -1
        for _ in range(round(seconds * SAMPLE_RATE / BLOCK)):
            block = RNG.uniform(-1, 1, (BLOCK, len(peaks))) * peaks
            channel = loudest.choose(block.astype(np.int16))
        return channel

    assert play(0.4, 0, 0) == 0
    assert play(0.4, 10, 3000) == 1
    assert play(5.0, 10, 10) == 1
    assert play(5.0, 4000, 2000) == 1
    assert play(9.0, 3000, 0) == 0
