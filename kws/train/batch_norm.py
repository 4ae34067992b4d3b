"""The normalisations of a network, folded into its convolutions: what an exported graph holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kws.train.network import Block, Network


@torch.no_grad()
def fold_batch_norm(network: Network) -> None:
    """Make every normalisation of a network in evaluation mode the identity but for its bias.

    The network computes what it did, to rounding; it is then as `kws.train.graphs.read_network`
    gives it, and `write_network` takes it.
    """
    scale, shift = _affine(network.feature_norm)
    before = torch.einsum("obk,b->o", network.stem.weight, shift)
    network.stem.weight.mul_(scale[:, None])
    _reset(network.feature_norm, torch.zeros_like(shift))
    _fold(network.stem, network.stem_norm, before)
    for block in network.blocks:
        assert isinstance(block, Block)
        _fold(block.depthwise, block.depthwise_norm)
        _fold(block.pointwise, block.pointwise_norm)


def _fold(convolution: nn.Conv1d, norm: nn.BatchNorm1d, before: Tensor | float = 0.0) -> None:
    """Into a convolution whose outputs are `before` (channels,) higher than its weights give."""
    scale, shift = _affine(norm)
    convolution.weight.mul_(scale[:, None, None])
    _reset(norm, before * scale + shift)


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """(scale, shift) such that norm(x) = x * scale + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def _reset(norm: nn.BatchNorm1d, bias: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - norm.eps)  # so that it divides by exactly 1
    norm.weight.fill_(1.0)
    norm.bias.copy_(bias)
