"""Safety checks of model files: complete, no external data, no custom operators.

ONNX files may name other files to read weights from, and both formats may name operators whose code
is elsewhere. A model that was downloaded gets neither. The files are read at the level of bytes
(protobuf's wire format, flatbuffers' tables); no library for them is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kws.errors import ModelError

# Operators of ONNX Runtime itself. All others would need a library beside the model.
ONNX_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
_CUSTOM = 32  # TFLite's code of an operator that is known by name only


def check_onnx(content: bytes) -> None:
    """Raise ModelError unless this is a complete ONNX file without external data or custom code."""
    try:
        _check_model(memoryview(content))
    except (IndexError, ValueError, RecursionError) as error:
        raise ModelError("this is not a complete ONNX file; export or download it again") from error


def check_tflite(content: bytes) -> None:
    """Raise ModelError unless this is a complete TFLite file without custom operators."""
    if content[4:8] != b"TFL3":
        raise ModelError("this is not a TFLite file; export or download it again")
    try:
        _check_flatbuffer(content)
    except (IndexError, ValueError, struct.error) as error:
        raise ModelError("this TFLite file is damaged; export or download it again") from error


# ONNX. The numbers of fields are those of onnx.proto.


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, content) of a protobuf message; raises ValueError where it is cut short."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if number == 0 or at + length > len(message):
            raise ValueError("cut short")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("an endless number")


def _messages(message: memoryview, number: int) -> Iterator[memoryview]:
    for field, value in _fields(message):
        if field == number and isinstance(value, memoryview):
            yield value


def _text(message: memoryview, number: int) -> str:
    return b"".join(_messages(message, number)).decode()


def _check_model(model: memoryview) -> None:
    graphs = list(_messages(model, 7))
    if not graphs:
        raise ValueError("no graph")
    functions = list(_messages(model, 25))
    # A function in the file is made of other operators, which are checked as well.
    own = frozenset(_text(function, 10) for function in functions)
    for graph in graphs:
        _check_graph(graph, own)
    for function in functions:
        for node in _messages(function, 7):
            _check_node(node, own)


def _check_graph(graph: memoryview, own: frozenset[str]) -> None:
    for tensor in _messages(graph, 5):
        _check_tensor(tensor)
    for sparse in _messages(graph, 15):
        _check_sparse(sparse)
    for node in _messages(graph, 1):
        _check_node(node, own)


def _check_node(node: memoryview, own: frozenset[str]) -> None:
    domain = _text(node, 7)
    if domain not in ONNX_DOMAINS | own:
        raise ModelError(
            f"the operator {_text(node, 4)} of {domain!r} is a custom one, whose code is not in "
            "the file and is not run; export the model with ONNX's own operators"
        )
    for attribute in _messages(node, 5):
        for number in (5, 10):  # one tensor, several
            for tensor in _messages(attribute, number):
                _check_tensor(tensor)
        for number in (6, 11):  # one graph, several
            for graph in _messages(attribute, number):
                _check_graph(graph, own)
        for number in (22, 23):
            for sparse in _messages(attribute, number):
                _check_sparse(sparse)


def _check_sparse(sparse: memoryview) -> None:
    for number in (1, 2):  # values, indices
        for tensor in _messages(sparse, number):
            _check_tensor(tensor)


def _check_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number == 13 or (number == 14 and value == 1):
            raise ModelError(
                f"the weights of {_text(tensor, 8)!r} are in another file, which is not read; "
                "save the model with its weights inside (onnx.save without external data)"
            )


# TFLite. The numbers of fields are their places in the tables of schema.fbs.


def _number(content: bytes, at: int, kind: str = "<I") -> int:
    if at < 0:
        raise IndexError("before the file")
    value: int = struct.unpack_from(kind, content, at)[0]
    return value


def _field(content: bytes, table: int, place: int) -> int | None:
    """Where a field of a table lies, or None where it has its default."""
    layout = table - _number(content, table, "<i")
    if 4 + 2 * place >= _number(content, layout, "<H"):
        return None
    offset = _number(content, layout + 4 + 2 * place, "<H")
    return table + offset if offset else None


def _vector(content: bytes, table: int, place: int, size: int) -> tuple[int, int]:
    """(first byte, length) of a vector of items of that many bytes, which must lie in the file."""
    field = _field(content, table, place)
    if field is None:
        return 0, 0
    start = field + _number(content, field)
    length = _number(content, start)
    if start + 4 + length * size > len(content):
        raise IndexError("behind the file")
    return start + 4, length


def _tables(content: bytes, table: int, place: int) -> list[int]:
    start, length = _vector(content, table, place, 4)
    return [at + _number(content, at) for at in range(start, start + 4 * length, 4)]


def _check_flatbuffer(content: bytes) -> None:
    model = _number(content, 0)
    for code in _tables(content, model, 1):
        field = _field(content, code, 3)
        if field is not None and _number(content, field, "<i") == _CUSTOM:
            start, length = _vector(content, code, 1, 1)
            name = content[start : start + length].decode(errors="replace")
            raise ModelError(
                f"the operator {name} is a custom one, whose code is not in the file and is not "
                "run; convert the model with TFLite's own operators"
            )
    for buffer in _tables(content, model, 4):
        _vector(content, buffer, 0, 1)
    subgraphs = _tables(content, model, 2)
    if not subgraphs:
        raise ValueError("no graph")
    for graph in subgraphs:
        for tensor in _tables(content, graph, 0):
            _vector(content, tensor, 0, 4)
        for operator in _tables(content, graph, 3):
            _vector(content, operator, 1, 4)
            _vector(content, operator, 2, 4)
