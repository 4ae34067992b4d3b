"""What an ONNX file shows before a runtime opens it: whole, self-contained, of sensible sizes.

The file is read at the level of bytes, and more strictly than a runtime reads it: every field must
be one of ONNX's, of the type that ONNX gives it, written in the one way in which protobuf writes
it, and given once where one is expected. Nothing is left that could be read in two ways, so that
what is checked here is what the runtime gets.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from mmap import mmap

from kws.errors import ModelError
from kws.text import printable

# The fields of ONNX's messages (onnx.proto of IR version 13) by number. int: 64 bits; small: 32
# bits or an enumeration; float, double: themselves; bytes, text: themselves; else a message. A star
# marks what may be there several times.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {
        1: "int", 8: "OperatorSetIdProto*", 2: "text", 3: "text", 4: "text", 5: "int", 6: "text",
        7: "GraphProto", 14: "StringStringEntryProto*", 20: "TrainingInfoProto*",
        25: "FunctionProto*", 26: "DeviceConfigurationProto*",
    },
    "OperatorSetIdProto": {1: "text", 2: "int"},
    "GraphProto": {
        1: "NodeProto*", 2: "text", 5: "TensorProto*", 15: "SparseTensorProto*", 10: "text",
        11: "ValueInfoProto*", 12: "ValueInfoProto*", 13: "ValueInfoProto*",
        14: "TensorAnnotation*", 16: "StringStringEntryProto*",
    },
    "NodeProto": {
        1: "text*", 2: "text*", 3: "text", 4: "text", 7: "text", 8: "text", 5: "AttributeProto*",
        6: "text", 9: "StringStringEntryProto*", 10: "NodeDeviceConfigurationProto*",
    },
    "AttributeProto": {
        1: "text", 21: "text", 13: "text", 20: "small", 2: "float", 3: "int", 4: "bytes",
        5: "TensorProto", 6: "GraphProto", 22: "SparseTensorProto", 14: "TypeProto", 7: "float*",
        8: "int*", 9: "bytes*", 10: "TensorProto*", 11: "GraphProto*", 23: "SparseTensorProto*",
        15: "TypeProto*",
    },
    "TensorProto": {
        1: "int*", 2: "small", 3: "Segment", 4: "float*", 5: "small*", 6: "bytes*", 7: "int*",
        8: "text", 12: "text", 9: "bytes", 13: "StringStringEntryProto*", 14: "small",
        10: "double*", 11: "int*", 16: "StringStringEntryProto*",
    },
    "Segment": {1: "int", 2: "int"},
    "StringStringEntryProto": {1: "text", 2: "text"},
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto", 3: "int*"},
    "TypeProto": {
        1: "Tensor", 4: "Sequence", 5: "Map", 9: "Optional", 8: "SparseTensor", 7: "Opaque",
        6: "text",
    },
    "Tensor": {1: "small", 2: "TensorShapeProto"},
    "TensorShapeProto": {1: "Dimension*"},
    "Dimension": {1: "int", 2: "text", 3: "text"},
    "Sequence": {1: "TypeProto"},
    "Map": {1: "small", 2: "TypeProto"},
    "Optional": {1: "TypeProto"},
    "SparseTensor": {1: "small", 2: "TensorShapeProto"},
    "Opaque": {1: "text", 2: "text"},
    "NodeDeviceConfigurationProto": {1: "text", 2: "ShardingSpecProto*", 3: "small"},
    "ShardingSpecProto": {
        1: "text", 2: "int*", 3: "IntIntListEntryProto*", 4: "ShardedDimProto*",
    },
    "IntIntListEntryProto": {1: "int", 2: "int*"},
    "ShardedDimProto": {1: "int", 2: "SimpleShardedDimProto*"},
    "SimpleShardedDimProto": {1: "int", 2: "text", 3: "int"},
    "ValueInfoProto": {1: "text", 2: "TypeProto", 3: "text", 4: "StringStringEntryProto*"},
    "TensorAnnotation": {1: "text", 2: "StringStringEntryProto*"},
    "TrainingInfoProto": {
        1: "GraphProto", 2: "GraphProto", 3: "StringStringEntryProto*",
        4: "StringStringEntryProto*",
    },
    "FunctionProto": {
        1: "text", 4: "text*", 5: "text*", 6: "text*", 11: "AttributeProto*", 7: "NodeProto*",
        8: "text", 9: "OperatorSetIdProto*", 10: "text", 13: "text", 12: "ValueInfoProto*",
        14: "StringStringEntryProto*",
    },
    "DeviceConfigurationProto": {1: "text", 2: "small", 3: "text*"},
}  # fmt: skip

# Operators of ONNX Runtime itself. All others would need a library beside the model.
STANDARD = frozenset({"", "ai.onnx"})
DOMAINS = STANDARD | {"ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"}
# Of com.microsoft, those that quantising and optimising make. Others load code or files.
MICROSOFT = frozenset(
    (
        "Attention", "BiasAdd", "BiasDropout", "BiasGelu", "BiasSoftmax", "BiasSplitGelu",
        "CropAndResize", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul",
        "DynamicTimeWarping", "ExpandDims", "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul",
        "FusedMatMulActivation", "Gelu", "GridSample", "GroupNorm", "Inverse", "Irfft",
        "LayerNormalization", "MatMulBnb4", "MatMulFpQ4", "MatMulInteger16",
        "MatMulIntegerToFloat", "MatMulNBits", "MaxpoolWithMask", "MulInteger",
        "MultiHeadAttention", "MurmurHash3", "NGramRepeatBlock", "NhwcConv", "NhwcFusedConv",
        "NhwcMaxPool", "Pad", "QAttention", "QGemm", "QLinearAdd", "QLinearAveragePool",
        "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu",
        "QLinearMul", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
        "QuantizeLinear", "QuickGelu", "Range", "ReduceSumInteger", "Rfft",
        "SimplifiedLayerNormalization", "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization", "SparseToDenseMatMul", "TransposeMatMul", "Trilu",
        "Unique", "UnfoldTensor",
    )
)  # fmt: skip
# It turns for as long as its data say.
UNBOUNDED = frozenset({"Loop"})

# Bits of a number of each type, and None for text.
BITS: dict[int, int | None] = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: None, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64,
    14: 64, 15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip

DEEPEST = 64  # messages within messages; protobuf itself stops at 100
MOST_FIELDS = 500_000
LONGEST_AXIS = 1 << 24
MOST_NUMBERS = 1 << 28  # that a declared tensor may have

# FIELDS as they are looked up: the type of each field, and whether it may be there several times.
_KNOWN = {
    kind: {number: (each.rstrip("*"), each.endswith("*")) for number, each in fields.items()}
    for kind, fields in FIELDS.items()
}
_VARINTS = {"int", "small"}
_WIDTHS = {"float": 4, "double": 8}


class Message:
    """A message that has been read: the values of each field by its number.

    Whole numbers are integers, and bytes are a view of the file's. Numbers of arrays are not kept,
    but for the axes of shapes, which are; of the others `count` tells how many there are. A single
    number of 32 bits with a point is kept.
    """

    __slots__ = ("count", "values")

    def __init__(self) -> None:
        self.values: dict[int, list[int | float | memoryview | str | Message]] = {}
        self.count: dict[int, int] = {}

    def messages(self, number: int) -> Iterator[Message]:
        """Those of a field."""
        return (each for each in self.values.get(number, ()) if isinstance(each, Message))

    def texts(self, number: int) -> list[str]:
        """Those of a field."""
        return [each for each in self.values.get(number, ()) if isinstance(each, str)]

    def text(self, number: int) -> str:
        """The only one of a field; empty where it is not given."""
        return next(iter(self.texts(number)), "")

    def integers(self, number: int) -> list[int]:
        """Those of a field."""
        return [each for each in self.values.get(number, ()) if isinstance(each, int)]

    def integer(self, number: int) -> int:
        """The only one of a field; 0 where it is not given."""
        return next(iter(self.integers(number)), 0)

    def number(self, number: int) -> float:
        """The only one with a point of a field; 0 where it is not given."""
        found = (each for each in self.values.get(number, ()) if isinstance(each, float))
        return next(found, 0.0)

    def content(self, number: int) -> memoryview | None:
        """The bytes of a field; None where it is not given."""
        found = (each for each in self.values.get(number, ()) if isinstance(each, memoryview))
        return next(found, None)


def check_onnx(content: bytes | mmap) -> Message:
    """Raise ModelError unless this is a complete ONNX file without external data or custom code.

    It has no weights in other files, no operators but ONNX Runtime's own and none that repeats for
    as long as data say, and no tensor of more than MOST_NUMBERS numbers. Returns its ModelProto.
    """
    # ONNX Runtime takes its own format for what has this mark, whatever else it may be.
    if content[4:8] == b"ORTM":
        raise ModelError("this is a file of ONNX Runtime's own format; give the ONNX file")
    try:
        reader = _Reader(memoryview(content))
        model = reader.message("ModelProto", 0, len(content), 0)
        _check_model(model)
        if reader.odd:
            raise ValueError("a tag of more than 32 bits")
    except (IndexError, ValueError) as error:
        raise ModelError("this is not a complete ONNX file; export or download it again") from error
    return model


class _Reader:
    """Reads a message of protobuf; raises ValueError or IndexError where it is none of ONNX's."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._fields = 0
        self.odd = False  # whether something was written as no program of good will writes it

    def message(self, kind: str, start: int, end: int, depth: int) -> Message:
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        known, at = _KNOWN[kind], start
        message = Message()
        while at < end:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise ValueError("too many fields")
            tag, at = self._varint(at, end)
            if tag >= 1 << 32:
                self.odd = True
                tag &= 0xFFFF_FFFF  # as protobuf does
            number, wire = tag >> 3, tag & 7
            if number not in known:
                if depth == 0:
                    raise ValueError("no field of a model")
                raise ModelError(
                    f"it holds field {number} of {kind}, which this release does not know; "
                    "export the model for an older version of ONNX, with onnx.save"
                )
            single, repeated = known[number]
            if not repeated and (number in message.values or number in message.count):
                raise ValueError(f"field {number} of {kind} twice")
            if wire == 2:
                length, at = self._varint(at, end)
                if at + length > end:
                    raise ValueError("cut short")
                self._of_length(message, number, at, at + length, single, repeated, depth)
                at += length
            elif wire == 0 and single in _VARINTS:
                value, at = self._integer(at, end, single)
                message.values.setdefault(number, []).append(value)
            elif wire == (5 if single == "float" else 1) and single in _WIDTHS:
                at += _WIDTHS[single]
                if at > end:
                    raise ValueError("cut short")
                if not repeated:
                    (real,) = struct.unpack("<f", self._content[at - 4 : at])
                    message.values[number] = [real]
                message.count[number] = message.count.get(number, 0) + 1
            else:
                raise ValueError(f"wire type {wire} of field {number} of {kind}")
        return message

    def _of_length(
        self,
        message: Message,
        number: int,
        start: int,
        end: int,
        single: str,
        repeated: bool,
        depth: int,
    ) -> None:
        if single == "text":
            text = bytes(self._content[start:end]).decode()
            message.values.setdefault(number, []).append(text)
        elif single == "bytes":
            message.values.setdefault(number, []).append(self._content[start:end])
            message.count[number] = message.count.get(number, 0) + end - start
        elif single in FIELDS:
            inner = self.message(single, start, end, depth + 1)
            message.values.setdefault(number, []).append(inner)
        elif not repeated:
            raise ValueError(f"several numbers for field {number}")
        elif single in _WIDTHS:
            if (end - start) % _WIDTHS[single]:
                raise ValueError("a part of a number")
            amount = (end - start) // _WIDTHS[single]
            message.count[number] = message.count.get(number, 0) + amount
        elif end - start > 512:  # the axes of a shape are few; weights are counted by their ends
            amount = sum(byte < 128 for byte in self._content[start:end])
            if self._content[end - 1] > 127:
                raise ValueError("cut short")
            message.count[number] = message.count.get(number, 0) + amount
        else:
            at = start
            while at < end:
                value, at = self._integer(at, end, single)
                message.values.setdefault(number, []).append(value)

    def _integer(self, at: int, end: int, kind: str) -> tuple[int, int]:
        value, at = self._varint(at, end)
        if value >= 1 << 63:
            value -= 1 << 64
        if kind == "small" and not -(1 << 31) <= value < 1 << 31:
            raise ValueError("a number of more than 32 bits")
        return value, at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        content, value = self._content, 0
        if at < end and content[at] < 128:  # as nearly all are
            return content[at], at + 1
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError("cut short")
            byte = content[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                if (byte == 0 and shift) or value >= 1 << 64:
                    raise ValueError("a number not in its shortest form")
                return value, at
        raise ValueError("an endless number")


# What the fields say. Their numbers are those of onnx.proto.


def _check_model(model: Message) -> None:
    graphs = list(model.messages(7))
    if not graphs or not model.integers(1):
        raise ValueError("no graph")
    functions = list(model.messages(25))
    # A function in the file is made of other operators, which are checked as well.
    own = frozenset((function.text(10), function.text(1)) for function in functions)
    for training in model.messages(20):
        graphs += [*training.messages(1), *training.messages(2)]
    for graph in graphs:
        _check_graph(graph, own)
    for function in functions:
        for attribute in function.messages(11):
            _check_attribute(attribute, own)
        for node in function.messages(7):
            _check_node(node, own)


def _check_graph(graph: Message, own: frozenset[tuple[str, str]]) -> None:
    for tensor in graph.messages(5):
        _check_tensor(tensor)
    for sparse in graph.messages(15):
        _check_sparse(sparse)
    for number in (11, 12, 13):  # inputs, outputs, what is between
        for value in graph.messages(number):
            for kind in value.messages(2):
                _check_type(kind, value.text(1))
    for node in graph.messages(1):
        _check_node(node, own)


def _check_type(kind: Message, name: str) -> None:
    for number in (1, 8):  # tensors, sparse ones
        for tensor in kind.messages(number):
            for shape in tensor.messages(2):
                axes = [each for axis in shape.messages(1) for each in axis.integers(1)]
                _check_shape(axes, name)
    for number in (4, 5, 9):  # sequences, maps, optional ones
        for inner in kind.messages(number):
            for element in (*inner.messages(1), *inner.messages(2)):
                _check_type(element, name)


def _check_shape(axes: list[int], name: str) -> None:
    if any(not -1 <= axis <= LONGEST_AXIS for axis in axes) or (
        math.prod(axis for axis in axes if axis > 0) > MOST_NUMBERS
    ):
        raise ModelError(
            f"the tensor {name!r:.60} is declared with axes {axes!r:.60}, which no network for "
            "keywords needs; export the model with the shapes that it has"
        )


def _check_node(node: Message, own: frozenset[tuple[str, str]]) -> None:
    domain, name = node.text(7), node.text(4)
    if (domain, name) not in own:
        if domain not in DOMAINS or (domain == "com.microsoft" and name not in MICROSOFT):
            raise ModelError(
                f"the operator {printable(name):.60} of {domain!r:.60} is a custom one, whose code "
                "is not in the file and is not run; export the model with ONNX's own operators"
            )
        if domain in STANDARD and name in UNBOUNDED:
            raise ModelError(
                f"the operator {name} repeats for as long as its data say, which could be for "
                "ever; export the model without it, with its steps unrolled"
            )
    for attribute in node.messages(5):
        _check_attribute(attribute, own)


def _check_attribute(attribute: Message, own: frozenset[tuple[str, str]]) -> None:
    for number in (5, 10):  # one tensor, several
        for tensor in attribute.messages(number):
            _check_tensor(tensor)
    for number in (6, 11):  # one graph, several
        for graph in attribute.messages(number):
            _check_graph(graph, own)
    for number in (22, 23):
        for sparse in attribute.messages(number):
            _check_sparse(sparse)
    for number in (14, 15):
        for kind in attribute.messages(number):
            _check_type(kind, attribute.text(1))


def _check_sparse(sparse: Message) -> None:
    for number in (1, 2):  # values, indices
        for tensor in sparse.messages(number):
            _check_tensor(tensor)
    _check_shape(sparse.integers(3), "of few values")


def _check_tensor(tensor: Message) -> None:
    name = tensor.text(8)
    if tensor.values.get(13) or tensor.integer(14) != 0:
        raise ModelError(
            f"the weights of {name!r:.60} are in another file, which is not read; "
            "save the model with its weights inside (onnx.save without external data)"
        )
    axes, kind = tensor.integers(1), tensor.integer(2)
    if tensor.values.get(3) or kind not in BITS or any(axis < 0 for axis in axes):
        raise ValueError("a tensor in parts or of an unknown type")
    _check_shape(axes, name)
    numbers, bits = math.prod(axes), BITS[kind]
    given = sum(tensor.count.get(n, 0) for n in (4, 10)) + len(tensor.values.get(6, ()))
    for number in (5, 7, 11):
        given += tensor.count.get(number, 0) + len(tensor.values.get(number, ()))
    if 9 in tensor.values:
        whole = bits is not None and tensor.count[9] == -(-numbers * bits // 8) and not given
    elif bits is not None and bits < 8:
        whole = given == -(-numbers * bits // 8)
    else:
        whole = given == numbers * (2 if kind in (14, 15) else 1)
    if not whole:
        raise ValueError("a tensor with more or fewer numbers than its shape says")
