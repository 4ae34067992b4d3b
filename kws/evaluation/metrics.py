"""Figures of merit, from targets and posteriors alone: no model, no audio, no clock."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def confusion(targets: ArrayLike, predicted: ArrayLike, labels: int) -> IntArray:
    """How many clips of each class were taken for which: (labels, labels), rows are the truth."""
    counts = np.zeros((labels, labels), np.int64)
    np.add.at(counts, (np.asarray(targets), np.asarray(predicted)), 1)
    return counts


def recall(counts: IntArray) -> FloatArray:
    """Share of each class that was recognised, (labels,); NaN for a class without clips."""
    return _ratio(np.diag(counts), counts.sum(axis=1))


def precision(counts: IntArray) -> FloatArray:
    """Share of right ones among those taken for each class, (labels,); NaN where none was."""
    return _ratio(np.diag(counts), counts.sum(axis=0))


def reliability(
    targets: ArrayLike, posteriors: ArrayLike, bins: int = 15
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Confidence, accuracy and clips in equal bins of the highest posterior, each (bins,).

    A calibrated model's accuracy equals its confidence in every bin. Both are NaN in empty bins.
    """
    posteriors = np.asarray(posteriors, np.float64)
    confidence = posteriors.max(axis=1)
    right = posteriors.argmax(axis=1) == np.asarray(targets)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    clips = np.bincount(place, minlength=bins)
    return (
        _ratio(np.bincount(place, confidence, bins), clips),
        _ratio(np.bincount(place, right, bins), clips),
        clips,
    )


def expected_calibration_error(targets: ArrayLike, posteriors: ArrayLike, bins: int = 15) -> float:
    """Mean distance of confidence from accuracy over the clips (Guo et al., arXiv 1706.04599)."""
    confidence, accuracy, clips = reliability(targets, posteriors, bins)
    return float(np.nansum(np.abs(confidence - accuracy) * clips) / max(1, clips.sum()))


def apply_temperature(posteriors: ArrayLike, temperature: float) -> FloatArray:
    """The posteriors of logits divided by `temperature` > 0; (..., labels)."""
    logits = np.log(np.maximum(np.asarray(posteriors, np.float64), 1e-30)) / temperature
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: FloatArray = exponent / exponent.sum(axis=-1, keepdims=True)
    return scaled


def log_loss(targets: ArrayLike, posteriors: ArrayLike) -> float:
    """Mean negative logarithm of the right class's posterior."""
    posteriors = np.asarray(posteriors, np.float64)
    right = posteriors[np.arange(len(posteriors)), np.asarray(targets)]
    return float(-np.log(np.maximum(right, 1e-30)).mean())


def best_temperature(targets: ArrayLike, posteriors: ArrayLike) -> float:
    """The temperature in [0.1, 10] of least log loss, by golden-section search to 0.1 %.

    Above 1 the model is too sure of itself, below 1 not sure enough.
    """
    low, high = math.log(0.1), math.log(10.0)
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    while high - low > 1e-3:
        left, right = high - golden * (high - low), low + golden * (high - low)
        losses = [
            log_loss(targets, apply_temperature(posteriors, math.exp(t))) for t in (left, right)
        ]
        low, high = (low, right) if losses[0] < losses[1] else (left, high)
    return math.exp((low + high) / 2.0)


def calibration(targets: ArrayLike, posteriors: ArrayLike) -> dict[str, float]:
    """How far posteriors are from how often they are right, and what would mend it."""
    temperature = best_temperature(targets, posteriors)
    mended = apply_temperature(posteriors, temperature)
    return {
        "calibration_error": expected_calibration_error(targets, posteriors),
        "best_temperature": temperature,
        "calibration_error_at_best_temperature": expected_calibration_error(targets, mended),
    }


def ranking_precision(targets: ArrayLike, posteriors: ArrayLike) -> float:
    """Label-weighted label-ranking average precision, in (0, 1].

    With one true label a clip, as here, it is the mean of 1 / rank of the true label; a class that
    ties with it counts as ranked before it.
    """
    posteriors = np.asarray(posteriors, np.float64)
    right = posteriors[np.arange(len(posteriors)), np.asarray(targets)]
    return float((1.0 / (posteriors >= right[:, None]).sum(axis=1)).mean())


def _ratio(part: ArrayLike, whole: ArrayLike) -> FloatArray:
    whole = np.asarray(whole, np.float64)
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
