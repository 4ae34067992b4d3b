"""A network of `kws.train.encoder` out of its int8 file.

So it can be trained further without its checkpoint. Its large weights are what 8 bits have kept of
them: at most a 254th of a channel's largest weight off.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from kws.errors import ModelError
from kws.train.encoder import KERNEL, EncoderConfig, EncoderNetwork, Layer


def read_encoder(content: bytes) -> EncoderNetwork:
    """The network, in evaluation mode; raises ModelError where there is none in the file."""
    try:
        graph = onnx.load_from_string(content).graph
    except Exception as error:  # protobuf's own kinds
        raise ModelError("this is not an ONNX file") from error
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    try:
        network = EncoderNetwork(_config(stored))
        _fill(network, stored)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"this file holds no network of --network encoder ({error}); start from a checkpoint, "
            "or from a model of such a network"
        ) from error
    return network.eval()


def _config(stored: Mapping[str, NDArray[np.generic]]) -> EncoderConfig:
    inputs, _ = stored["first.weights"].shape
    width, queries = stored["queries"].shape
    steps, _ = stored["positions"].shape
    (size,) = {shape[4] for shape in _shapes(stored)}
    return EncoderConfig(
        bands=inputs // KERNEL,
        labels=len(stored["classifier.bias"]),
        width=width,
        heads=width // size,
        layers=sum(name.endswith(".attention_in.weights") for name in stored),
        hidden=stored["layer0.linear_in.weights"].shape[1],
        queries=queries,
        frames=2 * steps,
    )


def _shapes(stored: Mapping[str, NDArray[np.generic]]) -> list[list[int]]:
    """Those that query, key and value are brought into: (batch, steps, 3, heads, size)."""
    found = [each.tolist() for each in stored.values() if each.shape == (5,)]
    return [shape for shape in found if shape[:3] == [0, 0, 3]]


@torch.no_grad()
def _fill(network: EncoderNetwork, stored: Mapping[str, NDArray[np.generic]]) -> None:
    def value(name: str) -> Tensor:
        numbers = stored[name].astype(np.float32)
        if (scale := stored.get(f"{name}.scale")) is not None:  # one for each output channel
            numbers = numbers * scale.astype(np.float32)
        return torch.from_numpy(numbers)

    def fill(layer: nn.Module, name: str) -> None:
        weights = value(f"{name}.weights")  # linear maps are stored input by input
        if isinstance(layer, nn.Conv1d):
            weights = weights.reshape(KERNEL, -1, weights.shape[1]).permute(2, 1, 0)
        _copied(layer.weight, weights.T if isinstance(layer, nn.Linear) else weights)
        _copied(layer.bias, value(f"{name}.bias"))

    for name in ("first", "second", "norm", "classifier"):
        fill(getattr(network, name), name)
    network.positions.copy_(value("positions"))
    network.queries.weight.copy_(value("queries").T)
    for number, layer in enumerate(network.layers):
        assert isinstance(layer, Layer)
        for part, map_of_steps in layer.named_children():
            fill(map_of_steps, f"layer{number}.{part}")


def _copied(parameter: object, content: Tensor) -> None:
    assert isinstance(parameter, Tensor)
    parameter.copy_(content)
