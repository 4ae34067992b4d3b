"""The arithmetic of an ONNX graph: multiplications, bytes and nodes, from the graph itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import numpy_helper, shape_inference


@dataclass(frozen=True)
class Arithmetic:
    """What one run of a graph with a batch of one takes."""

    macs: int  # multiply-accumulates of convolutions and matrix products
    elementwise: int  # results of all other operators
    weight_bytes: int
    moved_bytes: int  # everything that every operator reads and writes
    nodes: int


def arithmetic(content: bytes) -> Arithmetic:
    """Count an ONNX file; raises ValueError where a shape cannot be inferred."""
    model = onnx.load_from_string(content)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    sizes = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    shapes = {name: list(array.shape) for name, array in sizes.items()}
    widths = {name: array.itemsize for name, array in sizes.items()}
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        shapes.setdefault(value.name, [dim.dim_value for dim in tensor.shape.dim])
        widths.setdefault(
            value.name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
        )
    macs = elementwise = moved = 0
    for node in graph.node:
        if any(name not in shapes for name in node.output):
            raise ValueError(f"the shape of {node.output[0]} ({node.op_type}) is not known")
        results = math.prod(shapes[node.output[0]])
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            macs += results * _depth(node, shapes)
        else:
            elementwise += results
        moved += sum(
            math.prod(shapes[name]) * widths[name] for name in (*node.input, *node.output) if name
        )
    weights = sum(array.nbytes for array in sizes.values())
    return Arithmetic(macs, elementwise, weights, moved, len(graph.node))


def _depth(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    """Products that are summed up in each result."""
    if node.op_type == "Conv":
        return math.prod(shapes[node.input[1]][1:])
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return shapes[node.input[0]][-2 if transposed else -1]
