"""Figures of merit, each against a case worked out by hand."""

import math

import numpy as np
import pytest

from kws.evaluation import metrics


def test_confusion_counts_truth_in_rows() -> None:
    """Row is the truth, column what it was taken for."""
    counts = metrics.confusion([0, 0, 1, 2], [0, 1, 1, 1], labels=3)
    assert [[1, 1, 0], [0, 1, 0], [0, 1, 0]] == counts.tolist()


def test_recall_and_precision() -> None:
    """Recall divides by rows and precision by columns; a class without any is NaN."""
    counts = metrics.confusion([0, 0, 1], [0, 1, 1], labels=3)
    assert [0.5, 1.0] == metrics.recall(counts)[:2].tolist()
    assert [1.0, 0.5] == metrics.precision(counts)[:2].tolist()
    assert math.isnan(metrics.recall(counts)[2])
    assert math.isnan(metrics.precision(counts)[2])


def test_calibration_error_of_a_worked_example() -> None:
    """Two clips at 0.8 of which one is right: confidence misses accuracy by 0.3."""
    posteriors = [[0.8, 0.2], [0.8, 0.2]]
    assert 0.3 == pytest.approx(metrics.expected_calibration_error([0, 1], posteriors))


def test_calibration_error_of_certainty_that_is_right_is_zero() -> None:
    """A posterior of exactly 1 falls into the last bin."""
    assert 0.0 == metrics.expected_calibration_error([0, 1], [[1.0, 0.0], [0.0, 1.0]])


def test_temperature_one_changes_nothing() -> None:
    """Posteriors come back as they were, zeros included."""
    posteriors = np.array([[0.7, 0.3, 0.0], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(posteriors, metrics.apply_temperature(posteriors, 1.0), atol=1e-12)


def test_best_temperature_undoes_a_temperature() -> None:
    """Targets drawn from the posteriors, which are then sharpened, give the sharpening back."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 4))
    calibrated = metrics.apply_temperature(np.exp(logits), 1.0)
    targets = (calibrated.cumsum(axis=1) > generator.random((len(logits), 1))).argmax(axis=1)
    sharpened = metrics.apply_temperature(calibrated, 0.5)
    assert 2.0 == pytest.approx(metrics.best_temperature(targets, sharpened), rel=0.05)
    assert metrics.expected_calibration_error(targets, calibrated) < 0.02
    assert metrics.expected_calibration_error(targets, sharpened) > 0.04


def test_calibration_says_what_is_wrong_and_what_mends_it() -> None:
    """An overconfident model has a temperature above 1, at which its error is smaller."""
    posteriors = np.tile([[0.95, 0.05]], (100, 1))
    found = metrics.calibration([0] * 80 + [1] * 20, posteriors)
    assert 0.15 == pytest.approx(found["calibration_error"])
    assert found["best_temperature"] > 1.5
    assert found["calibration_error_at_best_temperature"] < 0.01


def test_ranking_precision_is_the_mean_reciprocal_rank() -> None:
    """Ranks 1 and 3 give (1 + 1/3) / 2; a tie counts against the model."""
    posteriors = [[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.5, 0.5, 0.0]]
    assert 2 / 3 == pytest.approx(metrics.ranking_precision([0, 2], posteriors[:2]))
    assert 0.5 == metrics.ranking_precision([0], posteriors[2:])


def test_log_loss_of_an_impossible_truth_is_finite() -> None:
    """A posterior of zero for the right class costs much, not infinity."""
    assert 50.0 < metrics.log_loss([0], [[0.0, 1.0]]) < 100.0
