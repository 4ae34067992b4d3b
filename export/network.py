"""The trained network with every normalisation folded away, and the one walk through its layers.

Convolutions are unpadded, so folding a normalisation before or after one is exact. What is left is
convolution, addition, mean and softmax; `walk` goes through them in order and leaves the
meaning of each to its target: a file writer, or arithmetic in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

Value = TypeVar("Value")
CLASSIFIER = "classifier"  # the name of its layer
Kind = Literal["full", "depthwise"]


def kernel_of(weights: NDArray[Any], kind: Kind) -> int:
    """Time steps that one output of such weights depends on."""
    return len(weights) if kind == "depthwise" else int(weights.shape[1])


@dataclass(frozen=True)
class Layer:
    """Weights of one layer, float32.

    `weights` is (outputs, kernel, inputs) of a full convolution over time and (kernel, channels)
    of a depthwise one; `bias` is (outputs,). The classifier is a convolution whose kernel is 1.
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
        return kernel_of(self.weights, self.kind)


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
        bands: int = self.stem.weights.shape[2]
        return bands

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
        """All but the oldest `drop` steps; in a stream, which has new steps only, all of them."""

    def add_relu(self, left: Value, right: Value, name: str) -> Value:
        """relu(left + right)"""

    def mean(self, value: Value, steps: int) -> Value:
        """The mean over time of the `steps` that are there, as one step."""

    def classify(self, value: Value, layer: Layer) -> Value:
        """The classifier on the one step that is left, and the softmax."""


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


class NumpyTarget:
    """What float and integer arithmetic share; values are (batch, time, channels).

    A stream gives `contexts`, the left contexts by name, and finds the next ones in their place.
    """

    def __init__(self, contexts: dict[str, NDArray[Any]] | None = None) -> None:
        self.contexts = contexts

    def extend(self, value: NDArray[Any], name: str) -> NDArray[Any]:
        """See Target."""
        if self.contexts is None:
            return value
        context = self.contexts[name]
        joined = np.concatenate((context, value), axis=1)
        self.contexts[name] = joined[:, joined.shape[1] - context.shape[1] :]
        return joined

    def newest(self, value: NDArray[Any], drop: int) -> NDArray[Any]:
        """See Target."""
        return value[:, drop:] if self.contexts is None else value


def multiply_accumulate(
    value: NDArray[Any], weights: NDArray[Any], kind: Kind, stride: int
) -> NDArray[Any]:
    """The sums of products of a layer, before its bias; weights as in Layer."""
    kernel = kernel_of(weights, kind)
    windows = np.lib.stride_tricks.sliding_window_view(value, kernel, axis=1)
    windows = windows[:, ::stride]  # (batch, time, channels, kernel)
    if kind == "depthwise":
        total: NDArray[Any] = np.einsum("btck,kc->btc", windows, weights)
    else:
        total = np.tensordot(windows, weights, axes=((2, 3), (2, 1)))
    return total


class FloatArithmetic(NumpyTarget):
    """The layers in float; `observe` sees every value by name as it is computed."""

    def __init__(self, observe: Callable[[str, FloatArray], None] = lambda name, value: None):
        super().__init__()
        self._observe = observe

    def convolve(self, value: FloatArray, layer: Layer) -> FloatArray:
        """See Target."""
        result: FloatArray = layer.bias + multiply_accumulate(
            value, layer.weights, layer.kind, layer.stride
        )
        if layer.relu:
            result = np.maximum(result, 0.0)
        self._observe(layer.name, result)
        return result

    def add_relu(self, left: FloatArray, right: FloatArray, name: str) -> FloatArray:
        """See Target."""
        result: FloatArray = np.maximum(left + right, 0.0)
        self._observe(name, result)
        return result

    def mean(self, value: FloatArray, steps: int) -> FloatArray:
        """See Target."""
        result: FloatArray = value.mean(axis=1, keepdims=True)
        return result

    def classify(self, value: FloatArray, layer: Layer) -> FloatArray:
        """See Target."""
        logits = self.convolve(value, layer)[:, 0]
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        posteriors: FloatArray = exponent / exponent.sum(axis=1, keepdims=True)
        return posteriors
