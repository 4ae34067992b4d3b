"""A small encoder of random weights, and its file."""

from __future__ import annotations

import torch

from export.encoder_graph import write_encoder
from kws.train.encoder import EncoderConfig, EncoderNetwork


def small_encoder(**sizes: int) -> EncoderNetwork:
    """Of sizes that are no whole tiles, whose posteriors are decided."""
    torch.manual_seed(0)
    small = {"width": 24, "heads": 3, "hidden": 40, "queries": 3}
    network = EncoderNetwork(EncoderConfig(**{**small, **sizes})).eval()
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim == 1:
                weights.add_(0.2 * torch.randn(len(weights)))
        network.classifier.weight *= 4.0
        network.queries.weight *= 4.0
    return network


def encoder_file(**sizes: int) -> bytes:
    """The same as a file of windows, as the verifier is."""
    return write_encoder(small_encoder(**sizes), {})
