"""The trained network with every normalisation folded away, and the one walk through its layers.

Convolutions are unpadded, so folding a normalisation before or after one is exact. What is left is
convolution, addition, mean and one dense layer; `walk` goes through them in order and leaves the
meaning of each to its target: a file writer, or arithmetic in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

Value = TypeVar("Value")
Kind = Literal["full", "depthwise", "dense"]


@dataclass(frozen=True)
class Layer:
    """Weights of one layer, float32.

    `weights` is (outputs, kernel, inputs) of a full convolution over time, (kernel, channels) of a
    depthwise one and (outputs, inputs) of a dense layer; `bias` is (outputs,).
    """

    name: str
    kind: Kind
    weights: FloatArray
    bias: FloatArray
    stride: int = 1
    relu: bool = False

    @property
    def kernel(self) -> int:
        """Time steps that one output depends on."""
        return {"full": self.weights.shape[1], "depthwise": len(self.weights), "dense": 1}[
            self.kind
        ]


@dataclass(frozen=True)
class Block:
    """relu(newest input + pointwise(depthwise(input)))"""

    name: str
    depthwise: Layer
    pointwise: Layer

    @property
    def context(self) -> int:
        """Steps by which the block's output is shorter than its input."""
        return self.depthwise.kernel - 1


@dataclass(frozen=True)
class FoldedNetwork:
    """Features to posteriors, without normalisations."""

    stem: Layer
    blocks: tuple[Block, ...]
    pool: int  # steps that the mean covers
    classifier: Layer

    @property
    def bands(self) -> int:
        """Features of one frame."""
        return self.stem.weights.shape[2]

    @property
    def channels(self) -> int:
        """Channels of every layer after the stem."""
        return len(self.stem.bias)

    @property
    def frames(self) -> int:
        """Frames of one window: the receptive field."""
        steps = self.pool + sum(block.context for block in self.blocks)
        return self.stem.kernel + (steps - 1) * self.stem.stride

    @property
    def layers(self) -> Iterator[Layer]:
        """Every layer with weights, in the order in which they run."""
        yield self.stem
        for block in self.blocks:
            yield block.depthwise
            yield block.pointwise
        yield self.classifier

    def contexts(self) -> list[tuple[str, int, int]]:
        """(name of the value, channels, time) of each left context of a stream, in order."""
        sizes = [("features", self.bands, self.stem.kernel - self.stem.stride)]
        value = self.stem.name
        for block in self.blocks:
            sizes.append((value, self.channels, block.context))
            value = block.name
        return [*sizes, (value, self.channels, self.pool - 1)]


class Target(Protocol[Value]):
    """What a value is and what each layer does with it."""

    def extend(self, value: Value, name: str) -> Value:
        """Put the left context in front of a value; a window has none and returns it as it is."""

    def convolve(self, value: Value, layer: Layer) -> Value:
        """A full or depthwise convolution over time."""

    def newest(self, value: Value, drop: int) -> Value:
        """All but the oldest `drop` steps; a stream, which comes step by step, has only new ones."""

    def add_relu(self, left: Value, right: Value, name: str) -> Value:
        """relu(left + right)"""

    def mean(self, value: Value, steps: int) -> Value:
        """The mean over time of the `steps` that are there."""

    def classify(self, value: Value, layer: Layer) -> Value:
        """The dense layer and the softmax."""


def walk(network: FoldedNetwork, features: Value, target: Target[Value]) -> Value:
    """Posteriors of features, whatever those are to the target."""
    value = target.convolve(target.extend(features, "features"), network.stem)
    name = network.stem.name
    for block in network.blocks:
        joined = target.extend(value, name)
        change = target.convolve(target.convolve(joined, block.depthwise), block.pointwise)
        value = target.add_relu(target.newest(value, block.context), change, block.name)
        name = block.name
    pooled = target.mean(target.extend(value, name), network.pool)
    return target.classify(pooled, network.classifier)


class FloatArithmetic:
    """The layers in NumPy on windows (batch, time, channels); the reference of the float files.

    `observe` sees every value by name as it is computed.
    """

    def __init__(self, observe: Callable[[str, FloatArray], None] = lambda name, value: None):
        self._observe = observe

    def extend(self, value: FloatArray, name: str) -> FloatArray:
        """See Target."""
        return value

    def convolve(self, value: FloatArray, layer: Layer) -> FloatArray:
        """See Target."""
        windows = np.lib.stride_tricks.sliding_window_view(value, layer.kernel, axis=1)
        windows = windows[:, :: layer.stride]  # (batch, time, channels, kernel)
        if layer.kind == "depthwise":
            result = np.einsum("btck,kc->btc", windows, layer.weights)
        else:
            result = np.tensordot(windows, layer.weights, axes=((2, 3), (2, 1)))
        result = result + layer.bias
        result = np.maximum(result, 0.0) if layer.relu else result
        self._observe(layer.name, result)
        return result

    def newest(self, value: FloatArray, drop: int) -> FloatArray:
        """See Target."""
        return value[:, drop:]

    def add_relu(self, left: FloatArray, right: FloatArray, name: str) -> FloatArray:
        """See Target."""
        result = np.maximum(left + right, 0.0)
        self._observe(name, result)
        return result

    def mean(self, value: FloatArray, steps: int) -> FloatArray:
        """See Target."""
        result: FloatArray = value.mean(axis=1)
        return result

    def classify(self, value: FloatArray, layer: Layer) -> FloatArray:
        """See Target."""
        logits = value @ layer.weights.T + layer.bias
        self._observe(layer.name, logits)
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        posteriors: FloatArray = exponent / exponent.sum(axis=1, keepdims=True)
        return posteriors
