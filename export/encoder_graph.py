"""The file of a network of `kws.train.encoder`.

The large weights are int8 with a scale for each output channel. Each step that they are multiplied
with is rounded to a 127th of its largest value, so that 8 bits hold it too and a runtime that knows
may multiply integers; `kws.native.product` does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from export.network import FloatArray
from export.onnx_graph import GraphWriter, rename, serialise
from kws.train.encoder import GELU, EncoderNetwork, Layer


def write_encoder(network: EncoderNetwork, metadata: Mapping[str, str]) -> bytes:
    """The file of features (batch, frames, bands) -> posteriors (batch, labels), a second each.

    Raises onnx.checker.ValidationError for what ONNX would refuse.
    """
    config = network.config
    writer = _EncoderWriter()
    rename(writer, writer.encoder(network), "posteriors")
    return serialise(
        writer,
        "window",
        [("features", ["batch", config.frames, config.bands])],
        [("posteriors", ["batch", config.labels])],
        metadata,
    )


class _EncoderWriter(GraphWriter):
    """A GraphWriter that knows the layers of an encoder."""

    def encoder(self, network: EncoderNetwork) -> str:
        """The nodes from "features" to the posteriors of this network alone."""
        config = network.config
        value = self.gelu(self.convolve("features", network.first, "first"))
        value = self.gelu(self.convolve(value, network.second, "second"))
        value = self.node("Add", value, self.constant("positions", _array(network.positions)))
        for number, layer in enumerate(network.layers):
            assert isinstance(layer, Layer)
            value = self.layer(value, layer, f"layer{number}")
        value = self.norm(value, network.norm, "norm")
        queries = self.constant("queries", _array(network.queries.weight.T))
        shares = self.node("Softmax", self.node("MatMul", value, queries), axis=1)
        pooled = self.node("MatMul", self.node("Transpose", shares, perm=[0, 2, 1]), value)
        pooled = self.node("Reshape", pooled, self.numbers(0, config.queries * config.width))
        weights = self.constant("classifier.weights", _array(network.classifier.weight.T))
        bias = self.constant("classifier.bias", _array(network.classifier.bias))
        logits = self.node("Add", self.node("MatMul", pooled, weights), bias)
        return self.node("Softmax", logits, axis=1)

    def layer(self, steps: str, layer: Layer, name: str) -> str:
        """Steps (batch, steps, width) -> the same shape."""
        width, heads = layer.attention_out.in_features, layer.heads
        value = self.norm(steps, layer.attention_norm, f"{name}.attention_norm")
        value = self.linear(value, layer.attention_in, f"{name}.attention_in")
        value = self.node("Reshape", value, self.numbers(0, 0, 3, heads, width // heads))
        value = self.node("Transpose", value, perm=[2, 0, 3, 1, 4])
        query, key, mixed = (
            self.node("Gather", value, self.constant(f"part{part}", np.array(part)), axis=0)
            for part in range(3)
        )
        value = self.node("MatMul", query, self.node("Transpose", key, perm=[0, 1, 3, 2]))
        value = self.node("Mul", value, self.number("scale", (width // heads) ** -0.5))
        value = self.node("MatMul", self.node("Softmax", value, axis=3), mixed)
        value = self.node("Transpose", value, perm=[0, 2, 1, 3])
        value = self.node("Reshape", value, self.numbers(0, 0, width))
        value = self.linear(value, layer.attention_out, f"{name}.attention_out")
        steps = self.node("Add", steps, value)
        value = self.norm(steps, layer.linear_norm, f"{name}.linear_norm")
        value = self.gelu(self.linear(value, layer.linear_in, f"{name}.linear_in"))
        return self.node("Add", steps, self.linear(value, layer.linear_out, f"{name}.linear_out"))

    def norm(self, value: str, norm: nn.LayerNorm, name: str) -> str:
        """A normalisation of each step."""
        weights = self.constant(f"{name}.weights", _array(norm.weight))
        bias = self.constant(f"{name}.bias", _array(norm.bias))
        return self.node("LayerNormalization", value, weights, bias, axis=-1, epsilon=norm.eps)

    def gelu(self, value: str) -> str:
        """See `kws.train.encoder.gelu`."""
        scaled = self.node("Mul", value, self.number("gelu", GELU))
        return self.node("Mul", value, self.node("Sigmoid", scaled))

    def convolve(self, value: str, layer: nn.Conv1d, name: str) -> str:
        """A convolution over time of (batch, frames, channels): a linear map of each frame joined
        to those beside it."""
        (edge,), (kernel,), (step,) = layer.padding, layer.kernel_size, layer.stride
        padded = self.node("Pad", value, self.numbers(0, edge, 0, 0, edge, 0))
        end = np.iinfo(np.int64).max
        parts = [
            self.node(
                "Slice",
                padded,
                *map(self.numbers, (tap, tap + 1 - kernel or end, 1, step)),
            )
            for tap in range(kernel)
        ]
        joined = self.node("Concat", *parts, axis=2)
        by_input = _array(layer.weight.permute(2, 1, 0).flatten(0, 1))
        return self.product(joined, by_input, _array(layer.bias), name)

    def linear(self, value: str, layer: nn.Linear, name: str) -> str:
        """A linear map of each step."""
        return self.product(value, _array(layer.weight.T), _array(layer.bias), name)

    def product(self, value: str, weights: FloatArray, bias: FloatArray, name: str) -> str:
        """Steps (batch, steps, inputs), rounded, times weights (inputs, outputs), and the bias."""
        value = self.rounded(value)
        stored = self.stored(weights, f"{name}.weights")
        product = self.node("MatMul", value, stored)
        return self.node("Add", product, self.constant(f"{name}.bias", bias))

    def rounded(self, value: str) -> str:
        """Each step (batch, steps, inputs) to the nearest 127th of its largest value."""
        largest = self.node("ReduceMax", self.node("Abs", value), self.numbers(2), keepdims=1)
        largest = self.node("Max", largest, self.number("least", 1e-30))
        unit = self.node("Div", largest, self.number("most", 127.0))
        return self.node("Mul", self.node("Round", self.node("Div", value, unit)), unit)

    def stored(self, weights: FloatArray, name: str) -> str:
        """Weights (inputs, outputs) in int8, dequantised, with a scale for each output.

        The zero points are zeros, but ONNX Runtime needs them to compute the product.
        """
        largest = np.abs(weights).max(axis=0)
        scales = (np.where(largest > 0.0, largest, 1.0) / 127.0).astype(np.float32)
        return self.node(
            "DequantizeLinear",
            self.constant(name, np.round(weights / scales).astype(np.int8)),
            self.constant(f"{name}.scale", scales),
            self.constant(f"{name}.zero", np.zeros(scales.size, np.int8)),
            axis=1,
        )

    def number(self, name: str, value: float) -> str:
        """A float32 constant."""
        return self.constant(name, np.array(value, np.float32))


def _array(tensor: torch.Tensor | None) -> FloatArray:
    assert tensor is not None
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)
