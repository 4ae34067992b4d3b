"""What a TFLite file shows before a runtime opens it: whole, self-contained, of sensible sizes.

TFLite's runtimes follow the offsets and numbers of a file without looking where they lead. Here
every offset of the tables that they read is followed first, by the schema of TFLite, and every
number of a tensor, a buffer or an operator is one of the file's.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import numpy as np

from kws.errors import ModelError
from kws.text import printable

# The fields of TFLite's tables (schema.fbs, version 3) in their order. i1 to i8, u1 to u8 and f4
# are numbers of so many bytes, text is text, [x] is a vector of such, and a name is another table.
# In no1 to no8, fields of so many bytes, nothing may be given: other files and custom parts.
TABLES: dict[str, tuple[str, ...]] = {
    "Model": (
        "u4", "[OperatorCode]", "[SubGraph]", "text", "[Buffer]", "[i4]", "[Metadata]",
        "[SignatureDef]", "no4", "no4",
    ),
    "OperatorCode": ("i1", "text", "i4", "i4"),
    "SubGraph": ("[Tensor]", "[i4]", "[i4]", "[Operator]", "text", "i4"),
    "Tensor": (
        "[i4]", "u1", "u4", "text", "QuantizationParameters", "u1", "no4", "[i4]", "u1", "no4",
        "no4",
    ),
    "QuantizationParameters": ("[f4]", "[f4]", "[f4]", "[i8]", "no1", "no4", "i4"),
    "Operator": (
        "u4", "[i4]", "[i4]", "u1", "Options", "no4", "i1", "[u1]", "[i4]", "no8", "no8", "no1",
        "no4", "i4",
    ),
    "Buffer": ("[u1]", "no8", "no8"),
    "Metadata": ("text", "u4"),
    "SignatureDef": ("[TensorMap]", "[TensorMap]", "text", "no4", "u4"),
    "TensorMap": ("text", "u4"),
    # Options of operators are numbers, read within their table, but for these two kinds.
    "Options": (),
    "ReshapeOptions": ("[i4]",),
    "SqueezeOptions": ("[i4]",),
}  # fmt: skip
OPTIONS = {17: "ReshapeOptions", 30: "SqueezeOptions"}  # by the type that the operator gives

# TFLite's own operators that compute numbers from numbers. Not among them: custom ones, other
# graphs (calls, branches, loops), tables and variables that stay from call to call, random numbers.
OPERATORS = frozenset(
    {
        *range(0, 10), *range(11, 15), *range(16, 29), *range(34, 51), *range(52, 118),
        *range(120, 127), 128, *range(130, 136), 140, 141, 145, 150, 151, 152, *range(153, 162),
        203, 207,
    }
) - {24, 35, 46, 120, 121}  # fmt: skip
_CUSTOM = 32
# Those that may do without a bias, their third input, and the recurrent ones, without any but two.
_OPTIONAL_BIAS = frozenset({3, 4, 9, 67})
_OPTIONAL_INPUTS = frozenset({16, 27, 44, 52})

# Bits of a number of each type of tensor; text, handles and the like are none.
BITS = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 12: 64, 15: 32, 16: 16,
    17: 4,
}  # fmt: skip
_QUANTISED = frozenset({3, 9, 17})  # whole numbers that stand for others, by a scale

MOST_TABLES = 200_000
LONGEST_AXIS = 1 << 24
MOST_BYTES = 1 << 30  # of everything that is computed

_SIZES = {"i1": 1, "u1": 1, "i4": 4, "u4": 4, "f4": 4, "i8": 8, "u8": 8}
_NOTHING = {"no1": 1, "no4": 4, "no8": 8}
_FORMATS = {"i1": "<b", "u1": "<B", "i4": "<i", "u4": "<I", "f4": "<f", "i8": "<q", "u8": "<Q"}


def check_tflite(content: bytes) -> None:
    """Raise ModelError unless this is a complete TFLite file without custom operators.

    It has no custom operators, calls nothing, and reads nothing that it has not computed or been
    given; its tensors take at most MOST_BYTES.
    """
    if content[4:8] != b"TFL3":
        raise ModelError("this is not a TFLite file; export or download it again")
    try:
        _check_model(_Reader(content).root())
    except (IndexError, ValueError, struct.error) as error:
        raise ModelError("this TFLite file is damaged; export or download it again") from error


@dataclass
class _Table:
    """A table that has been read; fields that are not given are left out."""

    numbers: dict[int, float] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    vectors: dict[int, np.ndarray[tuple[int], np.dtype[np.generic]]] = field(default_factory=dict)
    tables: dict[int, list[_Table]] = field(default_factory=dict)

    def integer(self, place: int, default: int = 0) -> int:
        return int(self.numbers.get(place, default))

    def integers(self, place: int) -> list[int]:
        return self.vectors[place].tolist() if place in self.vectors else []


class _Reader:
    """Reads tables of a flatbuffer; raises an error where one leads out of the file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._read = 0

    def root(self) -> _Table:
        return self._table("Model", self._offset(0))

    def _number(self, at: int, kind: str) -> float:
        size = _SIZES[kind]
        if at < 0 or at % size:
            raise ValueError("a number that is not where such a number can be")
        value: float = struct.unpack_from(_FORMATS[kind], self._content, at)[0]
        return value

    def _offset(self, at: int) -> int:
        """Where the offset at this place leads: always onwards."""
        return at + int(self._number(at, "u4"))

    def _table(self, kind: str, at: int) -> _Table:
        self._read += 1
        if self._read > MOST_TABLES:
            raise ValueError("too many tables")
        layout = at - int(self._number(at, "i4"))
        if layout < 0 or layout % 2:
            raise ValueError("a layout before the file")
        length, size = struct.unpack_from("<HH", self._content, layout)
        if length < 4 or length % 2 or layout + length > len(self._content):
            raise ValueError("a layout that is cut short")
        if size < 4 or at + size > len(self._content):
            raise ValueError("a table that is cut short")
        offsets = struct.unpack_from(f"<{length // 2 - 2}H", self._content, layout + 4)
        table = _Table()
        for place, offset in enumerate(offsets):
            if offset == 0:
                continue
            if not 4 <= offset < size:
                raise ValueError("a field outside its table")
            if kind == "Options":
                continue
            kinds = TABLES[kind]
            if place >= len(kinds):
                if kind in OPTIONS.values():
                    continue
                raise ModelError(
                    f"it holds field {place} of {kind}, which this release does not know; "
                    "convert the model with an older version of its converter"
                )
            if kinds[place] in _SIZES and offset + _SIZES[kinds[place]] > size:
                raise ValueError("a field outside its table")
            self._field(table, kind, place, at + offset)
        return table

    def _field(self, table: _Table, kind: str, place: int, at: int) -> None:
        what = TABLES[kind][place]
        if what in _NOTHING:
            if any(self._content[at : at + _NOTHING[what]]):
                raise ModelError(
                    f"it uses field {place} of {kind}: a custom part, or one in another file, "
                    "which is not read; convert the model with everything in one file and with "
                    "TFLite's own operators"
                )
        elif what in _SIZES:
            table.numbers[place] = self._number(at, what)
        elif what == "text":
            start, length = self._vector(self._offset(at), 1)
            table.texts[place] = self._content[start : start + length].decode()
        elif what[0] == "[" and what[1:-1] in _SIZES:
            size = _SIZES[what[1:-1]]
            start, length = self._vector(self._offset(at), size)
            numbers = np.frombuffer(self._content, f"<{what[1:-1]}", length, start)
            table.vectors[place] = numbers
        elif what[0] == "[":
            start, length = self._vector(self._offset(at), 4)
            table.tables[place] = [
                self._table(what[1:-1], self._offset(each))
                for each in range(start, start + 4 * length, 4)
            ]
        else:
            if what == "Options":
                what = OPTIONS.get(table.integer(3), what)
            table.tables[place] = [self._table(what, self._offset(at))]

    def _vector(self, at: int, size: int) -> tuple[int, int]:
        """(first byte, length) of a vector of items of that many bytes."""
        length = int(self._number(at, "u4"))
        start = at + 4
        if start + length * size > len(self._content) or (length and start % size):
            raise ValueError("a vector that is cut short")
        return start, length


def _check_model(model: _Table) -> None:
    if model.integer(0) != 3:
        raise ValueError("another version of the schema")
    for code in model.tables.get(1, []):
        _check_operator_code(code)
    codes = [_operator(code) for code in model.tables.get(1, [])]
    buffers = [len(each.vectors.get(0, ())) for each in model.tables.get(4, [])]
    graphs = model.tables.get(2, [])
    if not graphs or not buffers:
        raise ValueError("no graph")
    for graph in graphs:
        _check_graph(graph, codes, buffers)
    for metadata in model.tables.get(6, []):
        _check_indices([metadata.integer(1)], len(buffers))
    for signature in model.tables.get(7, []):
        _check_indices([signature.integer(4)], len(graphs))
        tensors = len(graphs[signature.integer(4)].tables.get(0, []))
        for named in (*signature.tables.get(0, []), *signature.tables.get(1, [])):
            _check_indices([named.integer(1)], tensors)


def _operator(code: _Table) -> int:
    """Its number: up to 127 it may stand in the older field alone; the runtime takes the larger."""
    return max(code.integer(0), code.integer(3))


def _check_operator_code(code: _Table) -> None:
    operator = _operator(code)
    if operator == _CUSTOM:
        name = code.texts.get(1, "")
        raise ModelError(
            f"the operator {printable(name):.60} is a custom one, whose code is not in the file "
            "and is not run; convert the model with TFLite's own operators"
        )
    if operator not in OPERATORS:
        raise ModelError(
            f"it uses TFLite's operator number {operator}, which is none of a network that only "
            "computes (such as a loop, a branch, a variable or a random number); convert the model "
            "without it"
        )


def _check_indices(indices: list[int], count: int, least: int = 0) -> None:
    if not all(least <= index < count for index in indices):
        raise ValueError("a number of something that is not there")


def _check_graph(graph: _Table, codes: list[int], buffers: list[int]) -> None:
    tensors = graph.tables.get(0, [])
    inputs, outputs = graph.integers(1), graph.integers(2)
    _check_indices([*inputs, *outputs], len(tensors))
    sizes = [_tensor_bytes(tensor, buffers) for tensor in tensors]
    constant = {number for number, tensor in enumerate(tensors) if buffers[tensor.integer(2)]}
    if sum(size for number, size in enumerate(sizes) if number not in constant) > MOST_BYTES:
        raise ModelError(
            f"its tensors take more than {MOST_BYTES:,} bytes; no network for keywords needs that"
        )
    there = constant | set(inputs) | {n for n, each in enumerate(tensors) if each.integer(5)}
    if constant & set(inputs):
        raise ValueError("an input that is a constant")
    for operator in graph.tables.get(3, []):
        _check_indices([operator.integer(0)], len(codes))
        taken, made = operator.integers(1), operator.integers(2)
        _check_indices([*taken, *operator.integers(8)], len(tensors), -1)  # -1: left out
        _check_indices(made, len(tensors))
        number = codes[operator.integer(0)]
        if number not in _OPTIONAL_INPUTS:
            needed = taken[:2] if number in _OPTIONAL_BIAS else taken
            _check_indices(needed, len(tensors))
        if not made or not set(taken) - {-1} <= there:
            raise ValueError("an operator that takes what is computed later or never")
        if set(made) & (constant | set(inputs)):
            raise ValueError("an operator that writes over a constant or an input")
        there |= set(made) | set(operator.integers(8))
    if not set(outputs) <= there or not outputs:
        raise ValueError("an output that is never computed")


def _tensor_bytes(tensor: _Table, buffers: list[int]) -> int:
    """Bytes that a tensor takes, once its shape, type, buffer and quantisation fit together."""
    shape, kind, buffer = tensor.integers(0), tensor.integer(1), tensor.integer(2)
    if kind not in BITS:
        raise ValueError("a tensor of another type than numbers")
    if not all(0 <= axis <= LONGEST_AXIS for axis in shape) or len(shape) > 8:
        raise ValueError("a tensor of an impossible shape")
    _check_indices(tensor.integers(7), LONGEST_AXIS + 1, -1)
    _check_indices([buffer], len(buffers))
    size = -(-math.prod(shape) * BITS[kind] // 8)
    if buffers[buffer] and buffers[buffer] != size:
        raise ValueError("a constant with more or fewer numbers than its shape says")
    for quantisation in tensor.tables.get(4, []):
        _check_quantisation(quantisation, shape)
    if kind in _QUANTISED and not any(len(q.vectors.get(2, ())) for q in tensor.tables.get(4, [])):
        raise ValueError("quantised numbers without a scale")
    return size


def _check_quantisation(quantisation: _Table, shape: list[int]) -> None:
    scales = quantisation.vectors.get(2)
    count = 0 if scales is None else len(scales)
    points = len(quantisation.vectors.get(3, ()))
    if scales is not None and not np.isfinite(scales).all():
        raise ValueError("an infinite scale")
    if points not in (0, 1, count):
        raise ValueError("zero points that are not those of the scales")
    if count > 1:
        axis = quantisation.integer(6)
        _check_indices([axis], len(shape))
        if shape[axis] != count:
            raise ValueError("scales that are not those of the channels")
