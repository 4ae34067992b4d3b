"""A network of `kws.train.embedding` out of the int8 file that it shares with another network.

So it can be trained further without its checkpoint. Its weights are what 8 bits have kept of them:
at most a 254th of a channel's largest weight off.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from kws.errors import ModelError
from kws.train.embedding import EmbeddingConfig, EmbeddingNetwork
from kws.train.graphs import without_norms

ARTEFACT = "window.int8.onnx"


def read_embedding(content: bytes) -> EmbeddingNetwork:
    """The network, in evaluation mode, its normalisations the identity.

    Raises ModelError where there is none in the file.
    """
    try:
        graph = onnx.load_from_string(content).graph
    except Exception as error:  # protobuf's own kinds
        raise ModelError("this is not an ONNX file") from error
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    try:
        hidden, _, joined, _ = stored["join.weights"].shape
        network = EmbeddingNetwork(
            EmbeddingConfig(
                bands=len(stored["images.weights"]),
                labels=len(stored["head.bias"]),
                joined=joined,
                hidden=hidden,
            )
        )
        _fill(network, stored)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"this file holds no network of --network embedding ({error}); start from a "
            "checkpoint, or from a model that was exported --together-with another"
        ) from error
    return network.eval()


@torch.no_grad()
def _fill(network: EmbeddingNetwork, stored: Mapping[str, NDArray[np.generic]]) -> None:
    def value(name: str) -> Tensor:
        numbers = stored[name].astype(np.float32)
        if (scale := stored.get(f"{name}.scale")) is not None:  # one for each output channel
            numbers = numbers * scale.reshape(-1, *[1] * (numbers.ndim - 1)).astype(np.float32)
        return torch.from_numpy(numbers)

    without_norms(network)
    network.remap.weight.copy_(value("images.weights").T)
    network.remap.bias.copy_(value("images.bias"))
    network.first_scale.copy_(value("first.scale")[0])
    network.first_shift.copy_(value("first.shift")[0])
    for number, layers in enumerate(network.convolutions()):
        for index, layer in enumerate(layers):
            assert layer.bias is not None
            layer.weight.copy_(value(f"stage{number}.{index}.weights"))
            layer.bias.copy_(value(f"stage{number}.{index}.bias"))
    network.join.weight.copy_(value("join.weights")[..., 0])
    network.join_norm.bias.copy_(value("join.bias"))
    network.classifier.weight.copy_(value("head.weights"))
    network.classifier.bias.copy_(value("head.bias"))
