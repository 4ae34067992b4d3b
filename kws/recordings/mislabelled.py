"""Clips whose word is probably another: classifiers that were not trained on its speaker disagree.

Each fold of speakers is judged by a classifier made from the other folds: ridge regression on
random Fourier features (Rahimi and Recht, 2007) of a coarse spectrogram. It needs NumPy only, is
right for about four clips of five, and finds about half of planted errors with few false alarms;
what it lists is for ears, not for deletion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kws.frontend import FloatArray, log_mel
from kws.recordings.data import Int16Array

FEWEST = 10  # clips that a word needs to be judged, and to be suggested
MARGIN = 0.5  # how far another word's score, about 1 where sure, must lie above the own word's
FOLDS = 5
_FRAMES, _EVERY_FRAME, _EVERY_BAND = 64, 4, 2
_COSINES = 2000
_RIDGE = 0.3


def sketch(clip: Int16Array) -> FloatArray:
    """A coarse spectrogram of the loudest 0.64 s of a one-second clip, shape (320,), mean zero."""
    features = log_mel(clip)
    energy = np.convolve(features.sum(axis=1), np.ones(_FRAMES), "valid")
    start = int(energy.argmax())
    part = features[start : start + _FRAMES]
    shape = (_FRAMES // _EVERY_FRAME, _EVERY_FRAME, part.shape[1] // _EVERY_BAND, _EVERY_BAND)
    coarse = part.reshape(shape).mean(axis=(1, 3)).ravel()
    centred: FloatArray = coarse - coarse.mean()
    return centred


def find_mislabelled(
    sketches: FloatArray, words: Sequence[str], speakers: Sequence[str], least: float = MARGIN
) -> list[tuple[int, str, float]]:
    """Index, the word that it sounds like, and the margin, surest first.

    Sketches (clips, 320). Margins above `least` are listed, at 0 whatever another word scores
    higher for. Words of fewer than FEWEST clips are neither judged nor suggested; with less than
    two words or speakers there is nothing to compare and nothing is found.
    """
    counts = {word: words.count(word) for word in set(words)}
    known = sorted(word for word, count in counts.items() if count >= FEWEST)
    judged = np.array([i for i, word in enumerate(words) if word in known], np.int64)
    people = sorted({speakers[index] for index in judged})
    if len(known) < 2 or len(people) < 2:
        return []
    targets = np.array([known.index(words[index]) for index in judged])
    order = np.random.default_rng(0).permutation(len(people))
    fold_of = {person: int(place) % FOLDS for person, place in zip(people, order, strict=True)}
    folds = np.array([fold_of[speakers[index]] for index in judged])
    scores = _scores_of_held_out(_expand(sketches[judged]), targets, folds, len(known))
    margins = scores.max(axis=1) - scores[np.arange(len(judged)), targets]
    return [
        (int(judged[row]), known[int(scores[row].argmax())], float(margins[row]))
        for row in np.argsort(-margins, kind="stable")
        if margins[row] > least
    ]


def _expand(sketches: FloatArray) -> FloatArray:
    """Random Fourier features of a Gaussian kernel as wide as the sketches are far apart."""
    generator = np.random.default_rng(1)
    width = sketches.shape[1]
    spread = np.maximum(sketches.std(axis=0), 1e-6)
    scaled = (sketches - sketches.mean(axis=0)) / (spread * np.sqrt(width))
    directions = generator.normal(size=(width, _COSINES)).astype(np.float32)
    phases = generator.uniform(0.0, 2.0 * np.pi, _COSINES).astype(np.float32)
    cosines = np.cos(scaled @ directions + phases) * np.float32(np.sqrt(2.0 / _COSINES))
    return np.concatenate((cosines, 0.3 * scaled), axis=1).astype(np.float32)


def _scores_of_held_out(
    inputs: FloatArray, targets: NDArray[np.int64], folds: NDArray[np.int64], words: int
) -> FloatArray:
    """Each row's score by word, (rows, words), from the rows of the other folds."""
    wanted = np.eye(words, dtype=np.float32)[targets]
    scores = np.zeros_like(wanted)
    if len(inputs) <= inputs.shape[1]:  # the same numbers from the smaller of two matrices
        products = inputs @ inputs.T
        for fold in range(FOLDS):
            own, others = folds == fold, folds != fold
            square = products[np.ix_(others, others)] + _RIDGE * np.eye(others.sum())
            scores[own] = products[np.ix_(own, others)] @ np.linalg.solve(square, wanted[others])
        return scores
    squares = [inputs[folds == fold].T @ inputs[folds == fold] for fold in range(FOLDS)]
    sums = [inputs[folds == fold].T @ wanted[folds == fold] for fold in range(FOLDS)]
    ridge = _RIDGE * np.eye(inputs.shape[1])
    for fold in range(FOLDS):
        square = sum(squares) - squares[fold] + ridge
        weights = np.linalg.solve(square, sum(sums) - sums[fold])
        scores[folds == fold] = inputs[folds == fold] @ weights
    return scores
