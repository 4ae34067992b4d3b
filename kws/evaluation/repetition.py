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


def repeated(clips: Iterable[tuple[str, Int16Array]], distance: float, times: int = TIMES) -> Scene:
    """Each clip's word so many times in a row, cut out, `distance` seconds from onset to onset.

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
        for _ in range(times):
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


def figures(
    words: Mapping[float, Sequence[tuple[str, bool]]], once: Sequence[tuple[str, bool]]
) -> dict[str, Any]:
    """Of each distance's words, whether they were detected: shares, in all and of each word.

    `words` are TIMES for each clip, one clip after the other; `once` are the same clips' words said
    once. A clip that is missed then is missed at any distance: `again` are the shares of the other
    clips' words, and the shortest distances are theirs.
    """
    names = sorted({word for word, _ in once})
    alone = [hit for _, hit in once for _ in range(TIMES)]

    def shares(outcomes: Sequence[tuple[str, bool]], name: str | None) -> dict[str, float | None]:
        """Of one word, or of all."""
        some = [
            (hit, known)
            for (word, hit), known in zip(outcomes, alone, strict=True)
            if name in (None, word)
        ]
        return {
            "detected": _share([hit for hit, _ in some]),
            "again": _share([hit for hit, known in some if known]),
        }

    def shortest_of(name: str | None) -> float | None:
        again = {distance: shares(words[distance], name)["again"] for distance in words}
        return shortest({distance: each for distance, each in again.items() if each is not None})

    return {
        "times": TIMES,
        "once": {
            "detected": _share([hit for _, hit in once]),
            "words": {name: _share([hit for word, hit in once if word == name]) for name in names},
        },
        "distances": {
            f"{distance:g} s": {
                **shares(outcomes, None),
                "words": {name: shares(outcomes, name) for name in names},
            }
            for distance, outcomes in words.items()
        },
        "shortest_s": shortest_of(None),
        "shortest_of_each_s": {name: shortest_of(name) for name in names},
    }


def _share(hits: Sequence[bool]) -> float | None:
    return float(np.mean(hits)) if hits else None


def _samples(seconds: float) -> int:
    return int(seconds * SAMPLE_RATE)
