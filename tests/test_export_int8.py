"""The integers: NumPy computes what TFLite's reference kernels compute, bit for bit."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

from export_model import Exported, random_audio

from export.build import quantised_of
from export.integer import (
    exp_of_negative,
    high_product,
    reciprocal_of_one_plus,
    run_step,
    run_window,
    shift_right,
    zero_contexts,
)
from export.quantised import quantisation_of, rescale_of
from export.run_files import TfliteFile
from kws.frontend import log_mel

INT32 = st.integers(-(2**31) + 1, 2**31 - 1)


@pytest.fixture(scope="module")
def inputs(exported: Exported) -> np.ndarray:
    """Stored features: of audio, random, and at both limits."""
    quantised = quantised_of(exported.manifest, exported.folded)
    features = np.stack([log_mel(clip) for clip in random_audio(seed=3)])
    generator = np.random.default_rng(0)
    noise = generator.integers(-128, 128, (40, 98, 40))
    limits = np.stack([np.full((98, 40), value) for value in (-128, 127)])
    steps = np.where(np.arange(98)[:, None] < 50, -128, 127) + np.zeros((98, 40))
    stored = quantised.values["features"].store(features)
    return np.concatenate((stored, noise, limits, steps[None])).astype(np.int8)


@pytest.mark.parametrize("graph", ["window", "stream"])
def test_tflite_equals_the_integers(exported: Exported, inputs: np.ndarray, graph: str) -> None:
    """Reference kernels and NumPy agree in every bit of every posterior."""
    quantised = quantised_of(exported.manifest, exported.folded)
    file = TfliteFile(exported.contents[f"{graph}.int8.tflite"], reference=True)
    np.testing.assert_array_equal(run_window(quantised, inputs), file.run_stored(inputs))


def test_stream_equals_window(exported: Exported, inputs: np.ndarray) -> None:
    """Step after step leads to the very integers of the window, whatever came before."""
    quantised = quantised_of(exported.manifest, exported.folded)
    contexts = zero_contexts(quantised, len(inputs))
    for features in (inputs[::-1], inputs):
        for first in range(0, 98, 2):
            posteriors = run_step(quantised, features[:, first : first + 2], contexts)
    np.testing.assert_array_equal(run_window(quantised, inputs), posteriors)


@given(INT32, INT32)
def test_high_product(a: int, b: int) -> None:
    """The nearest integer, and at a half the upper of the two above zero and below."""
    exact = Fraction(a * b, 2**31)
    result = int(high_product(np.int64(a), b))
    assert abs(exact - result) <= Fraction(1, 2)
    if abs(exact - result) == Fraction(1, 2):
        assert result > exact


@given(INT32, st.integers(0, 31))
def test_shift_right(value: int, bits: int) -> None:
    """The nearest integer, halves away from zero."""
    exact = Fraction(value, 2**bits)
    result = int(shift_right(np.int64(value), bits))
    assert abs(exact - result) <= Fraction(1, 2)
    if abs(exact - result) == Fraction(1, 2):
        assert abs(result) > abs(exact)


@settings(deadline=None)
@given(st.integers(-(2**31), 0))
def test_exp(value: int) -> None:
    """The fixed-point exponential is exact to 1e-6."""
    result = int(exp_of_negative(np.array([value]))[0])
    assert abs(np.exp(value / 2**26) - result / 2**31) < 1e-6


@given(st.integers(0, 2**31 - 1))
def test_reciprocal(value: int) -> None:
    """The fixed-point reciprocal is exact to 1e-6."""
    result = int(reciprocal_of_one_plus(np.array([value]))[0])
    assert abs(1.0 / (1.0 + value / 2**31) - result / 2**31) < 1e-6


@given(st.floats(1e-8, 1e8))
def test_rescale_of(factor: float) -> None:
    """Multiplier and shift stand for the factor to 31 bits."""
    rescale = rescale_of(factor)
    assert 2**30 <= rescale.multiplier < 2**31
    assert abs(rescale.multiplier / 2**31 * 2.0**rescale.shift / factor - 1.0) < 2**-30


@pytest.mark.parametrize("factor", [0.0, 1e-12, 1e12])
def test_rescale_out_of_range(factor: float) -> None:
    """A factor that 32-bit arithmetic cannot express is refused."""
    with pytest.raises(ValueError, match="does not fit 32-bit arithmetic"):
        rescale_of(factor)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_quantisation_holds_zero(one: float, other: float) -> None:
    """Zero is exact in every range, and the limits are reached to half a step."""
    low, high = min(one, other, 0.0), max(one, other, 0.0)
    if high - low < 1e-3:
        return
    quantisation = quantisation_of(low, high)
    limits = np.array([low, 0.0, high], np.float32)
    real = quantisation.real(quantisation.store(limits))
    assert 0.0 == real[1]
    assert np.abs(limits - real).max() <= 0.51 * quantisation.scale


@pytest.mark.parametrize("limits", [(0.0, 0.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_impossible_ranges(limits: tuple[float, float]) -> None:
    """A tensor that is always zero, or not finite, is refused."""
    with pytest.raises(ValueError, match="cannot be quantised"):
        quantisation_of(*limits)
