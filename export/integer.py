"""The int8 network in NumPy integers, bit for bit as TensorFlow Lite's reference kernels.

Those kernels round a product twice: once as it leaves 62 bits (`high_product`) and once as it is
shifted right (`shift_right`). The C firmware does the same, so this file is its specification.
The fixed-point functions of the softmax are those of gemmlowp's fixedpoint.h.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.network import Layer, NumpyTarget, multiply_accumulate, walk
from export.quantised import HIGH, LOW, QuantisedLayer, QuantisedNetwork, Rescale

Int8Array = NDArray[np.int8]
IntArray = NDArray[np.int64]  # wide enough for every intermediate value

LARGEST = 2**31 - 1


def high_product(a: IntArray, b: IntArray | int) -> IntArray:
    """a * b / 2^31 to the nearest integer, halves away from zero: of two factors below 2^31."""
    product = a * b
    # Below zero the half itself goes up, as the reference's nudge of 1 - 2^30 has it.
    return np.where(product >= 0, (product + 2**30) >> 31, -((-product + 2**30 - 1) >> 31))


def shift_right(value: IntArray, bits: IntArray | int) -> IntArray:
    """value / 2^bits to the nearest integer, halves away from zero."""
    mask = (np.int64(1) << bits) - 1
    threshold = (mask >> 1) + (value < 0)
    return (value >> bits) + ((value & mask) > threshold)


def rescale(value: IntArray, multiplier: IntArray | int, shift: IntArray | int) -> IntArray:
    """value * multiplier / 2^31 * 2^shift; arrays run along the last axis."""
    left, right = np.maximum(shift, 0), np.maximum(-np.asarray(shift), 0)
    return shift_right(high_product(value << left, multiplier), right)


def clamp(value: IntArray, low: int) -> Int8Array:
    """int8 between `low` and 127."""
    return np.clip(value, low, HIGH).astype(np.int8)


class IntegerArithmetic(NumpyTarget):
    """The layers on int8 values (batch, time, channels)."""

    def __init__(
        self, quantised: QuantisedNetwork, contexts: dict[str, Int8Array] | None = None
    ) -> None:
        super().__init__(contexts)
        self._quantised = quantised

    def convolve(self, value: Int8Array, layer: Layer) -> Int8Array:
        """See Target."""
        return _layer(value, self._quantised.layers[layer.name])

    def add_relu(self, left: Int8Array, right: Int8Array, name: str) -> Int8Array:
        """See Target."""
        add = self._quantised.adds[name]
        lefts = (left.astype(np.int64) - add.left.zero_point) << 20
        rights = (right.astype(np.int64) - add.right.zero_point) << 20
        total = _by(add.left_rescale, lefts) + _by(add.right_rescale, rights)
        return clamp(_by(add.output_rescale, total) + add.output.zero_point, add.low)

    def mean(self, value: Int8Array, steps: int) -> Int8Array:
        """See Target; halves away from zero."""
        total = value.astype(np.int64).sum(axis=1, keepdims=True)
        return clamp(np.sign(total) * ((np.abs(total) + steps // 2) // steps), LOW)

    def classify(self, value: Int8Array, layer: Layer) -> Int8Array:
        """See Target."""
        logits = self.convolve(value, layer)[:, 0].astype(np.int64)
        softmax = self._quantised.softmax
        difference = logits - logits.max(axis=1, keepdims=True)
        counts = difference >= softmax.least_difference
        scaled = high_product(difference << softmax.left_shift, softmax.multiplier)
        power = np.where(counts, exp_of_negative(np.where(counts, scaled, 0)), 0)
        total = shift_right(power, 12).sum(axis=1, keepdims=True)
        headroom = 32 - np.frexp(total)[1]  # leading zeros of 32 bits
        shifted = (total << headroom) - 2**31
        share = high_product(power, reciprocal_of_one_plus(shifted))
        stored = shift_right(share, 12 - headroom + 31 - 8) + LOW
        return clamp(np.where(counts, stored, LOW), LOW)


def run_window(quantised: QuantisedNetwork, features: Int8Array) -> Int8Array:
    """Posteriors (batch, labels) of windows (batch, frames, bands)."""
    return walk(quantised.network, features, IntegerArithmetic(quantised))


def zero_contexts(quantised: QuantisedNetwork, batch: int = 1) -> dict[str, Int8Array]:
    """Left contexts (batch, time, channels) that stand for zero."""
    return {
        name: np.full((batch, time, channels), quantised.values[name].zero_point, np.int8)
        for name, channels, time in quantised.network.contexts()
    }


def run_step(
    quantised: QuantisedNetwork, features: Int8Array, contexts: dict[str, Int8Array]
) -> Int8Array:
    """Posteriors (batch, labels) of one step (batch, stride, bands); moves the contexts on."""
    return walk(quantised.network, features, IntegerArithmetic(quantised, contexts))


def _layer(value: Int8Array, layer: QuantisedLayer) -> Int8Array:
    # Doubles hold these sums exactly, and NumPy multiplies matrices of them far faster.
    centred = value.astype(np.float64) - layer.input.zero_point
    weights = layer.weights.astype(np.float64)
    products = multiply_accumulate(centred, weights, layer.kind, layer.stride)
    total = products.astype(np.int64) + layer.bias
    multipliers = np.array([r.multiplier for r in layer.rescales], np.int64)
    shifts = np.array([r.shift for r in layer.rescales], np.int64)
    return clamp(rescale(total, multipliers, shifts) + layer.output.zero_point, layer.low)


def _by(factor: Rescale, value: IntArray) -> IntArray:
    return rescale(value, factor.multiplier, factor.shift)


def _shift_left(value: IntArray, bits: int) -> IntArray:
    shifted: IntArray = np.clip(value << bits, -LARGEST - 1, LARGEST)
    return shifted


def exp_of_negative(value: IntArray) -> IntArray:
    """exp(value / 2^26) * 2^31 for value in [-2^31, 0]."""
    quarter = 1 << 24
    in_quarter = (value & (quarter - 1)) - quarter
    x = _shift_left(in_quarter, 5) + (1 << 28)  # in [-1/8, 1/8), 0 integer bits
    x2 = high_product(x, x)
    x3, x4 = high_product(x2, x), high_product(x2, x2)
    cubic = high_product(shift_right(x4, 2) + x3, 715_827_883) + x2  # a third of the two
    around_eighth = 1_895_147_668  # exp(-1/8)
    result = around_eighth + high_product(x + shift_right(cubic, 1), around_eighth)
    remainder = in_quarter - value
    # exp(-1/4), exp(-1/2), ... exp(-16)
    factors = (1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242)
    for bit, factor in enumerate(factors, start=24):
        result = np.where(remainder & (1 << bit), high_product(result, factor), result)
    return np.where(value == 0, LARGEST, result)


def reciprocal_of_one_plus(value: IntArray) -> IntArray:
    """2^31 / (1 + value / 2^31) for value in [0, 2^31), by Newton's method."""
    half = (value + LARGEST + 1) >> 1  # (1 + value) / 2, 0 integer bits
    x = 1_515_870_810 + high_product(half, -1_010_580_540)  # 48/17 - 32/17 half, 2 integer bits
    for _ in range(3):
        error = (1 << 29) - high_product(half, x)
        x = x + _shift_left(high_product(x, error), 2)
    return _shift_left(x, 1)
