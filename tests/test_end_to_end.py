"""The shipped model on real clips of speakers it was not trained on.

The bounds are what a release must not fall below; benchmarks/ measures where it really stands.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kws import Detector
from kws.config import KEYWORDS, SAMPLE_RATE
from kws.recordings.data import find_corpus, read_clips, read_recordings, split_noise

pytest.importorskip("onnxruntime")

Int16Array = NDArray[np.int16]


@dataclass(frozen=True)
class Spoken:
    """A clip of one word between two pauses of real noise."""

    word: str
    audio: Int16Array


@pytest.fixture(scope="module")
def background(recordings: Path) -> Int16Array:
    """Half a minute of quiet real noise that training keeps out."""
    audio, _, problems = read_recordings(find_corpus(recordings).noise)
    assert not problems
    held_out = np.concatenate([split_noise(recording)[1] for recording in audio])
    return (held_out[: 30 * SAMPLE_RATE] * 0.05).astype(np.int16)


@pytest.fixture(scope="module")
def spoken(recordings: Path, background: Int16Array) -> list[Spoken]:
    """Up to fifteen clips of every word."""
    clips = find_corpus(recordings).split("validation")
    seen: Counter[str] = Counter()
    chosen = []
    for clip in sorted(clips, key=lambda clip: clip.path.name):
        seen[clip.word] += 1
        if seen[clip.word] <= 15:
            chosen.append(clip)
    audio, used, _ = read_clips(chosen)
    pause = background[: SAMPLE_RATE // 2]
    return [
        Spoken(clip.word, np.concatenate((pause, samples, pause)))
        for clip, samples in zip(used, audio, strict=True)
    ]


@pytest.fixture(scope="module")
def fired(spoken: list[Spoken]) -> list[list[str]]:
    """The keywords that fired in each clip, in order."""
    detector = Detector()
    return [[found.keyword for found in detector.listen([each.audio])] for each in spoken]


def test_keywords_are_spotted_once(spoken: list[Spoken], fired: list[list[str]]) -> None:
    """At least 80 % of the keywords fire, and none of them fires twice."""
    pairs = [(each.word, words) for each, words in zip(spoken, fired, strict=True)]
    keywords = [(word, words) for word, words in pairs if word in KEYWORDS]
    assert len(keywords) >= 100
    assert sum(word in words for word, words in keywords) >= 0.80 * len(keywords)
    assert [] == [(word, words) for word, words in keywords if words.count(word) > 1]


def test_other_words_stay_silent(spoken: list[Spoken], fired: list[list[str]]) -> None:
    """At most 8 % of the clips of other words fire anything."""
    others = [w for each, w in zip(spoken, fired, strict=True) if each.word not in KEYWORDS]
    assert len(others) >= 60
    assert sum(bool(words) for words in others) <= 0.08 * len(others)


def test_the_gate_loses_nothing(spoken: list[Spoken], fired: list[list[str]]) -> None:
    """With and without the gate the same words fire in nearly every clip."""
    ungated = Detector(vad=False)
    different = 0
    for each, words in zip(spoken, fired, strict=True):
        different += words != [found.keyword for found in ungated.listen([each.audio])]
    assert different <= 0.02 * len(spoken)


def test_blocks_do_not_matter(spoken: list[Spoken]) -> None:
    """The real network too gives identical detections for any block size, int16 or float32."""
    audio = np.concatenate([each.audio for each in spoken[:20]])
    detector = Detector()
    expected = list(detector.listen([audio]))
    assert len(expected) > 3
    for size in (1_024, 333, 50_000):
        blocks = np.split(audio, range(size, len(audio), size))
        assert expected == list(detector.listen(blocks))
        assert expected == list(detector.listen(b / np.float32(32768) for b in blocks))


def test_noise_is_no_word(background: Int16Array) -> None:
    """Noise, quiet and loud, music-like tones and silence fire nothing in two minutes."""
    time = np.arange(30 * SAMPLE_RATE) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220.0, 277.2, 329.6))
    swell = 1 + np.sin(2 * np.pi * 2 * time)
    music = np.round(2_000 * chord * swell).astype(np.int16)
    detector = Detector()
    for audio in (background, background * 10, music, np.zeros(len(time), np.int16)):
        assert [] == list(detector.listen([audio]))
