"""The native kernel's encoder out of a graph of windows, where it is one of the known form.

The form is what `export/encoder_graph.py` writes, node by node. A graph that departs from it
anywhere is none, and runs in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap

import numpy as np

from kws.model.encoder import EPSILON, KERNEL, Encoder, Layer, Norm
from kws.model.onnx_file import check_onnx
from kws.model.onnx_walk import END, OtherForm, Walk, axes, floats, only_graph, require, whole
from kws.native.product import Product

_OPSETS = range(18, 22)  # in which the operators below mean what is computed


def native_encoder(
    content: bytes | mmap, release: Callable[[], None] | None = None
) -> Encoder | None:
    """The encoder in a graph of windows; None where the kernel does not compute it.

    Its large weights stay in the content; `release` is called when it has used some of them. Raises
    ModelError where the content is no ONNX file.
    """
    model = check_onnx(content)
    try:
        with np.errstate(all="ignore"):
            graph = only_graph(model, _OPSETS, ["features"], ["posteriors"])
            _, frames, bands = axes(graph)
            walk = Walk(graph)
            network, posteriors = _Reader(walk, frames, bands).encoder(release)
            walk.end(posteriors)
            return network
    except (OtherForm, ValueError):
        return None


@dataclass(frozen=True)
class _Reader:
    """Takes the nodes of the encoder; texts are names of values."""

    walk: Walk
    frames: int
    bands: int

    def encoder(self, release: Callable[[], None] | None) -> tuple[Encoder, str]:
        """From the features to the posteriors, whose name is the text."""
        walk = self.walk
        first, value = self._convolution("features", 1)
        second, value = self._convolution(value, 2)
        (value,), (positions,) = walk.learn("Add", value, None)
        require(positions.ndim == 2)
        width = positions.shape[1]
        layers = []
        while walk.next("DequantizeLinear", "Softmax") == "DequantizeLinear":
            layer, value = self._layer(value, width)
            layers.append(layer)
        norm, value = self._norm(value)
        (scores,), (queries,) = walk.learn("MatMul", value, None)
        shares = walk.take("Softmax", scores, axis=1)
        shares = walk.take("Transpose", shares, perm=[0, 2, 1])
        pooled = walk.take("MatMul", shares, value)
        require(queries.ndim == 2)
        pooled = walk.take("Reshape", pooled, [0, queries.shape[1] * width])
        (scores,), (classifier,) = walk.learn("MatMul", pooled, None)
        (scores,), (bias,) = walk.learn("Add", scores, None)
        network = Encoder(
            self.frames,
            self.bands,
            first,
            second,
            positions.copy(),
            layers,
            norm,
            queries.copy(),
            classifier.copy(),
            bias.copy(),
            release,
        )
        return network, walk.take("Softmax", scores, axis=1)

    def _layer(self, steps: str, width: int) -> tuple[Layer, str]:
        walk = self.walk
        attention_norm, value = self._norm(steps)
        attention_in, value = self._linear(value)
        (value,), (shape,) = walk.learn("Reshape", value, None)
        *before, heads, size = whole(shape)
        require(before == [0, 0, 3] and heads >= 1 and size >= 1 and heads * size == width)
        value = walk.take("Transpose", value, perm=[2, 0, 3, 1, 4])
        query, key, mixed = (
            walk.take("Gather", value, np.array(part), axis=0) for part in range(3)
        )
        scores = walk.take("MatMul", query, walk.take("Transpose", key, perm=[0, 1, 3, 2]))
        scores = walk.take("Mul", scores, np.float32(size**-0.5))
        value = walk.take("MatMul", walk.take("Softmax", scores, axis=3), mixed)
        value = walk.take("Transpose", value, perm=[0, 2, 1, 3])
        value = walk.take("Reshape", value, [0, 0, width])
        attention_out, value = self._linear(value)
        steps = walk.take("Add", steps, value)
        linear_norm, value = self._norm(steps)
        linear_in, value = self._linear(value, bent=True)
        linear_out, value = self._linear(value)
        layer = Layer(
            heads, attention_norm, attention_in, attention_out, linear_norm, linear_in, linear_out
        )
        return layer, walk.take("Add", steps, value)

    def _norm(self, value: str) -> tuple[Norm, str]:
        epsilon = float(EPSILON)
        (value,), (weights, bias) = self.walk.learn(
            "LayerNormalization", value, None, None, axis=-1, epsilon=epsilon
        )
        return Norm(weights.copy(), bias.copy()), value

    def _convolution(self, value: str, step: int) -> tuple[Product, str]:
        """A linear map of each frame, or every second one, with those beside it; bent."""
        edge = KERNEL // 2
        padded = self.walk.take("Pad", value, [0, edge, 0, 0, edge, 0])
        parts = [
            self.walk.take("Slice", padded, [tap], [tap + 1 - KERNEL or END], [1], [step])
            for tap in range(KERNEL)
        ]
        return self._linear(self.walk.take("Concat", *parts, axis=2), bent=True)

    def _linear(self, value: str, bent: bool = False) -> tuple[Product, str]:
        """A linear map of each step, whose values are rounded to 8 bits."""
        walk = self.walk
        largest = walk.take("ReduceMax", walk.take("Abs", value), [2], keepdims=1)
        largest = walk.take("Max", largest, np.float32(1e-30))
        unit = walk.take("Div", largest, np.float32(127.0))
        value = walk.take("Mul", walk.take("Round", walk.take("Div", value, unit)), unit)
        (name,), (weights, scales, zeros) = walk.learn("DequantizeLinear", None, None, None, axis=1)
        require(weights.dtype == zeros.dtype == np.int8 and weights.ndim == 2)
        require(scales.shape == zeros.shape == weights.shape[1:])
        require(floats(scales) and not zeros.any())
        value = walk.take("MatMul", value, name)
        (value,), (bias,) = walk.learn("Add", value, None)
        product = Product(weights.T, scales, bias, bent=bent)
        return product, self._bent(value) if bent else value

    def _bent(self, value: str) -> str:
        scaled = self.walk.take("Mul", value, np.float32(1.702))
        return self.walk.take("Mul", value, self.walk.take("Sigmoid", scaled))
