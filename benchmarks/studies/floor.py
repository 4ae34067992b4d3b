"""`python -m benchmarks.studies.floor`: how far each network is from what one core could do.

The least time of a graph is its multiplications at the rate of a plain matrix product, float or
int8, on one thread. Beside it stands what its nodes cost, each at the price of a node that does
nothing, as a share of what is measured; the rest are small matrices, copies, element by element
work. All are measured in the same alternating rounds; ratios and shares are paired by round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.program import keep, program
from benchmarks.studies.macs import arithmetic
from benchmarks.timed import add_rounds, timed, timed_ratio
from export.onnx_graph import write_onnx
from export.shipped import read_network
from kws.bench.graph import bound_run
from kws.bench.timing import alternate, time_calls
from kws.model.manifest import find_manifest, read_artefact, read_manifest

SIZE = 512  # of the plain matrix product: large enough for its rate, small enough for the cache
NODES = 64  # of the graph that does nothing


def matrix_product(int8: bool) -> bytes:
    """A graph that multiplies two square matrices of SIZE, one of them constant."""
    generator = np.random.default_rng(0)
    shape = [SIZE, SIZE]
    if int8:
        weights = generator.integers(-127, 127, shape).astype(np.int8)
        nodes = [
            helper.make_node("Cast", ["a"], ["a8"], to=TensorProto.UINT8),
            helper.make_node("MatMulInteger", ["a8", "b"], ["c"]),
        ]
        result = TensorProto.INT32
    else:
        weights = generator.normal(size=shape).astype(np.float32)
        nodes, result = [helper.make_node("MatMul", ["a", "b"], ["c"])], TensorProto.FLOAT
    return _graph(nodes, ("a", shape), ("c", shape, result), {"b": weights})


def idle_nodes(count: int) -> bytes:
    """A graph of so many operators that do next to nothing."""
    names = ["a", *(f"v{index}" for index in range(count - 1)), "c"]
    # Relu(Neg(x)) and on: the same operator twice in a row would be optimised away.
    operators = ["Neg", "Relu"] * count
    nodes = [
        helper.make_node(operators[index], [names[index]], [names[index + 1]])
        for index in range(count)
    ]
    return _graph(nodes, ("a", [1]), ("c", [1], TensorProto.FLOAT), {})


def _graph(
    nodes: list[onnx.NodeProto],
    given: tuple[str, list[int]],
    result: tuple[str, list[int], int],
    constants: dict[str, Any],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "floor",
        [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, given[1])],
        [helper.make_tensor_value_info(result[0], result[2], result[1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return made.SerializeToString()


def measure(model: str | None, rounds: int, calls: int) -> dict[str, Any]:
    """The floor and the time of every ONNX file of a model, and what was taken out of it."""
    path = find_manifest(model)
    manifest = read_manifest(path)
    contents = {
        key: read_artefact(path.parent, artefact)
        for key, artefact in sorted(manifest.artefacts.items())
        if key.endswith(".onnx")
    }
    defined = write_onnx(read_network(manifest, path.parent), "stream", manifest.features, {})
    runs: dict[str, Callable[[], object]] = {
        "float": bound_run(matrix_product(int8=False), "cpu", SIZE, 1),
        "int8": bound_run(matrix_product(int8=True), "cpu", SIZE, 1),
        "one node": bound_run(idle_nodes(2), "cpu", 1, 1),
        "many nodes": bound_run(idle_nodes(NODES + 2), "cpu", 1, 1),
        "stream as defined": bound_run(defined, "cpu", 1, 1),
    }
    runs |= {key: bound_run(content, "cpu", 1, 1) for key, content in contents.items()}
    found = alternate({name: partial(time_calls, run, calls) for name, run in runs.items()}, rounds)
    us = {name: [1e6 * each.median for each in taken] for name, taken in found.items()}
    node = [
        max(0.0, many - one) / NODES
        for many, one in zip(us["many nodes"], us["one node"], strict=True)
    ]
    before, after = (
        [each * _calls_per_second(content) for each in us[name]]
        for name, content in (
            ("stream as defined", defined),
            ("stream.onnx", contents["stream.onnx"]),
        )
    )
    return {
        "multiplications_per_second": {
            kind: timed([1e6 * SIZE**3 / each for each in us[kind]]) for kind in ("float", "int8")
        },
        "one_node_us": timed(node),
        "graphs": {
            key: _row(content, us["int8" if ".int8" in key else "float"], node, us[key])
            for key, content in contents.items()
        },
        "taken_out": {
            "as defined, us per second of audio": timed(before),
            "as exported, us per second of audio": timed(after),
            "how many times less": timed_ratio(before, after),
        },
    }


def _row(
    content: bytes, product: Sequence[float], node: Sequence[float], taken: Sequence[float]
) -> dict[str, Any]:
    """One graph by what it counts and, of rounds in us, what it takes: `product` of the plain
    matrix product, `node` of one node that does nothing, `taken` of the graph."""
    counted = arithmetic(content)
    floor = [each * counted.macs / SIZE**3 for each in product]
    nodes = [counted.nodes * each for each in node]
    shares = [min(1.0, least / whole) for least, whole in zip(nodes, taken, strict=True)]
    return {
        "macs": counted.macs,
        "elementwise_results": counted.elementwise,
        "weight_bytes": counted.weight_bytes,
        "moved_bytes": counted.moved_bytes,
        "nodes": counted.nodes,
        "measured_us": timed(taken),
        "floor_us": timed(floor),
        "times_the_floor": timed_ratio(taken, floor),
        "share_of_nodes": timed(shares),
    }


def _calls_per_second(content: bytes) -> float:
    """How often a stream graph is called: it takes so many new frames of 10 ms."""
    shape = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape
    return 100.0 / float(shape.dim[1].dim_value)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("studies.floor", __doc__, recordings=False)
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument("--calls", type=int, default=100)
    add_rounds(parser, 15)
    return keep(parser, arguments, lambda given: measure(given.model, given.rounds, given.calls))


if __name__ == "__main__":
    sys.exit(main())
