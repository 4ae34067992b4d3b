"""Every integer of the int8 network, as TensorFlow Lite's int8 specification has it.

A real value is (stored - zero_point) * scale. Activations have one scale and zero point per
tensor. Weights are symmetric (zero point 0, -127 to 127) with one scale per output channel; biases
are int32 at the scale of input times weights.
A sum of products comes back to int8 through a multiplier and a shift:

    out = clamp(zero_point + sum * multiplier / 2^31 * 2^shift, low, high)

rounded as `export.integer` does. The TFLite file, the NumPy arithmetic and the C source are all
written from the `QuantisedNetwork` that `quantise` returns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.network import FloatArray, FoldedNetwork, Kind, Layer

LOW, HIGH = -128, 127
POSTERIOR_SCALE = 1.0 / 256.0  # with zero point -128, as the specification fixes for a softmax

# Largest and smallest value of each tensor, by the name of the layer or block that makes it.
Ranges = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Quantisation:
    """real = (stored - zero_point) * scale; the scale is exactly representable in float32."""

    scale: float
    zero_point: int

    def store(self, values: FloatArray) -> NDArray[np.int8]:
        """Real values as int8, those out of range at the nearest limit."""
        steps = np.rint(values / np.float32(self.scale)) + self.zero_point
        stored: NDArray[np.int8] = np.clip(steps, LOW, HIGH).astype(np.int8)
        return stored

    def real(self, stored: NDArray[np.int8]) -> FloatArray:
        """The real values of int8."""
        values: FloatArray = (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return values


POSTERIORS = Quantisation(POSTERIOR_SCALE, LOW)


@dataclass(frozen=True)
class Rescale:
    """Multiplication by multiplier / 2^31 * 2^shift, multiplier in [2^30, 2^31)."""

    multiplier: int
    shift: int


@dataclass(frozen=True)
class QuantisedLayer:
    """A layer's integers; the axes of `weights` are those of export.network.Layer."""

    name: str
    kind: Kind
    weights: NDArray[np.int8]
    weight_scales: NDArray[np.float32]  # (outputs,)
    bias: NDArray[np.int32]  # (outputs,)
    stride: int
    relu: bool
    input: Quantisation
    output: Quantisation
    rescales: tuple[Rescale, ...]  # one per output

    @property
    def low(self) -> int:
        """The least int8 that comes out; the ReLU is in it."""
        return max(LOW, self.output.zero_point) if self.relu else LOW


@dataclass(frozen=True)
class QuantisedAdd:
    """relu(left + right): both are brought to a common scale in 20 more bits, then to the output's.

    sum = rescale(left_rescale, (left - zero) * 2^20) + the same of right
    out = clamp(zero_point + rescale(output_rescale, sum), low, 127)
    """

    name: str
    left: Quantisation
    right: Quantisation
    output: Quantisation
    left_rescale: Rescale
    right_rescale: Rescale
    output_rescale: Rescale

    @property
    def low(self) -> int:
        """The least int8 that comes out of the ReLU."""
        return max(LOW, self.output.zero_point)


@dataclass(frozen=True)
class QuantisedSoftmax:
    """exp of differences to the largest logit in fixed point, 5 integer bits."""

    input: Quantisation
    multiplier: int
    left_shift: int
    least_difference: int  # stored differences below it count as zero


@dataclass(frozen=True)
class QuantisedNetwork:
    """The folded network in integers."""

    network: FoldedNetwork  # the shape; its weights are those that were quantised
    values: Mapping[str, Quantisation]  # of each tensor by name, "features" included
    layers: Mapping[str, QuantisedLayer]
    adds: Mapping[str, QuantisedAdd]
    softmax: QuantisedSoftmax


def quantise(network: FoldedNetwork, ranges: Ranges) -> QuantisedNetwork:
    """Choose every integer; `ranges` comes from export.calibrate and decides all of them."""
    values = {name: quantisation_of(*limits) for name, limits in ranges.items()}
    layers, adds = {}, {}
    name = "features"
    layers["stem"] = _layer(network.stem, values[name], values["stem"])
    name = "stem"
    for block in network.blocks:
        depthwise, pointwise = block.depthwise, block.pointwise
        middle, change = values[depthwise.name], values[pointwise.name]
        layers[depthwise.name] = _layer(depthwise, values[name], middle)
        layers[pointwise.name] = _layer(pointwise, middle, change)
        adds[block.name] = add_of(block.name, values[name], change, values[block.name])
        name = block.name
    classifier = network.classifier
    layers[classifier.name] = _layer(classifier, values[name], values[classifier.name])
    return QuantisedNetwork(network, values, layers, adds, softmax_of(values[classifier.name]))


def quantisation_of(low: float, high: float) -> Quantisation:
    """The finest scale that covers a range, in which zero is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / (HIGH - LOW)))
    if not 0.0 < scale < math.inf:
        raise ValueError(f"a range of [{low}, {high}] cannot be quantised")
    return Quantisation(scale, int(np.clip(round(LOW - low / scale), LOW, HIGH)))


def rescale_of(factor: float) -> Rescale:
    """QuantizeMultiplier of TensorFlow Lite."""
    mantissa, shift = math.frexp(factor)
    multiplier = math.floor(mantissa * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if not (multiplier and -31 <= shift <= 30):
        raise ValueError(f"a rescaling by {factor} does not fit 32-bit arithmetic")
    return Rescale(multiplier, shift)


def _layer(layer: Layer, source: Quantisation, output: Quantisation) -> QuantisedLayer:
    channel_axis = 1 if layer.kind == "depthwise" else 0
    other_axes = tuple(axis for axis in range(layer.weights.ndim) if axis != channel_axis)
    largest = np.abs(layer.weights).max(axis=other_axes)
    # A channel of zeros may have any scale.
    scales = np.where(largest > 0.0, largest / np.float32(HIGH), 1.0).astype(np.float32)
    weights = np.rint(layer.weights.astype(np.float64) / np.expand_dims(scales, other_axes))
    products = [float(source.scale) * float(scale) for scale in scales]
    return QuantisedLayer(
        layer.name,
        layer.kind,
        weights.astype(np.int8),
        scales,
        np.rint(layer.bias.astype(np.float64) / np.array(products)).astype(np.int32),
        layer.stride,
        layer.relu,
        source,
        output,
        tuple(rescale_of(product / output.scale) for product in products),
    )


def add_of(
    name: str, left: Quantisation, right: Quantisation, output: Quantisation
) -> QuantisedAdd:
    """The residual connection of two values into a third."""
    common = 2.0 * max(left.scale, right.scale)
    return QuantisedAdd(
        name,
        left,
        right,
        output,
        rescale_of(left.scale / common),
        rescale_of(right.scale / common),
        rescale_of(common / (2**20 * output.scale)),
    )


def softmax_of(logits: Quantisation) -> QuantisedSoftmax:
    """The softmax of logits stored like that."""
    integer_bits = 5
    rescale = rescale_of(min(logits.scale * 2 ** (31 - integer_bits), 2.0**31 - 1.0))
    largest = (2**integer_bits - 1) * 2 ** (31 - integer_bits) / 2**rescale.shift
    return QuantisedSoftmax(logits, rescale.multiplier, rescale.shift, -math.floor(largest))
