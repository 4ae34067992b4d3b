"""The trained network without its normalisations."""

from __future__ import annotations

import copy

import numpy as np
from torch import nn

from export.network import CLASSIFIER, Block, FoldedNetwork, Kind, Layer
from kws.train.batch_norm import fold_batch_norm
from kws.train.network import Block as TrainedBlock
from kws.train.network import Network


def fold(network: Network) -> FoldedNetwork:
    """Fold every batch normalisation of a network in evaluation mode, in double precision."""
    network = copy.deepcopy(network).double()
    fold_batch_norm(network)
    stride = network.config.stride
    stem = _layer("stem", network.stem, network.stem_norm, stride=stride, relu=True)
    blocks = []
    for index, block in enumerate(network.blocks):
        assert isinstance(block, TrainedBlock)
        name = f"block{index}"
        depthwise = _layer(
            f"{name}.depthwise", block.depthwise, block.depthwise_norm, kind="depthwise"
        )
        pointwise = _layer(f"{name}.pointwise", block.pointwise, block.pointwise_norm)
        blocks.append(Block(name, depthwise, pointwise))
    classifier = Layer(
        CLASSIFIER,
        "full",
        network.classifier.weight.detach().numpy()[:, None].astype(np.float32),
        network.classifier.bias.detach().numpy().astype(np.float32),
    )
    return FoldedNetwork(stem, tuple(blocks), network.config.pool, classifier)


def _layer(
    name: str,
    convolution: nn.Conv1d,
    norm: nn.BatchNorm1d,
    kind: Kind = "full",
    stride: int = 1,
    relu: bool = False,
) -> Layer:
    """torch's (outputs, inputs, kernel) and the bias that is left of the normalisation after it."""
    weights = convolution.weight.detach().numpy()
    turned = weights[:, 0].T if kind == "depthwise" else weights.transpose(0, 2, 1)
    return Layer(
        name,
        kind,
        np.ascontiguousarray(turned, np.float32),
        norm.bias.detach().numpy().astype(np.float32),
        stride,
        relu,
    )
