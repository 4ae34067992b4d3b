"""TFLite files, float and int8, written with the schema that ai-edge-litert brings along.

Time lies along the width of images of height 1, so that every tensor is (1, 1, time, channels) and
nothing has to be transposed or padded. Tensors by name:

* window: features (1, 1, frames, bands) -> posteriors (1, 1, 1, labels)
* stream: features (1, 1, stride, bands) and, for each left context, state_<name>
          (1, 1, time, channels) -> posteriors (1, 1, 1, labels) and next_state_<name>

Each context is a tensor of its own because in int8 each has its own scale. The inputs and outputs
of an int8 file are int8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from export.network import FoldedNetwork, Layer, walk
from export.quantised import POSTERIORS, Quantisation, QuantisedNetwork

SCHEMA_VERSION = 3
# Lowest versions of the operators that take int8; the float ones are all version 1.
INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3}
INT8_VERSION = 2
METADATA = "kws"

Shape = tuple[int, ...]


def write_tflite(
    network: FoldedNetwork,
    graph: str,
    metadata: Mapping[str, str],
    quantised: QuantisedNetwork | None = None,
) -> bytes:
    """The file of one graph, "window" or "stream"; int8 where integers are given.

    The metadata goes in as one JSON object under the name "kws".
    """
    file = _File(quantised is not None)
    streams = graph == "stream"
    frames = network.stem.stride if streams else network.frames
    target = _TfliteTarget(file, quantised, streams)
    features = target.tensor("features", (1, 1, frames, network.bands), "features")
    inputs = [features]
    if streams:
        for name, channels, time in network.contexts():
            shape = (1, 1, time, channels)
            target.contexts[name] = target.tensor(f"state_{name}", shape, name)
            inputs.append(target.contexts[name])
    posteriors = walk(network, features, target)
    return file.content(graph, inputs, [posteriors, *target.next_contexts], metadata)


def read_operators(content: bytes) -> list[str]:
    """The names of a file's operators in the order in which they run."""
    model = schema.ModelT.InitFromPackedBuf(content)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = [names[code.builtinCode] for code in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def read_metadata(content: bytes) -> dict[str, str]:
    """The metadata of a file that `write_tflite` wrote."""
    model = schema.ModelT.InitFromPackedBuf(content)
    buffers = {entry.name.decode(): model.buffers[entry.buffer] for entry in model.metadata}
    metadata: dict[str, str] = json.loads(bytes(buffers[METADATA].data))
    return metadata


class _File:
    """Tensors, buffers and operators; a tensor is known by its index."""

    def __init__(self, is_int8: bool) -> None:
        self.is_int8 = is_int8
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: dict[str, int] = {}  # operator -> index
        self.zero_points: dict[tuple[int, int], int] = {}  # (value, length) -> offset
        self.buffers = [_AlignedBuffer(b"")]  # the first is every variable's

    def tensor(
        self,
        name: str,
        shape: Shape,
        kind: int,
        scales: Any = None,
        zero_point: int = 0,
        axis: int = 0,
    ) -> int:
        """Declare a tensor of the file's buffer 0."""
        quantisation = None
        if scales is not None:
            scales = np.atleast_1d(np.asarray(scales, np.float32))
            quantisation = _Quantisation(scales, zero_point, axis, self.zero_points)
        self.tensors.append(
            schema.TensorT(
                shape=np.array(shape, np.int32),
                type=kind,
                buffer=0,
                name=name,
                quantization=quantisation,
            )
        )
        return len(self.tensors) - 1

    def constant(self, name: str, content: NDArray[Any], **quantisation: Any) -> int:
        """Declare a tensor with content."""
        kind = {
            "float32": schema.TensorType.FLOAT32,
            "int32": schema.TensorType.INT32,
            "int8": schema.TensorType.INT8,
        }[content.dtype.name]
        index = self.tensor(name, content.shape, kind, **quantisation)
        self.tensors[index].buffer = len(self.buffers)
        self.buffers.append(_AlignedBuffer(content.tobytes()))
        return index

    def operator(self, name: str, inputs: list[int], output: int, options: Any) -> int:
        """Append an operator of one output and return that output."""
        self.operators.append(
            schema.OperatorT(
                opcodeIndex=self.codes.setdefault(name, len(self.codes)),
                inputs=np.array(inputs, np.int32),
                outputs=np.array([output], np.int32),
                builtinOptionsType=getattr(
                    schema.BuiltinOptions, type(options).__name__.removesuffix("T")
                ),
                builtinOptions=options,
            )
        )
        return output

    def content(
        self, graph: str, inputs: list[int], outputs: list[int], metadata: Mapping[str, str]
    ) -> bytes:
        """The finished file."""
        entry = schema.MetadataT(name=METADATA, buffer=len(self.buffers))
        self.buffers.append(_AlignedBuffer(json.dumps(dict(metadata)).encode()))
        signature = schema.SignatureDefT(
            inputs=[self._named(index) for index in inputs],
            outputs=[self._named(index) for index in outputs],
            signatureKey=graph,
            subgraphIndex=0,
        )
        subgraph = schema.SubGraphT(
            tensors=self.tensors,
            inputs=np.array(inputs, np.int32),
            outputs=np.array(outputs, np.int32),
            operators=self.operators,
            name=graph,
        )
        model = schema.ModelT(
            version=SCHEMA_VERSION,
            operatorCodes=[self._code(name) for name in self.codes],
            subgraphs=[subgraph],
            description="kws",
            buffers=self.buffers,
            metadata=[entry],
            signatureDefs=[signature],
        )
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _named(self, index: int) -> Any:
        return schema.TensorMapT(name=self.tensors[index].name, tensorIndex=index)

    def _code(self, name: str) -> Any:
        code = getattr(schema.BuiltinOperator, name)
        version = INT8_VERSIONS.get(name, INT8_VERSION) if self.is_int8 else 1
        return schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=version)


class _TfliteTarget:
    """`walk` into a _File; values are indexes of tensors (1, 1, time, channels)."""

    def __init__(self, file: _File, quantised: QuantisedNetwork | None, streams: bool) -> None:
        self.file = file
        self.quantised = quantised
        self.streams = streams
        self.contexts: dict[str, int] = {}
        self.next_contexts: list[int] = []

    def tensor(self, name: str, shape: Shape, value: str) -> int:
        """A variable tensor quantised as the named value of the network."""
        if self.quantised is None:
            return self.file.tensor(name, shape, schema.TensorType.FLOAT32)
        return self._int8(name, shape, self.quantised.values[value])

    def _int8(self, name: str, shape: Shape, quantisation: Quantisation) -> int:
        return self.file.tensor(
            name, shape, schema.TensorType.INT8, quantisation.scale, quantisation.zero_point
        )

    def _like(self, name: str, time: int, other: int) -> int:
        """A tensor of another length in time, otherwise like an existing one."""
        model = self.file.tensors[other]
        shape = (1, 1, time, self._shape(other)[3])
        index = self.file.tensor(name, shape, model.type)
        self.file.tensors[index].quantization = model.quantization
        return index

    def _shape(self, index: int) -> Shape:
        return tuple(int(size) for size in self.file.tensors[index].shape)

    def _slice(self, value: int, start: int, name: str) -> int:
        """All steps from `start` on."""
        time = self._shape(value)[2] - start
        output = self._like(name, time, value)
        begin = self.file.constant(f"{name}.begin", np.array([0, 0, start, 0], np.int32))
        size = self.file.constant(f"{name}.size", np.array(self._shape(output), np.int32))
        return self.file.operator("SLICE", [value, begin, size], output, schema.SliceOptionsT())

    def _weights(self, layer: Layer) -> list[int]:
        """The constants (weights, bias), weights in TensorFlow Lite's order of axes."""
        weights: NDArray[Any] = layer.weights
        bias: NDArray[Any] = layer.bias
        axis = 3 if layer.kind == "depthwise" else 0
        of_weights: dict[str, Any] = {}
        of_bias: dict[str, Any] = {}
        if self.quantised is not None:
            stored = self.quantised.layers[layer.name]
            weights, bias, scales = stored.weights, stored.bias, stored.weight_scales
            of_weights = {"scales": scales, "axis": axis}
            of_bias = {"scales": np.float32(stored.input.scale) * scales}
        weights = weights[None, None] if layer.kind == "depthwise" else weights[:, None]
        return [
            self.file.constant(f"{layer.name}.weights", weights, **of_weights),
            self.file.constant(f"{layer.name}.bias", bias, **of_bias),
        ]

    def extend(self, value: int, name: str) -> int:
        """See Target."""
        if not self.streams:
            return value
        context = self.contexts[name]
        kept, new = self._shape(context)[2], self._shape(value)[2]
        output = self._like(f"{name}.joined", kept + new, value)
        options = schema.ConcatenationOptionsT(axis=2)
        joined = self.file.operator("CONCATENATION", [context, value], output, options)
        self.next_contexts.append(self._slice(joined, new, f"next_state_{name}"))
        return joined

    def convolve(self, value: int, layer: Layer) -> int:
        """See Target."""
        time = (self._shape(value)[2] - layer.kernel) // layer.stride + 1
        output = self.tensor(layer.name, (1, 1, time, len(layer.bias)), layer.name)
        activation = (
            schema.ActivationFunctionType.RELU if layer.relu else schema.ActivationFunctionType.NONE
        )
        common = {
            "padding": schema.Padding.VALID,
            "strideH": 1,
            "strideW": layer.stride,
            "fusedActivationFunction": activation,
        }
        inputs = [value, *self._weights(layer)]
        if layer.kind == "depthwise":
            options = schema.DepthwiseConv2DOptionsT(depthMultiplier=1, **common)
            return self.file.operator("DEPTHWISE_CONV_2D", inputs, output, options)
        return self.file.operator("CONV_2D", inputs, output, schema.Conv2DOptionsT(**common))

    def newest(self, value: int, drop: int) -> int:
        """See Target."""
        if self.streams:
            return value
        name = self.file.tensors[value].name
        return self._slice(value, drop, f"{name}.newest")

    def add_relu(self, left: int, right: int, name: str) -> int:
        """See Target."""
        output = self.tensor(name, self._shape(left), name)
        options = schema.AddOptionsT(fusedActivationFunction=schema.ActivationFunctionType.RELU)
        return self.file.operator("ADD", [left, right], output, options)

    def mean(self, value: int, steps: int) -> int:
        """See Target."""
        options = schema.Pool2DOptionsT(
            padding=schema.Padding.VALID, strideH=1, strideW=1, filterHeight=1, filterWidth=steps
        )
        output = self._like("pool", 1, value)
        return self.file.operator("AVERAGE_POOL_2D", [value], output, options)

    def classify(self, value: int, layer: Layer) -> int:
        """See Target."""
        # A convolution, not FULLY_CONNECTED: ai-edge-litert rounds the latter's sums once and
        # tflite-runtime twice, and both round a convolution's twice.
        logits = self.convolve(value, layer)
        shape = self._shape(logits)
        if self.quantised is None:
            output = self.tensor("posteriors", shape, layer.name)
        else:
            output = self._int8("posteriors", shape, POSTERIORS)
        return self.file.operator("SOFTMAX", [logits], output, schema.SoftmaxOptionsT(beta=1.0))


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer at a multiple of 16 bytes, as the schema demands and its Python code forgets."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    def Pack(self, builder: Any) -> Any:  # noqa: N802 (flatbuffers calls it so)
        """Write the table and its vector."""
        vector = None
        if self.content:
            builder.StartVector(1, len(self.content), 16)
            builder.head -= len(self.content)
            builder.Bytes[builder.head : builder.head + len(self.content)] = self.content
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


class _Quantisation(schema.QuantizationParametersT):  # type: ignore[misc]
    """Quantisation parameters whose vector of zero points is stored once for all tensors.

    There is a 64-bit zero for every channel of every weight: a fifth of the file if repeated.
    """

    def __init__(
        self,
        scales: NDArray[np.float32],
        zero_point: int,
        axis: int,
        zero_points: dict[tuple[int, int], int],
    ) -> None:
        super().__init__()
        self.scales = scales
        self.key = (zero_point, len(scales))
        self.axis = axis
        self.zero_points = zero_points

    def Pack(self, builder: Any) -> Any:  # noqa: N802 (flatbuffers calls it so)
        """Write the table and those vectors that are not there yet."""
        if self.key not in self.zero_points:
            value, length = self.key
            vector = builder.CreateNumpyVector(np.full(length, value, np.int64))
            self.zero_points[self.key] = vector
        scales = builder.CreateNumpyVector(self.scales)
        schema.QuantizationParametersStart(builder)
        schema.QuantizationParametersAddScale(builder, scales)
        schema.QuantizationParametersAddZeroPoint(builder, self.zero_points[self.key])
        schema.QuantizationParametersAddQuantizedDimension(builder, self.axis)
        return schema.QuantizationParametersEnd(builder)
