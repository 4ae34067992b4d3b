"""The integers of an int8 stream graph that `python -m export` wrote, from the TFLite file itself."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.network import Block, FoldedNetwork, Kind, Layer
from export.quantised import (
    Quantisation,
    QuantisedLayer,
    QuantisedNetwork,
    add_of,
    products_of,
    rescale_of,
    softmax_of,
)
from kws.errors import BackendUnavailable, ModelError


def read_stream(content: bytes) -> QuantisedNetwork:
    """The network of a file's content.

    Raises ModelError where the content is no such graph, and BackendUnavailable where the schema
    of TFLite files, which comes with ai-edge-litert, is not installed.
    """
    tensors = _Tensors(content)
    try:
        return _network(tensors)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise ModelError(
            f"the file is not an int8 stream graph that python -m export wrote ({error}); "
            "export the model again"
        ) from error


class _Tensors:
    """The tensors of a file by name."""

    def __init__(self, content: bytes) -> None:
        try:
            from ai_edge_litert import schema_py_generated as schema
        except ImportError as error:
            raise BackendUnavailable(
                "reading TFLite files needs ai-edge-litert; pip install ai-edge-litert"
            ) from error
        if content[4:8] != b"TFL3":
            raise ModelError("the file is not a TFLite file; export the model again")
        try:
            self._model = schema.ModelT.InitFromPackedBuf(bytearray(content))
            tensors = self._model.subgraphs[0].tensors
        except Exception as error:  # a truncated file raises whatever the damage leads to
            raise ModelError(f"the TFLite file is damaged ({error}); export it again") from error
        self._by_name = {tensor.name.decode(): tensor for tensor in tensors}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def names(self) -> list[str]:
        """All names, in the file's order."""
        return list(self._by_name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Its sizes."""
        return tuple(int(size) for size in self._by_name[name].shape)

    def scales(self, name: str) -> NDArray[np.float32]:
        """One scale, or one for each output."""
        return np.asarray(self._by_name[name].quantization.scale, np.float32)

    def quantisation(self, name: str) -> Quantisation:
        """That of a tensor with one scale."""
        zero_points = self._by_name[name].quantization.zeroPoint
        return Quantisation(float(self.scales(name)[0]), int(zero_points[0]))

    def constant(self, name: str, kind: type) -> NDArray[Any]:
        """The content of a constant."""
        data = self._model.buffers[self._by_name[name].buffer].data
        return np.frombuffer(bytes(data), kind).reshape(self.shape(name))


def _network(tensors: _Tensors) -> QuantisedNetwork:
    names = [name for name in tensors.names() if re.fullmatch(r"block\d+", name)]
    values = {name: tensors.quantisation(name) for name in ("features", "stem", *names)}
    layers = {"stem": _layer(tensors, "stem", "features", "full", tensors.shape("features")[2])}
    adds, blocks, before = {}, [], "stem"
    for name in names:
        depthwise, pointwise = f"{name}.depthwise", f"{name}.pointwise"
        layers[depthwise] = _layer(tensors, depthwise, before, "depthwise")
        layers[pointwise] = _layer(tensors, pointwise, depthwise, "full")
        values |= {inner: tensors.quantisation(inner) for inner in (depthwise, pointwise)}
        adds[name] = add_of(name, values[before], values[pointwise], values[name])
        blocks.append(Block(name, _folded(layers[depthwise]), _folded(layers[pointwise])))
        before = name
    layers["classifier"] = _layer(tensors, "classifier", before, "dense")
    values["classifier"] = tensors.quantisation("classifier")
    network = FoldedNetwork(
        _folded(layers["stem"]),
        tuple(blocks),
        tensors.shape(f"state_{before}")[2] + 1,
        _folded(layers["classifier"]),
    )
    return QuantisedNetwork(network, values, layers, adds, softmax_of(values["classifier"]))


def _layer(
    tensors: _Tensors, name: str, source: str, kind: Kind, stride: int = 1
) -> QuantisedLayer:
    stored = tensors.constant(f"{name}.weights", np.int8)
    weights = {"full": lambda: stored[:, 0], "depthwise": lambda: stored[0, 0]}.get(
        kind, lambda: stored
    )()
    bias = tensors.constant(f"{name}.bias", np.int32)
    input_, output = tensors.quantisation(source), tensors.quantisation(name)
    scales = np.broadcast_to(tensors.scales(f"{name}.weights"), bias.shape)
    return QuantisedLayer(
        name=name,
        kind=kind,
        weights=weights,
        weight_scales=scales,
        bias=bias,
        stride=stride,
        relu=name == "stem",
        input=input_,
        output=output,
        rescales=tuple(
            rescale_of(product / output.scale) for product in products_of(kind, input_, scales)
        ),
    )


def _folded(layer: QuantisedLayer) -> Layer:
    """The layer in float, which gives the network its shape."""
    channel_axis = 1 if layer.kind == "depthwise" else 0
    shape = [1] * layer.weights.ndim
    shape[channel_axis] = -1
    scales = layer.weight_scales.reshape(shape)
    return Layer(
        layer.name,
        layer.kind,
        layer.weights * scales,
        layer.bias * np.float32(layer.input.scale) * layer.weight_scales,
        layer.stride,
        layer.relu,
    )
