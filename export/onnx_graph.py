"""ONNX files, written node by node: the graph holds what `walk` visits and nothing else.

Inputs and outputs, float32, batch of any size:

* window:       features (batch, frames, bands) -> posteriors (batch, labels)
* window_audio: audio (batch, samples) in [-1, 1) -> posteriors (batch, labels)
* stream:       features (batch, stride, bands), state (batch, size)
                -> posteriors (batch, labels), next_state (batch, size)
* stream_audio: audio (batch, stride * hop), state (batch, size) -> posteriors, next_state

The state is every left context flattened from (channels, time) and joined in the order of
`FoldedNetwork.contexts`; before them, in stream_audio, come the newest samples, which the next
frames overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.network import CLASSIFIER, FoldedNetwork, Layer, walk
from export.quantised import LOW, QuantisedLayer, QuantisedNetwork
from kws import frontend
from kws.config import FeatureConfig

# Opset 21 with IR 10: the newest that the oldest supported onnxruntime, 1.20, documents.
OPSET = 21
IR_VERSION = 10


class GraphWriter:
    """Nodes and constants in the order in which they are made; names are made from counts."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, content: NDArray[Any]) -> str:
        """A constant by name; the same name always means the same content."""
        self.constants.setdefault(name, numpy_helper.from_array(content, name))
        return name

    def numbers(self, *values: int) -> str:
        """An int64 constant, for shapes and axes."""
        name = "_".join(("int", *map(str, values)))
        return self.constant(name, np.array(values, np.int64))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of one output and return that output's name."""
        return self.split(operator, inputs, 1, **attributes)[0]

    def slice(self, value: str, start: int, axis: int) -> str:
        """All of a tensor from `start` on, along one axis."""
        end = np.iinfo(np.int64).max
        return self.node("Slice", value, *map(self.numbers, (start, end, axis)))

    def split(
        self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Append a node of several outputs."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{index}" for index in range(outputs)]
        node = helper.make_node(operator, inputs, names, name=name, **attributes)
        self.nodes.append(node)
        return names


class OnnxTarget:
    """`walk` into a GraphWriter; values are names of tensors (batch, channels, time)."""

    def __init__(self, writer: GraphWriter, contexts: Mapping[str, str] | None = None) -> None:
        self.writer = writer
        self.contexts = contexts  # of a stream: the tensor that holds each left context
        self.joined: dict[str, str] = {}  # of a stream: context and new steps together

    def settle(self, value: str, name: str) -> str:
        """Hook of the quantised target: the value as it is stored."""
        return value

    def relu(self, value: str, name: str) -> str:
        """The positive part of a value."""
        return self.writer.node("Relu", value)

    def weights(self, layer: Layer) -> tuple[str, str]:
        """The constants (weights, bias) of a layer, weights in ONNX's order of axes."""
        return (
            self.writer.constant(f"{layer.name}.weights", onnx_weights(layer)),
            self.writer.constant(f"{layer.name}.bias", layer.bias),
        )

    def extend(self, value: str, name: str) -> str:
        """See Target."""
        if self.contexts is None:
            return value
        context = self.settle(self.contexts[name], name)
        joined = self.settle(self.writer.node("Concat", context, value, axis=2), name)
        self.joined[name] = joined
        return joined

    def convolve(self, value: str, layer: Layer) -> str:
        """See Target."""
        group = len(layer.bias) if layer.kind == "depthwise" else 1
        result = self.writer.node(
            "Conv", value, *self.weights(layer), group=group, strides=[layer.stride]
        )
        result = self.relu(result, layer.name) if layer.relu else result
        return self.settle(result, layer.name)

    def newest(self, value: str, drop: int) -> str:
        """See Target."""
        if self.contexts is not None:
            return value
        return self.writer.slice(value, drop, axis=2)

    def add_relu(self, left: str, right: str, name: str) -> str:
        """See Target."""
        total = self.relu(self.writer.node("Add", left, right), name)
        return self.settle(total, name)

    def mean(self, value: str, steps: int) -> str:
        """See Target."""
        return self.writer.node("ReduceMean", value, self.writer.numbers(2))

    def classify(self, value: str, layer: Layer) -> str:
        """See Target."""
        flat = self.writer.node("Flatten", value, axis=1)
        weights, bias = self.weights(layer)
        logits = self.writer.node("Gemm", flat, weights, bias, transB=1)
        return self.writer.node("Softmax", logits, axis=1)


class OnnxInt8Target(OnnxTarget):
    """The same graph with every stored value in 8 bits.

    QuantizeLinear and DequantizeLinear stand around float operators, which runtimes fuse into
    integer ones. Activations are stored 128 higher, as uint8: the same integers, and the type for
    which ONNX Runtime has kernels on every x86 processor.
    """

    def __init__(
        self,
        writer: GraphWriter,
        contexts: Mapping[str, str] | None,
        quantised: QuantisedNetwork,
    ) -> None:
        super().__init__(writer, contexts)
        self.quantised = quantised

    def settle(self, value: str, name: str) -> str:
        """Round a value to 8 bits and back."""
        quantisation = self.quantised.values[name]
        writer = self.writer
        parameters = (
            writer.constant(f"{name}.scale", np.array(quantisation.scale, np.float32)),
            writer.constant(
                f"{name}.zero_point", np.array(quantisation.zero_point - LOW, np.uint8)
            ),
        )
        stored = writer.node("QuantizeLinear", value, *parameters)
        return writer.node("DequantizeLinear", stored, *parameters)

    def relu(self, value: str, name: str) -> str:
        """Nothing where the least int8 already stands for zero; runtimes fuse the better for it."""
        if self.quantised.values[name].zero_point == LOW:
            return value
        return super().relu(value, name)

    def weights(self, layer: Layer) -> tuple[str, str]:
        """See OnnxTarget; int8 weights and int32 bias, dequantised.

        The classifier stays float: it is small, and the posteriors are the finer for it.
        """
        if layer.name == CLASSIFIER:
            return super().weights(layer)
        stored = self.quantised.layers[layer.name]
        scales = stored.weight_scales
        constants = (
            (f"{layer.name}.weights", onnx_weights(stored), scales),
            (f"{layer.name}.bias", stored.bias, np.float32(stored.input.scale) * scales),
        )
        dequantised = [
            self.writer.node(
                "DequantizeLinear",
                self.writer.constant(name, content),
                self.writer.constant(f"{name}.scale", scale),
                axis=0,
            )
            for name, content, scale in constants
        ]
        return dequantised[0], dequantised[1]


def onnx_weights(layer: Layer | QuantisedLayer) -> NDArray[Any]:
    """A layer's weights in ONNX's order: (outputs, inputs, kernel); two axes of the classifier."""
    if layer.name == CLASSIFIER:
        return np.ascontiguousarray(layer.weights[:, 0])
    if layer.kind == "depthwise":
        return np.ascontiguousarray(layer.weights.T[:, None])
    return np.ascontiguousarray(layer.weights.transpose(0, 2, 1))


def write_onnx(
    network: FoldedNetwork,
    graph: str,
    features: FeatureConfig,
    metadata: Mapping[str, str],
    quantised: QuantisedNetwork | None = None,
) -> bytes:
    """The file of one graph: "window" or "stream", with "_audio" for the front end inside.

    Int8 where integers are given. Raises onnx.checker.ValidationError for what ONNX would refuse.
    """
    writer = GraphWriter()
    has_audio, has_state = graph.endswith("_audio"), graph.startswith("stream")
    inputs: list[tuple[str, list[int | str]]] = []
    outputs: list[tuple[str, list[int | str]]] = [
        ("posteriors", ["batch", len(network.classifier.bias)])
    ]
    overlap = features.window + (network.stem.stride - 1) * features.hop
    overlap -= network.stem.stride * features.hop  # newest samples that the next step needs
    sizes = [channels * time for _, channels, time in network.contexts()]
    if has_audio and has_state:
        sizes = [overlap, *sizes]
    frames = network.stem.stride if has_state else network.frames
    if has_audio:
        samples = frames * features.hop if has_state else features.sample_rate
        inputs.append(("audio", ["batch", samples]))
    else:
        inputs.append(("features", ["batch", frames, network.bands]))

    contexts: dict[str, str] | None = None
    pieces: list[str] = []
    if has_state:
        inputs.append(("state", ["batch", sum(sizes)]))
        outputs.append(("next_state", ["batch", sum(sizes)]))
        pieces = writer.split("Split", ("state", writer.numbers(*sizes)), len(sizes), axis=1)
        contexts = {
            name: writer.node("Reshape", piece, writer.numbers(0, channels, time))
            for (name, channels, time), piece in zip(
                network.contexts(), pieces[-len(network.contexts()) :], strict=True
            )
        }
    value, kept = "features", []
    if has_audio:
        audio = "audio"
        if has_state:
            audio = writer.node("Concat", pieces[0], "audio", axis=1)
            kept.append(writer.slice(audio, -overlap, axis=1))
        value = _log_mel(writer, audio, features)
    walker = (
        OnnxTarget(writer, contexts)
        if quantised is None
        else OnnxInt8Target(writer, contexts, quantised)
    )
    value = walker.settle(writer.node("Transpose", value, perm=[0, 2, 1]), "features")
    posteriors = walk(network, value, walker)
    if has_state:
        for name, _, time in network.contexts():
            newest = writer.slice(walker.joined[name], -time, axis=2)
            kept.append(writer.node("Flatten", newest, axis=1))
        rename(writer, writer.node("Concat", *kept, axis=1), "next_state")
    rename(writer, posteriors, "posteriors")
    return serialise(writer, graph, inputs, outputs, metadata)


def _log_mel(writer: GraphWriter, audio: str, config: FeatureConfig) -> str:
    """`kws.frontend.log_mel`: audio (batch, samples) -> (batch, frames, bands)."""
    # STFT takes windows of the FFT's size. The window's missing end is zeros, and so many zeros
    # more of signal let the last frame fit.
    missing = config.fft_size - config.window
    hann = np.pad(frontend.window(config), (0, missing))
    signal = writer.node("Unsqueeze", audio, writer.numbers(2))
    signal = writer.node("Pad", signal, writer.numbers(0, 0, 0, 0, missing, 0))
    spectrum = writer.node(
        "STFT",
        signal,
        writer.constant("hop", np.array(config.hop, np.int64)),
        writer.constant("hann", hann),
        writer.constant("fft_size", np.array(config.fft_size, np.int64)),
        onesided=1,
    )
    power = writer.node("ReduceSumSquare", spectrum, writer.numbers(3), keepdims=0)
    energies = writer.node("MatMul", power, _mel_filters(writer, config))
    one = writer.constant("one", np.array(1.0, np.float32))
    return writer.node("Log", writer.node("Add", energies, one))


def _mel_filters(writer: GraphWriter, config: FeatureConfig) -> str:
    """The filters over the floor, (bins, bands), made when the file is loaded.

    A bin lies in two bands at most: the file holds those and not the zeros, seven times as many.
    """
    filters = frontend.mel_filters(config) * np.float32(1.0 / config.floor)
    bands = np.sort(np.argsort(filters, axis=1)[:, -2:], axis=1)
    zeros = writer.node("ConstantOfShape", writer.numbers(*filters.shape))
    return writer.node(
        "ScatterElements",
        zeros,
        writer.constant("mel_bands", bands.astype(np.int64)),
        writer.constant("mel_weights", np.take_along_axis(filters, bands, axis=1)),
        axis=1,
    )


def rename(writer: GraphWriter, old: str, new: str) -> None:
    """Give a tensor that only the caller of the graph reads its public name."""
    for node in writer.nodes:
        node.output[:] = [new if name == old else name for name in node.output]


def serialise(
    writer: GraphWriter,
    graph: str,
    inputs: Sequence[tuple[str, list[int | str]]],
    outputs: Sequence[tuple[str, list[int | str]]],
    metadata: Mapping[str, str],
) -> bytes:
    def described(tensors: Sequence[tuple[str, list[int | str]]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors
        ]

    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            graph,
            described(inputs),
            described(outputs),
            list(writer.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="kws",
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
