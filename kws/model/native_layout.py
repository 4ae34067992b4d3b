"""The native kernel's network out of a stream graph of ONNX, where it is one of the known form.

The form is what `export/stream_graph.py` writes, node by node and constant by constant. A graph
that departs from it anywhere is none, and runs in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.frontend import FloatArray
from kws.model.onnx_file import STANDARD, Message, check_onnx
from kws.model.streaming import STEP_FRAMES
from kws.native import Block, Network

# float32 and int64, as ONNX numbers them.
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 7: np.dtype("<i8")}
_OPSETS = range(13, 22)  # in which the operators below mean what is computed
_END = np.iinfo(np.int64).max
_MOST = 256  # steps of anything, so that what a graph is compared with stays small


class _OtherForm(Exception):
    """The graph is not of the known form."""


def native_network(content: bytes) -> Network | None:
    """The network in a stream graph; None where the kernel does not compute it.

    Raises ModelError where the content is no ONNX file.
    """
    model = check_onnx(content)
    try:
        return _network(model)
    except (_OtherForm, ValueError):
        return None


def _network(model: Message) -> Network:
    opsets = [(each.text(1) in STANDARD, each.integer(2)) for each in model.messages(8)]
    (graph,) = model.messages(7)
    _require(len(opsets) == 1 and opsets[0][0] and opsets[0][1] in _OPSETS)
    _require(not list(model.messages(25)) and not list(graph.messages(15)))
    _require([each.text(1) for each in graph.messages(11)] == ["features", "state"])
    _require([each.text(1) for each in graph.messages(12)] == ["posteriors", "next_state"])
    walk = _Walk(graph)
    _, frames, bands = _axes(graph)
    _require(frames % STEP_FRAMES == 0)
    steps = frames // STEP_FRAMES
    _require(steps <= _MOST and bands <= _MOST)

    (state,), shape = walk.learn("Reshape", "state", None)
    batch, length, channels = _whole(*shape)
    (newest, *pieces), sizes = walk.learn("Split", state, None, axis=1)
    lead, *contexts = _whole(*sizes)
    _require(batch == -1 and len(pieces) == len(contexts) >= 1)
    _require(lead + sum(contexts) == length)
    _require(all(0 <= each <= _MOST for each in (lead, *contexts)))

    newest = walk.take("Reshape", newest, [-1, lead * channels])
    flat = walk.take("Reshape", "features", [-1, frames * bands])
    latest = walk.take("Concat", newest, flat, axis=1)
    (joined,), limits = walk.learn("Slice", latest, None, None, None)
    (begin,), end, axis = map(_whole, limits)
    _require((end, axis) == ([_END], [1]))
    stride = STEP_FRAMES * bands
    rows, rest = divmod(-begin, stride)
    _require(rest == 0 and steps <= rows <= steps + _MOST)
    _require((rows - steps) * stride <= lead * channels)
    value = walk.take("Reshape", joined, [-1, rows, stride])
    windows = np.arange(steps)[:, None] + np.arange(rows - steps + 1)
    value = walk.take("Gather", value, windows, axis=1)
    value = walk.take("Reshape", value, [-1, windows.shape[1] * stride])
    (value,), (stem, stem_bias) = walk.learn("Gemm", value, None, None)
    value = walk.take("Relu", value)
    _require(stem.shape == (windows.shape[1] * stride, channels))

    blocks, everything = [], []
    for piece, context in zip(pieces[:-1], contexts[:-1], strict=True):
        spread = steps + context
        in_time = walk.take("Reshape", value, [-1, steps, channels])
        everything.append(walk.take("Concat", piece, in_time, axis=1))
        seen = walk.take("Reshape", everything[-1], [-1, 1, spread, channels])
        (seen,), (depthwise,) = walk.learn("Mul", seen, None)
        mixed = walk.take("ReduceSum", seen, [2], keepdims=0)
        mixed = walk.take("Reshape", mixed, [-1, channels])
        (change,), (pointwise, bias) = walk.learn("Gemm", mixed, None, None)
        value = walk.take("Relu", walk.take("Add", value, change))
        _require(depthwise.shape == (steps, spread, channels))
        blocks.append(Block(_band(depthwise, context + 1), pointwise, bias))
    in_time = walk.take("Reshape", value, [-1, steps, channels])
    everything.append(walk.take("Concat", pieces[-1], in_time, axis=1))
    pool = contexts[-1] + 1
    mean = np.zeros((steps, steps + pool - 1, 1), np.float32)
    for step in range(steps):
        mean[step, step : step + pool] = 1.0 / pool
    value = walk.take("MatMul", mean[..., 0], everything[-1])
    value = walk.take("Reshape", value, [-1, channels])
    (value,), (classifier, classifier_bias) = walk.learn("Gemm", value, None, None, transB=1)
    _require(walk.take("Softmax", value, axis=1) == "posteriors" and classifier.ndim == 2)

    newest = walk.take("Slice", latest, [-lead * channels], [_END], [1])
    newest = walk.take("Reshape", newest, [-1, lead, channels])
    joined = walk.take("Concat", newest, *everything, axis=1)
    kept, first = [np.arange(lead)], lead
    for context in contexts:
        kept.append(np.arange(first + steps, first + steps + context))
        first += context + steps
    value = walk.take("Gather", joined, np.concatenate(kept), axis=1)
    _require(walk.take("Reshape", value, [-1, length * channels]) == "next_state")
    walk.end()
    return Network(
        bands=bands,
        stride=STEP_FRAMES,
        steps=steps,
        stem=stem,
        stem_bias=stem_bias,
        blocks=blocks,
        pool=pool,
        classifier=classifier,
        classifier_bias=classifier_bias,
    )


def _require(holds: bool) -> None:
    if not holds:
        raise _OtherForm


def _whole(constant: NDArray[Any]) -> list[int]:
    """The whole numbers of one axis that a constant holds."""
    _require(constant.ndim == 1 and constant.dtype.kind == "i")
    numbers: list[int] = constant.tolist()
    return numbers


def _axes(graph: Message) -> tuple[int, int, int]:
    """Batch, frames and bands of the features; 0 for an axis without a number."""
    (kind,) = next(graph.messages(11)).messages(2)
    (tensor,) = kind.messages(1)
    (shape,) = tensor.messages(2)
    axes = [axis.integer(1) for axis in shape.messages(1)]
    _require(tensor.integer(1) == 1 and len(axes) == 3 and axes[1] > 0 and axes[2] > 0)
    return axes[0], axes[1], axes[2]


def _band(depthwise: FloatArray, kernel: int) -> FloatArray:
    """The kernel (steps, channels) that stands once for each row, among zeros."""
    weights = depthwise[0, :kernel]
    expected = np.zeros_like(depthwise)
    for step in range(len(depthwise)):
        expected[step, step : step + kernel] = weights
    _require(bool(np.array_equal(depthwise, expected)))
    return weights


class _Walk:
    """The nodes of a graph, one after the other, each of which must be the expected one."""

    def __init__(self, graph: Message) -> None:
        self._nodes: Iterator[Message] = graph.messages(1)
        self._constants = {each.text(8): _constant(each) for each in graph.messages(5)}

    def take(self, operator: str, *inputs: Any, **attributes: int) -> str:
        """The output of the next node, which has this operator and these inputs: names of values,
        and what constants hold."""
        (output,), _ = self.learn(operator, *inputs, **attributes)
        return output

    def learn(
        self, operator: str, *inputs: Any, **attributes: int
    ) -> tuple[list[str], list[NDArray[Any]]]:
        """Likewise, and what constants hold whose input is None; returns all outputs and those."""
        node = next(self._nodes, None)
        if node is None or node.text(4) != operator or node.text(7) not in STANDARD:
            raise _OtherForm
        given = {each.text(1): (each.integer(20), each.integer(3)) for each in node.messages(5)}
        # 2: a whole number.
        _require(given == {name: (2, value) for name, value in attributes.items()})
        names, learned = node.texts(1), []
        _require(len(names) == len(inputs))
        for name, expected in zip(names, inputs, strict=True):
            if isinstance(expected, str):
                _require(name == expected)
                continue
            constant = self._constants.get(name)
            if constant is None:
                raise _OtherForm
            if expected is None:
                learned.append(constant)
            else:
                _require(bool(np.array_equal(constant, expected)))
        return node.texts(2), learned

    def end(self) -> None:
        """There must be no more nodes."""
        _require(next(self._nodes, None) is None)


def _constant(tensor: Message) -> NDArray[Any] | None:
    """What a tensor holds; None where it is not written as this project's exporter does."""
    kind, content = _TYPES.get(tensor.integer(2)), tensor.content(9)
    if kind is None or content is None:
        return None
    numbers: NDArray[Any] = np.frombuffer(content, kind)
    return numbers.reshape(tensor.integers(1))
