"""A tiny TFLite classifier written with flatbuffers alone, so that no converter is needed.

The graph is softmax(weights @ features): float, or full int8 with int8 input and output. Field
numbers and codes are those of TensorFlow Lite's schema.fbs.
"""

from __future__ import annotations

from dataclasses import dataclass

import flatbuffers
import numpy as np
from numpy.typing import NDArray

FLOAT32, INT32, INT8 = 0, 2, 9  # TensorType
FULLY_CONNECTED, SOFTMAX = 9, 25  # BuiltinOperator
FULLY_CONNECTED_OPTIONS, SOFTMAX_OPTIONS = 8, 9  # BuiltinOptions


@dataclass(frozen=True)
class Quantisation:
    """value = (stored - zero_point) * scale"""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Tensor:
    """A tensor with its constant content, if it has one."""

    shape: tuple[int, ...]
    type: int
    quantisation: Quantisation | None = None
    content: bytes = b""


def classifier(weights: NDArray[np.float32], shape: tuple[int, ...], int8: bool = False) -> bytes:
    """A .tflite file: features of `shape` (batch 1) -> posteriors (1, labels)."""
    labels = len(weights)
    if not int8:
        tensors = [
            Tensor(shape, FLOAT32),
            Tensor(weights.shape, FLOAT32, content=weights.astype("<f4").tobytes()),
            Tensor((1, labels), FLOAT32),
            Tensor((1, labels), FLOAT32),
        ]
        return _file(tensors)
    scale = float(np.abs(weights).max() / 127)
    stored = np.rint(weights / scale).astype(np.int8)
    tensors = [
        Tensor(shape, INT8, Quantisation(0.1, -128)),
        Tensor(weights.shape, INT8, Quantisation(scale, 0), stored.tobytes()),
        Tensor((1, labels), INT8, Quantisation(0.1, 0)),
        Tensor((1, labels), INT8, Quantisation(1 / 256, -128)),
    ]
    return _file(tensors)


def _file(tensors: list[Tensor]) -> bytes:
    builder = flatbuffers.Builder(1024)
    buffers = [_table(builder, {})]  # buffer 0 is empty by convention
    made = []
    for tensor in tensors:
        index = 0
        if tensor.content:
            index = len(buffers)
            builder.StartVector(1, len(tensor.content), 16)
            builder.head -= len(tensor.content)
            builder.Bytes[builder.head : builder.head + len(tensor.content)] = tensor.content
            buffers.append(_table(builder, {0: _offset(builder.EndVector())}))
        fields = {
            0: _offset(builder.CreateNumpyVector(np.array(tensor.shape, np.int32))),
            1: ("Int8", tensor.type),
            2: ("Uint32", index),
        }
        if tensor.quantisation:
            fields[4] = _offset(
                _table(
                    builder,
                    {
                        2: _offset(
                            builder.CreateNumpyVector(
                                np.array([tensor.quantisation.scale], np.float32)
                            )
                        ),
                        3: _offset(
                            builder.CreateNumpyVector(
                                np.array([tensor.quantisation.zero_point], np.int64)
                            )
                        ),
                    },
                )
            )
        made.append(_table(builder, fields))

    def integers(*values: int) -> tuple[str, int]:
        return _offset(builder.CreateNumpyVector(np.array(values, np.int32)))

    # Tensors: 0 features, 1 weights, 2 logits, 3 posteriors; a missing bias is tensor -1.
    operators = [
        _table(
            builder,
            {
                0: ("Uint32", 0),
                1: integers(0, 1, -1),
                2: integers(2),
                3: ("Uint8", FULLY_CONNECTED_OPTIONS),
                4: _offset(_table(builder, {})),
            },
        ),
        _table(
            builder,
            {
                0: ("Uint32", 1),
                1: integers(2),
                2: integers(3),
                3: ("Uint8", SOFTMAX_OPTIONS),
                4: _offset(_table(builder, {0: ("Float32", 1.0)})),
            },
        ),
    ]
    graph = _table(
        builder,
        {
            0: _tables(builder, made),
            1: integers(0),
            2: integers(3),
            3: _tables(builder, operators),
        },
    )
    codes = [
        _table(builder, {0: ("Int8", code), 2: ("Int32", version), 3: ("Int32", code)})
        for code, version in ((FULLY_CONNECTED, 4), (SOFTMAX, 2))
    ]
    model = _table(
        builder,
        {
            0: ("Uint32", 3),
            1: _tables(builder, codes),
            2: _tables(builder, [graph]),
            4: _tables(builder, buffers),
        },
    )
    builder.Finish(model, file_identifier=b"TFL3")
    return bytes(builder.Output())


Field = tuple[str, float]


def _offset(position: int) -> Field:
    return ("UOffsetTRelative", position)


def _table(builder: flatbuffers.Builder, fields: dict[int, Field]) -> int:
    """Write a table: slot number -> (flatbuffers type, value)."""
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, (kind, value) in fields.items():
        # The default that is left out is one that no field here takes.
        getattr(builder, f"Prepend{kind}Slot")(slot, value, 0 if kind.startswith("UO") else None)
    return int(builder.EndObject())


def _tables(builder: flatbuffers.Builder, tables: list[int]) -> Field:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return _offset(builder.EndVector())
