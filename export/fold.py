"""The trained network without its normalisations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from export.network import CLASSIFIER, Block, FoldedNetwork, Kind, Layer
from kws.train.network import Block as TrainedBlock
from kws.train.network import Network

DoubleArray = NDArray[np.float64]


def fold(network: Network) -> FoldedNetwork:
    """Fold every batch normalisation of a network in evaluation mode, in double precision."""
    scale, shift = _affine(network.feature_norm)
    weights = _double(network.stem.weight)  # (channels, bands, kernel)
    bias = np.einsum("obk,b->o", weights, shift)
    stride = network.config.stride
    stem = _folded(
        "stem", weights * scale[:, None], bias, network.stem_norm, stride=stride, relu=True
    )
    blocks = []
    for index, block in enumerate(network.blocks):
        assert isinstance(block, TrainedBlock)
        name, none = f"block{index}", np.zeros(block.depthwise.out_channels)
        weights = _double(block.depthwise.weight)
        depthwise = _folded(
            f"{name}.depthwise", weights, none, block.depthwise_norm, kind="depthwise"
        )
        weights = _double(block.pointwise.weight)
        pointwise = _folded(f"{name}.pointwise", weights, none, block.pointwise_norm)
        blocks.append(Block(name, depthwise, pointwise))
    classifier = Layer(
        CLASSIFIER,
        "full",
        _double(network.classifier.weight)[:, None].astype(np.float32),
        _double(network.classifier.bias).astype(np.float32),
    )
    return FoldedNetwork(stem, tuple(blocks), network.config.pool, classifier)


def _folded(
    name: str,
    weights: DoubleArray,
    bias: DoubleArray,
    norm: nn.BatchNorm1d,
    kind: Kind = "full",
    stride: int = 1,
    relu: bool = False,
) -> Layer:
    """torch's (outputs, inputs, kernel) and the normalisation after it as one layer."""
    scale, shift = _affine(norm)
    weights = weights * scale[:, None, None]
    bias = bias * scale + shift
    turned = weights[:, 0].T if kind == "depthwise" else weights.transpose(0, 2, 1)
    return Layer(
        name,
        kind,
        np.ascontiguousarray(turned, np.float32),
        bias.astype(np.float32),
        stride,
        relu,
    )


def _affine(norm: nn.BatchNorm1d) -> tuple[DoubleArray, DoubleArray]:
    """(scale, shift) such that norm(x) = x * scale + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    deviation = np.sqrt(_double(norm.running_var) + norm.eps)
    scale = _double(norm.weight) / deviation
    return scale, _double(norm.bias) - _double(norm.running_mean) * scale


def _double(tensor: Tensor) -> DoubleArray:
    return tensor.detach().double().numpy()
