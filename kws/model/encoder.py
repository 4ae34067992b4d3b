"""The network of `kws.train.encoder` without a runtime: NumPy, and the native kernel's products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kws.errors import ModelError
from kws.frontend import FloatArray
from kws.native.product import MOST_FLOATS, Product

KERNEL = 3  # frames that a convolution covers
EPSILON = np.float32(1e-5)  # what is added to a variance
MOST_PRODUCTS = 1 << 32  # of a window, which take a few seconds


@dataclass(frozen=True)
class Norm:
    """A normalisation of each row, and what its numbers are then multiplied with and added to."""

    weights: FloatArray  # (width,)
    bias: FloatArray  # (width,)

    def __call__(self, rows: FloatArray) -> FloatArray:
        """(count, width) -> the same shape."""
        centred: FloatArray = rows - rows.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", centred, centred) / np.float32(rows.shape[1])
        centred *= 1.0 / np.sqrt(variance + EPSILON)[:, None]
        centred *= self.weights
        centred += self.bias
        return centred


@dataclass(frozen=True)
class Layer:
    """Self-attention, then two linear maps of each step, either added to what it takes."""

    heads: int
    attention_norm: Norm
    attention_in: Product  # to query, key and value
    attention_out: Product
    linear_norm: Norm
    linear_in: Product
    linear_out: Product

    def __call__(self, steps: FloatArray) -> FloatArray:
        """(count, width) -> the same shape."""
        count, width = steps.shape
        joined = self.attention_in(self.attention_norm(steps))
        parts = joined.reshape(count, 3, self.heads, width // self.heads)
        query, key, value = parts.transpose(1, 2, 0, 3)
        scores = query @ key.swapaxes(1, 2)
        scores *= np.float32((width // self.heads) ** -0.5)
        mixed = (_softmax(scores, axis=2) @ value).swapaxes(0, 1).reshape(count, width)
        steps = steps + self.attention_out(mixed)
        steps += self.linear_out(self.linear_in(self.linear_norm(steps)))
        return steps


@dataclass(frozen=True)
class Encoder:
    """The network and its weights, a `kws.model.runtimes.Backend`; threads may share it."""

    frames: int
    bands: int
    first: Product  # of KERNEL frames, one frame apart; bent, as are `second` and `linear_in`
    second: Product  # of KERNEL frames, two apart
    positions: FloatArray  # (steps, width)
    layers: Sequence[Layer]
    norm: Norm
    queries: FloatArray  # (width, queries)
    classifier: FloatArray  # (queries * width, labels)
    bias: FloatArray  # (labels,)
    release: Callable[[], None] | None = None  # called when a layer's weights have been used

    def __post_init__(self) -> None:
        """Raises ValueError where shapes do not fit, or for more than a few seconds' arithmetic."""
        width, steps = self.first.outputs, (self.frames + 1) // 2
        queries, labels = self.queries.shape[-1], self.bias.size
        products = [
            (self.frames, self.first, KERNEL * self.bands, width, True),
            (steps, self.second, KERNEL * width, width, True),
        ]
        shapes = [
            (self.positions, (steps, width)),
            (self.queries, (width, queries)),
            (self.classifier, (queries * width, labels)),
            (self.bias, (labels,)),
        ]
        norms, attention = [self.norm], 0
        for layer in self.layers:
            hidden = layer.linear_in.outputs
            products += [
                (steps, layer.attention_in, width, 3 * width, False),
                (steps, layer.attention_out, width, width, False),
                (steps, layer.linear_in, width, hidden, True),
                (steps, layer.linear_out, hidden, width, False),
            ]
            norms += [layer.attention_norm, layer.linear_norm]
            attention = max(attention, layer.heads * steps * steps)
            _require(layer.heads >= 1 and width % layer.heads == 0)
        for norm in norms:
            shapes += [(norm.weights, (width,)), (norm.bias, (width,))]
        for rows, product, inputs, outputs, bent in products:
            found = product.inputs, product.outputs, product.bent
            _require(found == (inputs, outputs, bent))
            _require(rows * max(inputs, outputs) <= MOST_FLOATS)
        for array, shape in shapes:
            _require(array.shape == shape and array.dtype == np.float32)
            _require(bool(np.isfinite(array).all()))
        arithmetic = sum(rows * inputs * outputs for rows, _, inputs, outputs, _ in products)
        arithmetic += len(self.layers) * 2 * steps * steps * width
        _require(attention <= MOST_FLOATS and arithmetic <= MOST_PRODUCTS)
        _require(steps * queries <= MOST_FLOATS)

    def run(self, features: FloatArray) -> FloatArray:
        """See Backend.run."""
        if features.shape[1:] != (self.frames, self.bands):
            raise ModelError(
                f"the network takes features of shape (batch, {self.frames}, {self.bands}), not "
                f"{features.shape}"
            )
        posteriors = np.zeros((len(features), self.bias.size), np.float32)
        windows = np.ascontiguousarray(features, np.float32)
        for row, window in zip(posteriors, windows, strict=True):
            row[:] = self.posteriors(window)
        return posteriors

    def posteriors(self, features: FloatArray) -> FloatArray:
        """Posteriors (labels,) of the features (frames, bands) of one window; float32 both."""
        with np.errstate(all="ignore"):
            steps = self.first(_neighbours(features))
            steps = self.second(_neighbours(steps)[::2])
            steps += self.positions
            for layer in self.layers:
                steps = layer(steps)
                if self.release is not None:
                    self.release()
            steps = self.norm(steps)
            shares = _softmax(steps @ self.queries, axis=0)
            pooled = (shares.T @ steps).ravel()
            # Of this size a product by BLAS would wake its threads.
            scores: FloatArray = np.einsum("i,ij->j", pooled, self.classifier)
            scores += self.bias
            return _softmax(scores, axis=0)


def _neighbours(frames: FloatArray) -> FloatArray:
    """Each of the frames (count, width) with those beside it, zeros at the ends, without a copy:
    (count, KERNEL * width)."""
    width = frames.shape[1]
    edge = np.zeros((KERNEL // 2, width), np.float32)
    padded = np.concatenate((edge, frames, edge)).ravel()
    return np.lib.stride_tricks.sliding_window_view(padded, KERNEL * width)[::width]


def _softmax(scores: FloatArray, axis: int) -> FloatArray:
    shares: FloatArray = np.exp(scores - scores.max(axis=axis, keepdims=True))
    shares /= shares.sum(axis=axis, keepdims=True)
    return shares


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("no encoder of these shapes is computed")
