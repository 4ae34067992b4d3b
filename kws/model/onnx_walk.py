"""Graphs of ONNX that are compared with a known form, node by node and constant by constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.model.onnx_file import STANDARD, Message

# float32, int8 and int64, as ONNX numbers them.
_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    3: np.dtype("i1"),
    7: np.dtype("<i8"),
}
_COMPARED = (np.float32, np.int64)  # types of constants that are the same in each file
_FLOAT, _INT, _INTS = 1, 2, 7  # types of attributes
END = np.iinfo(np.int64).max  # of an axis, as exporters write it

Attribute = float | int | Sequence[int]


class OtherForm(Exception):
    """The graph is not of the known form."""


def require(holds: bool) -> None:
    """Raise OtherForm where something does not hold."""
    if not holds:
        raise OtherForm


def only_graph(
    model: Message, opsets: range, inputs: Sequence[str], outputs: Sequence[str]
) -> Message:
    """The graph of a model of ONNX's own operators, with inputs and outputs of these names."""
    given = [(each.text(1) in STANDARD, each.integer(2)) for each in model.messages(8)]
    (graph,) = model.messages(7)
    require(len(given) == 1 and given[0][0] and given[0][1] in opsets)
    require(not list(model.messages(25)) and not list(graph.messages(15)))
    require([each.text(1) for each in graph.messages(11)] == [*inputs])
    require([each.text(1) for each in graph.messages(12)] == [*outputs])
    return graph


def axes(graph: Message) -> tuple[int, int, int]:
    """Batch, frames and bands of the first input; 0 for an axis without a number."""
    (kind,) = next(graph.messages(11)).messages(2)
    (tensor,) = kind.messages(1)
    (shape,) = tensor.messages(2)
    lengths = [axis.integer(1) for axis in shape.messages(1)]
    require(tensor.integer(1) == 1 and len(lengths) == 3 and lengths[1] > 0 and lengths[2] > 0)
    return lengths[0], lengths[1], lengths[2]


def whole(constant: NDArray[Any]) -> list[int]:
    """The whole numbers of one axis that a constant holds."""
    require(constant.ndim == 1 and constant.dtype == np.int64)
    numbers: list[int] = constant.tolist()
    return numbers


def floats(*constants: NDArray[Any]) -> bool:
    """Whether all of these are float32."""
    return all(each.dtype == np.float32 for each in constants)


class Walk:
    """The nodes of a graph, one after the other, each of which must be the expected one."""

    def __init__(self, graph: Message) -> None:
        self._nodes, self._at = list(graph.messages(1)), 0
        self._constants = {each.text(8): _constant(each) for each in graph.messages(5)}
        self._outputs = [each.text(1) for each in graph.messages(12)]

    def next(self, *operators: str) -> str:
        """Which of these operators comes next; empty where none does. Nothing is taken."""
        following = (node.text(4) for node in self._nodes[self._at :])
        return next((each for each in following if each in operators), "")

    def take(self, operator: str, *inputs: Any, **attributes: Attribute) -> str:
        """The output of the next node, which has this operator and these inputs: names of values,
        and what constants hold."""
        (output,), _ = self.learn(operator, *inputs, **attributes)
        return output

    def learn(
        self, operator: str, *inputs: Any, **attributes: Attribute
    ) -> tuple[list[str], list[NDArray[Any]]]:
        """Likewise, and what constants hold whose input is None; returns all outputs and those."""
        require(self._at < len(self._nodes))
        node = self._nodes[self._at]
        self._at += 1
        require(node.text(4) == operator and node.text(7) in STANDARD)
        require(_given(node) == {name: _typed(value) for name, value in attributes.items()})
        names, learned = node.texts(1), []
        require(len(names) == len(inputs))
        for name, expected in zip(names, inputs, strict=True):
            if isinstance(expected, str):
                require(name == expected)
                continue
            constant = self._constants.get(name)
            if constant is None:
                raise OtherForm
            if expected is None:
                learned.append(constant)
            else:
                require(constant.dtype in _COMPARED and bool(np.array_equal(constant, expected)))
        return node.texts(2), learned

    def end(self, *outputs: str) -> None:
        """There must be no more nodes, and these must be the graph's outputs."""
        require(self._at == len(self._nodes) and self._outputs == [*outputs])


def _given(node: Message) -> dict[str, tuple[int, Any]]:
    """The attributes of a node with their types; None for one of a type that no form has."""
    values = {}
    for each in node.messages(5):
        kind = each.integer(20)
        by_type = {_FLOAT: each.number(2), _INT: each.integer(3), _INTS: each.integers(8)}
        values[each.text(1)] = kind, by_type.get(kind)
    return values


def _typed(value: Attribute) -> tuple[int, Any]:
    if isinstance(value, float):
        return _FLOAT, value
    return (_INT, value) if isinstance(value, int) else (_INTS, list(value))


def _constant(tensor: Message) -> NDArray[Any] | None:
    """What a tensor holds; None where it is not written as this project's exporter does."""
    kind, content = _TYPES.get(tensor.integer(2)), tensor.content(9)
    if kind is None or content is None:
        return None
    numbers: NDArray[Any] = np.frombuffer(content, kind)
    return numbers.reshape(tensor.integers(1))
