"""The range of every tensor on training-side clips, which decides the int8 scales."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.network import FloatArithmetic, FloatArray, FoldedNetwork, walk
from kws.config import SILENCE, UNKNOWN
from kws.errors import DataError
from kws.recordings.data import (
    Int16Array,
    balanced,
    corpus_root,
    cut_silence,
    find_corpus,
    read_clips,
    read_recordings,
    split_noise,
)

CLIPS = 1_000


def calibration_clips(folder: Path, labels: Sequence[str], count: int = CLIPS) -> Int16Array:
    """About `count` clips (clips, 16000) of every class from what a training run may use.

    Raises DataError where there is none.
    """
    corpus = find_corpus(corpus_root(folder))
    keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    candidates = balanced(corpus.split("training"), keywords, seed=0)
    if not candidates:
        raise DataError(
            f"{corpus.root} has no clips in its training split that could calibrate int8"
        )
    audio, _, _ = read_clips(candidates[:: max(1, len(candidates) // count)])
    noise, _, _ = read_recordings(corpus.noise)
    if not noise:
        return audio
    training = [split_noise(recording)[0] for recording in noise]
    silence = cut_silence(training, len(audio) // len(labels), np.random.default_rng(0))
    return np.concatenate((audio, silence))


def calibrate(network: FoldedNetwork, features: FloatArray) -> dict[str, list[float]]:
    """[least, largest] value of each tensor over windows (clips, frames, bands).

    Rounded to four digits, so that sums in another order, on another machine, change no integer.
    """
    ranges: dict[str, tuple[float, float]] = {}

    def observe(name: str, value: FloatArray) -> None:
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))

    observe("features", features)
    for start in range(0, len(features), 64):
        walk(network, features[start : start + 64], FloatArithmetic(observe))
    return {name: [float(f"{limit:.4g}") for limit in limits] for name, limits in ranges.items()}
