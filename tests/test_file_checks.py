"""Model files are looked at before a runtime opens them: whole, self-contained, standard."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.errors import ModelError
from kws.model.file_checks import check_onnx, check_tflite
from kws.model.manifest import MODELS

ONNX = sorted(MODELS.glob("*.onnx"))
TFLITE = sorted(MODELS.glob("*.tflite"))


@pytest.mark.parametrize("path", [*ONNX, *TFLITE], ids=lambda path: path.name)
def test_shipped_files_pass(path: Path) -> None:
    """What we ship is whole; cut anywhere it is not."""
    check = check_onnx if path.suffix == ".onnx" else check_tflite
    content = path.read_bytes()
    check(content)
    for length in range(0, len(content) - 16, len(content) // 50):
        with pytest.raises(ModelError, match="again"):
            check(content[:length])


@pytest.mark.parametrize("check", [check_onnx, check_tflite])
@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused(check: object, content: bytes) -> None:
    """Random bytes, with and without a header, are a ModelError and no other exception."""
    for wrong in (content, b"\x20\0\0\0TFL3" + content):
        with pytest.raises(ModelError):
            check(wrong)  # type: ignore[operator]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_never_escapes(data: st.DataObject) -> None:
    """A file with other bytes anywhere passes or is a ModelError, and never anything else."""
    path = data.draw(st.sampled_from([*ONNX, *TFLITE]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        # The structure lies at the ends of a file more often than in its middle.
        place = data.draw(st.one_of(st.integers(0, 400), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    check = check_onnx if path.suffix == ".onnx" else check_tflite
    with contextlib.suppress(ModelError):
        check(bytes(content))


def model(node: dict[str, object] | None = None, tensor: object = None) -> object:
    """A tiny ONNX model with such a node and such weights."""
    onnx = pytest.importorskip("onnx", reason="the test models are made with onnx")
    helper = onnx.helper
    weights = tensor or onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), "weights")
    nodes = [
        helper.make_node(**(node or {"op_type": "MatMul"}), inputs=["x", "weights"], outputs=["y"])
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("x", onnx.TensorProto.FLOAT, [1, 2])],
        [value("y", onnx.TensorProto.FLOAT, [1, 2])],
        [weights],
    )
    return helper.make_model(graph)


def external() -> object:
    """Weights that are said to be in another file."""
    onnx = pytest.importorskip("onnx", reason="the test models are made with onnx")
    tensor = onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), "weights")
    onnx.external_data_helper.set_external_data(tensor, location="../../etc/passwd")
    tensor.ClearField("raw_data")
    return tensor


def test_external_data() -> None:
    """Weights in another file are refused by name, that file unread."""
    with pytest.raises(ModelError, match="weights of 'weights' are in another file"):
        check_onnx(model(tensor=external()).SerializeToString())


def test_external_data_within() -> None:
    """The same in an attribute and in a graph within the graph."""
    onnx = pytest.importorskip("onnx", reason="the test models are made with onnx")
    constant = onnx.helper.make_node("Constant", [], ["c"], value=external())
    inner = onnx.helper.make_graph([constant], "inner", [], [])
    branch = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    for node in (constant, branch):
        graph = onnx.helper.make_graph([node], "outer", [], [])
        with pytest.raises(ModelError, match="in another file"):
            check_onnx(onnx.helper.make_model(graph).SerializeToString())


def test_custom_operators() -> None:
    """An operator of another domain is refused by name; one of ONNX Runtime's own is not."""
    with pytest.raises(ModelError, match=r"operator Evil of 'org\.evil' is a custom one"):
        check_onnx(model({"op_type": "Evil", "domain": "org.evil"}).SerializeToString())
    check_onnx(model({"op_type": "QLinearAdd", "domain": "com.microsoft"}).SerializeToString())


def test_functions_in_the_file() -> None:
    """A function that the file defines may be called; what it is made of is checked."""
    onnx = pytest.importorskip("onnx", reason="the test models are made with onnx")
    helper = onnx.helper
    for operator, domain in (("Relu", ""), ("Evil", "org.evil")):
        function = helper.make_function(
            "own",
            "Twice",
            ["a"],
            ["b"],
            [helper.make_node(operator, ["a"], ["b"], domain=domain)],
            [helper.make_opsetid("", 21)],
        )
        made = model({"op_type": "Twice", "domain": "own"})
        made.functions.append(function)
        if domain:
            with pytest.raises(ModelError, match="operator Evil"):
                check_onnx(made.SerializeToString())
        else:
            check_onnx(made.SerializeToString())


def test_custom_tflite_operators() -> None:
    """A TFLite file with an operator by name is refused, and the name told."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    custom = schema.OperatorCodeT(
        builtinCode=schema.BuiltinOperator.CUSTOM, customCode="Evil", version=1
    )
    made = schema.ModelT(
        version=3, operatorCodes=[custom], subgraphs=[schema.SubGraphT()], buffers=[]
    )
    builder = flatbuffers.Builder(256)
    builder.Finish(made.Pack(builder), b"TFL3")
    with pytest.raises(ModelError, match="operator Evil is a custom one"):
        check_tflite(bytes(builder.Output()))


def test_endless_nesting() -> None:
    """Graphs within graphs without end are refused, not followed."""
    graph = b""
    for _ in range(3_000):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # graph of an attribute of a node of a graph
            length, digits = len(graph), bytearray()
            while length > 127:
                digits.append(length & 127 | 128)
                length >>= 7
            graph = tag + bytes([*digits, length]) + graph
    with pytest.raises(ModelError, match="not a complete ONNX file"):
        check_onnx(
            b"\x3a"
            + bytes([len(graph) & 127 | 128, (len(graph) >> 7) & 127 | 128, len(graph) >> 14])
            + graph
        )
