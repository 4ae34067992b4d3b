"""How fast a word may be said again: the same word several times in a row, ever closer together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.evaluation.scenes import LOUDNESS, Scene, Spoken, loudness, word_extent
from kws.recordings.data import Int16Array

DISTANCES = (0.5, 0.6, 0.7, 0.8, 1.0, 1.5)  # seconds from one onset to the next
TIMES = 4
REACHED = 0.9  # share of the words of a distance that is promised
_PAUSE = 2.0  # seconds between the rows of words, and before the first
# Seconds of a clip that are kept around its loud part: an "off" without its f is none.
_BEFORE, _AFTER = 0.05, 0.15
_AFTER_LONG = 0.05  # ... behind a word that is too long for its distance


def repeated(clips: Iterable[tuple[str, Int16Array]], distance: float) -> Scene:
    """Each clip's word TIMES in a row, cut out, `distance` seconds from onset to onset.

    A word that is longer follows itself after a pause of 0.1 s.
    """
    pause = np.zeros(int(_PAUSE * SAMPLE_RATE))
    parts: list[NDArray[Any]] = [pause]
    length, spoken = len(pause), []
    for word, clip in clips:
        start, end = word_extent(clip)
        first = max(0, start - _samples(_BEFORE))
        room = first + _samples(distance)
        last = min(end + _samples(_AFTER), max(end + _samples(_AFTER_LONG), room))
        cut = clip[first:last] * (LOUDNESS / max(loudness(clip), 1.0))
        apart = max(_samples(distance), len(cut))
        for _ in range(TIMES):
            onset = length + start - first
            spoken.append(Spoken(word, onset / SAMPLE_RATE, (onset + end - start) / SAMPLE_RATE))
            parts += [cut, np.zeros(apart - len(cut))]
            length += apart
        parts.append(pause)
        length += len(pause)
    audio = np.clip(np.round(np.concatenate(parts)), -32_768, 32_767).astype(np.int16)
    return Scene(audio, tuple(spoken))


def shortest(detected: Mapping[float, float]) -> float | None:
    """The shortest distance from which on at least REACHED of the words are detected.

    `detected` is the share of each distance; None where not even the longest reaches it.
    """
    found = None
    for distance in sorted(detected, reverse=True):
        if detected[distance] < REACHED:
            break
        found = distance
    return found


def figures(words: Mapping[float, Sequence[tuple[str, bool]]]) -> dict[str, Any]:
    """Of each distance's words, whether they were detected: shares, in all and of each word."""
    rows: dict[str, Any] = {}
    for distance, outcomes in words.items():
        names = sorted({word for word, _ in outcomes})
        rows[f"{distance:g} s"] = {
            "detected": float(np.mean([hit for _, hit in outcomes])),
            "words": {
                name: float(np.mean([hit for word, hit in outcomes if word == name]))
                for name in names
            },
        }
    shares = {distance: rows[f"{distance:g} s"]["detected"] for distance in words}
    return {"times": TIMES, "distances": rows, "shortest_s": shortest(shares)}


def _samples(seconds: float) -> int:
    return int(seconds * SAMPLE_RATE)
