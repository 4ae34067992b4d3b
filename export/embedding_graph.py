"""A network that begins with published weights, and one that ships: one int8 window graph in ONNX.

They are of different kinds and seldom err alike: the posteriors are the geometric mean of both (a
logarithmic opinion pool, Genest and Zidek, Statistical Science 1986). Every value is stored in 8
bits, as unsigned integers, with QuantizeLinear and DequantizeLinear around float operators, which
ONNX Runtime fuses into integer ones; weights have a scale for each output channel. No value is
clipped by an operator: the least integer stands for the limit. The head of the network of
`kws.train.embedding`, a hundredth of its arithmetic, stays float.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from export.network import FoldedNetwork, walk
from export.onnx_graph import GraphWriter, OnnxInt8Target, rename, serialise
from export.quantised import QuantisedNetwork
from kws.train.embedding import BANDS, LEAK, LEAST, STAGES, EmbeddingNetwork
from kws.train.network import Network

FloatArray = NDArray[np.float32]
Ranges = Mapping[str, Sequence[float]]


class Together(nn.Module):
    """What the graph computes, in float: the mean of both networks' log-posteriors."""

    def __init__(self, network: EmbeddingNetwork, shipped: Network) -> None:
        super().__init__()
        self.network, self.shipped = network, shipped

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, frames, bands) of one second -> logits (batch, 1, labels)."""
        both = self.network(features)[:, -1:], self.shipped(features)[:, -1:]
        return torch.stack([logits.log_softmax(-1) for logits in both]).mean(0)


@torch.no_grad()
def calibrate(network: EmbeddingNetwork, features: FloatArray) -> dict[str, list[float]]:
    """[least, largest] value of each tensor over windows (clips, frames, bands).

    Rounded to four digits, so that sums in another order, on another machine, change no integer.
    """
    ranges: dict[str, tuple[float, float]] = {}

    def observe(name: str, value: torch.Tensor, least: float = -np.inf) -> None:
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = max(least, min(low, float(value.min()))), max(high, float(value.max()))

    for start in range(0, len(features), 64):
        value = network.images(torch.from_numpy(features[start : start + 64]))
        observe("images", value)
        for number, (stage, layers) in enumerate(zip(STAGES, network.convolutions(), strict=True)):
            for index, layer in enumerate(layers):
                name = f"stage{number}.{index}"
                value = layer(value)
                if number == index == 0:
                    value = value.relu()
                    observe(f"{name}.relu", value)
                    value = value * network.first_scale + network.first_shift
                if stage is not STAGES[-1]:
                    observe(f"{name}.sum", value, LEAST / LEAK)
                    value = functional.leaky_relu(value, LEAK).clamp_min(LEAST)
                observe(name, value)
            if stage.pool != (1, 1):
                value = functional.max_pool2d(value, stage.pool)
        normed = network.embedding_norm(value.squeeze(3))
        observe("join", network.join_norm(network.join(normed)).relu())
    return {name: [float(f"{limit:.4g}") for limit in limits] for name, limits in ranges.items()}


def write_together(
    network: EmbeddingNetwork,
    ranges: Ranges,
    shipped: FoldedNetwork,
    quantised: QuantisedNetwork,
    metadata: Mapping[str, str],
) -> bytes:
    """The file of features (batch, frames, bands) -> posteriors (batch, labels).

    `ranges` are those of `calibrate`, `quantised` the integers of `shipped`. Raises ValueError
    where the networks do not see equally many frames, and onnx.checker.ValidationError for what
    ONNX would refuse.
    """
    frames, config = shipped.frames, network.config
    if config.receptive_field != frames:
        raise ValueError(f"expected networks of {frames} frames, got {config.receptive_field}")
    writer = _Int8Writer(ranges)
    target = OnnxInt8Target(writer, None, quantised)
    turned = writer.node("Transpose", "features", perm=[0, 2, 1])
    posteriors = walk(shipped, target.settle(turned, "features"), target)
    product = writer.node("Mul", posteriors, _embedding(writer, network))
    mean = writer.node("Sqrt", product)
    total = writer.node("ReduceSum", mean, writer.numbers(1), keepdims=1)
    rename(writer, writer.node("Div", mean, total), "posteriors")
    return serialise(
        writer,
        "window",
        [("features", ["batch", frames, config.bands])],
        [("posteriors", ["batch", config.labels])],
        metadata,
    )


def _embedding(writer: _Int8Writer, network: EmbeddingNetwork) -> str:
    """The nodes from "features" to the posteriors of this network alone."""
    network = copy.deepcopy(network).double().eval()
    covered = writer.slice("features", network.config.unheard, axis=1)
    weights = writer.constant("images.weights", _array(network.remap.weight.T))
    bias = writer.constant("images.bias", _array(network.remap.bias))
    bands = writer.node("Add", writer.node("MatMul", covered, weights), bias)
    images = writer.node("Reshape", bands, writer.numbers(0, 0, 2, BANDS))
    value = writer.settle(writer.node("Transpose", images, perm=[0, 2, 1, 3]), "images")
    before = "images"
    for number, (stage, layers) in enumerate(zip(STAGES, network.convolutions(), strict=True)):
        for index, layer in enumerate(layers):
            name = f"stage{number}.{index}"
            content = _array(layer.weight), _array(layer.bias)
            value = writer.convolve(value, before, name, *content, across=int(layer.padding[1]))
            if number == index == 0:
                value = writer.settle(writer.node("Relu", value), f"{name}.relu")
                scale = writer.constant("first.scale", _array(network.first_scale)[None])
                shift = writer.constant("first.shift", _array(network.first_shift)[None])
                value = writer.node("Add", writer.node("Mul", value, scale), shift)
            if stage is not STAGES[-1]:
                value = writer.settle(value, f"{name}.sum")
                value = writer.node("LeakyRelu", value, alpha=LEAK)
            value, before = writer.settle(value, name), name
        if stage.pool != (1, 1):
            pooled = writer.node("MaxPool", value, kernel_shape=stage.pool, strides=stage.pool)
            value = writer.settle(pooled, before)
    joined = writer.node("Relu", writer.convolve(value, before, "join", *_joined(network)))
    joined = writer.settle(joined, "join")
    logits = writer.node(
        "Gemm",
        writer.node("Flatten", joined, axis=1),
        writer.constant("head.weights", _array(network.classifier.weight)),
        writer.constant("head.bias", _array(network.classifier.bias)),
        transB=1,
    )
    return writer.node("Softmax", logits, axis=1)


class _Int8Writer(GraphWriter):
    """A GraphWriter that stores values by their ranges."""

    def __init__(self, ranges: Ranges) -> None:
        super().__init__()
        self._ranges = ranges

    def settle(self, value: str, name: str) -> str:
        """Round a value to 8 bits and back, by the range of that name."""
        low, _ = self._ranges[name]
        zero = np.clip(np.round(-low / self._scale(name)), 0, 255).astype(np.uint8)
        parameters = (
            self.constant(f"{name}.scale", np.array(self._scale(name))),
            self.constant(f"{name}.zero_point", np.array(zero)),
        )
        stored = self.node("QuantizeLinear", value, *parameters)
        return self.node("DequantizeLinear", stored, *parameters)

    def convolve(
        self,
        value: str,
        before: str,
        name: str,
        weights: FloatArray,
        bias: FloatArray,
        across: int = 0,
    ) -> str:
        """A convolution of a value that was stored by the range named `before`."""
        largest = np.abs(weights).max(axis=(1, 2, 3))
        scales = (np.where(largest > 0.0, largest, 1.0) / 127.0).astype(np.float32)
        sums = scales * self._scale(before)
        dequantised = [
            self.node(
                "DequantizeLinear",
                self.constant(f"{name}.{part}", np.round(content).astype(kind)),
                self.constant(f"{name}.{part}.scale", scale),
                axis=0,
            )
            for part, content, scale, kind in (
                ("weights", weights / scales[:, None, None, None], scales, np.int8),
                ("bias", bias / sums, sums, np.int32),
            )
        ]
        return self.node("Conv", value, *dequantised, pads=[0, across, 0, across])

    def _scale(self, name: str) -> np.float32:
        low, high = self._ranges[name]
        return np.float32((high - low) / 255.0)


def _joined(network: EmbeddingNetwork) -> tuple[FloatArray, FloatArray]:
    """The convolution over embeddings with the normalisations before and after it folded in."""
    (before, shift), (after, offset) = map(_affine, (network.embedding_norm, network.join_norm))
    weights = network.join.weight * before[:, None] * after[:, None, None]
    bias = (network.join.weight.sum(dim=2) @ shift) * after + offset
    return _array(weights.unsqueeze(3)), _array(bias)


def _affine(norm: nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    assert norm.running_var is not None
    assert norm.running_mean is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return factor, norm.bias - norm.running_mean * factor


def _array(tensor: torch.Tensor | None) -> FloatArray:
    assert tensor is not None
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)
