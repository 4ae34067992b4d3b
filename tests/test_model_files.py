"""Model files are looked at before a runtime opens them: whole, self-contained, standard."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.errors import ModelError
from kws.model.manifest import MODELS
from kws.model.onnx_file import FIELDS, check_onnx
from kws.model.tflite_file import TABLES, check_tflite

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


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def within(number: int, content: bytes, tag: int | None = None) -> bytes:
    """A field of protobuf with this content, under its own tag or another."""
    return varint(number << 3 | 2 if tag is None else tag) + varint(len(content)) + content


def with_tensor(*fields: bytes) -> bytes:
    """A model whose only weights are these fields of a TensorProto."""
    return b"\x08\x09" + within(7, within(5, b"".join(fields)))


ENTRY = within(1, b"location") + within(2, b"weights.bin")
VALUES = b"\x08\x02\x10\x01" + within(8, b"p")  # the axes, the type and the name of two floats


def test_what_can_be_read_in_two_ways() -> None:
    """A tag that only protobuf cuts to 32 bits, a long form, a field twice: what is read is clear.

    ONNX Runtime took the first for external data and read the file.
    """
    check_onnx(with_tensor(VALUES, within(9, bytes(8))))
    with pytest.raises(ModelError, match="weights of 'p' are in another file"):
        check_onnx(with_tensor(VALUES, within(13, ENTRY, 13 << 3 | 2 | 1 << 32)))
    with pytest.raises(ModelError, match="not a complete ONNX file"):
        check_onnx(with_tensor(VALUES, within(9, bytes(8), 9 << 3 | 2 | 1 << 32)))
    for wrong in (
        with_tensor(VALUES, b"\xca\x00\x08" + bytes(8)),  # the tag of 9 in two bytes
        with_tensor(VALUES, b"\x4a\x88\x00" + bytes(8)),  # the length likewise
        with_tensor(VALUES, within(9, bytes(8)), within(9, bytes(8))),
        with_tensor(VALUES, within(9, bytes(8)), b"\x70\x80\x80\x80\x80\x10"),  # 2**32 is 0 to it
        with_tensor(VALUES, within(9, bytes(8)), b"\x73\x74"),  # a group
        with_tensor(VALUES, within(9, bytes(8)), within(14, b"\x01")),
        2 * with_tensor(VALUES, within(9, bytes(8))),
    ):
        with pytest.raises(ModelError, match="not a complete ONNX file"):
            check_onnx(wrong)
    with pytest.raises(ModelError, match="field 99 of TensorProto, which this release does not"):
        check_onnx(with_tensor(VALUES, within(9, bytes(8)), within(99, b"")))


def test_another_format_of_the_runtime() -> None:
    """ONNX Runtime takes its own format for whatever has its mark, an ONNX file too."""
    polyglot = within(2, b"ORTM" + b"x" * 20, 2 << 3 | 2)
    polyglot = b"\x08\x09" + polyglot + within(7, b"")
    assert b"ORTM" == polyglot[4:8]
    with pytest.raises(ModelError, match="ONNX Runtime's own format"):
        check_onnx(polyglot)


def test_sizes_of_onnx_tensors() -> None:
    """Weights are as many as their shape says, and no shape is beyond reason."""
    for raw in (bytes(7), bytes(12), b""):
        with pytest.raises(ModelError, match="not a complete ONNX file"):
            check_onnx(with_tensor(VALUES, within(9, raw)))
    check_onnx(with_tensor(VALUES, within(4, bytes(8))))
    check_onnx(with_tensor(VALUES, b"\x25" + bytes(4), b"\x25" + bytes(4)))
    with pytest.raises(ModelError, match="declared with axes"):
        check_onnx(with_tensor(b"\x08" + varint(1 << 40) + b"\x10\x01", within(9, bytes(8))))
    onnx = pytest.importorskip("onnx", reason="the test models are made with onnx")
    made = model()
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**31 - 1
    with pytest.raises(ModelError, match="'x' is declared with axes"):
        check_onnx(made.SerializeToString())
    for kind, content in ((onnx.TensorProto.INT4, 3), (onnx.TensorProto.BOOL, 5)):
        tensor = onnx.helper.make_tensor("w", kind, [5], bytes(content), raw=True)
        check_onnx(model(tensor=tensor).SerializeToString())


@pytest.mark.parametrize(
    ("operator", "domain", "reason"),
    [("Loop", "", "repeats for as long"), ("EPContext", "com.microsoft", "custom one")],
)
def test_operators_that_are_refused(operator: str, domain: str, reason: str) -> None:
    """Endless loops, and operators of the runtime's own that read other files."""
    with pytest.raises(ModelError, match=reason):
        check_onnx(model({"op_type": operator, "domain": domain}).SerializeToString())


def test_the_fields_of_onnx() -> None:
    """The table of fields is that of the newest onnx here, so that no file of its is refused."""
    pytest.importorskip("onnx", reason="the fields are compared with onnx's")
    from onnx import onnx_ml_pb2

    kinds = {1: "double", 2: "float", 3: "int", 4: "int", 5: "small", 9: "text", 12: "bytes"}
    found: dict[str, dict[int, str]] = {}
    waiting = [onnx_ml_pb2.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name in found:
            continue
        found[message.name] = {}
        for field in message.fields:
            inner = field.message_type
            kind = inner.name if inner else kinds.get(field.type, "small")
            found[message.name][field.number] = kind + "*" * field.is_repeated
            waiting += [inner] * bool(inner)
    assert FIELDS == found


SIZES = {"Bool": "u1", "Int8": "i1", "Uint8": "u1", "Int32": "i4", "Uint32": "u4", "Int64": "i8",
         "Uint64": "u8", "Float32": "f4"}  # fmt: skip


def test_the_fields_of_tflite() -> None:
    """The tables of fields have as many as the newest schema here, of the same sizes."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    source = inspect.getsource(schema)
    for table, fields in TABLES.items():
        if table == "Options":
            continue
        count = re.search(rf"def {table}Start\(builder\):\s*builder\.StartObject\((\d+)\)", source)
        assert int(count[1]) == len(fields) or table.endswith("Options"), table
        for kind, place in re.findall(
            rf"def {table}Add\w+\(builder.*\n\s*builder\.Prepend(\w+)Slot\((\d+)", source
        ):
            mine, size = fields[int(place)], SIZES.get(kind, "offset")
            if mine.startswith("no"):
                assert {"offset": "4"}.get(size, size[-1]) == mine[-1], (table, place)
            elif size == "offset":
                assert mine not in SIZES.values(), (table, place)
            else:
                assert size[-1] == mine[-1], (table, place)


def tflite(edit: Callable[[Any], object], name: str = "commands.window.int8.tflite") -> bytes:
    """A shipped TFLite file whose parts have been changed."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    content = (MODELS / name).read_bytes()
    made = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    edit(made)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda m: None, None),
        (lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [10**6, 1, 2]), "damaged"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [-1, 1, 2]), "damaged"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "outputs", [-1]), "damaged"),
        (lambda m: m.subgraphs[0].operators.reverse(), "damaged"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 99), "damaged"),
        (lambda m: setattr(m.subgraphs[0], "inputs", [999]), "damaged"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "buffer", 999), "damaged"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "quantization", None), "damaged"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [1, -5]), "damaged"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [1 << 16] * 2), "take more than"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "type", 5), "damaged"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "name", b"serving \xe5"), "damaged"),
        (lambda m: cut(m), "damaged"),
        (lambda m: setattr(m.buffers[0], "offset", 1 << 40), "one in another file"),
        (lambda m: setattr(m.subgraphs[0].tensors[0], "externalBuffer", 1), "in another file"),
        (lambda m: loop(m.operatorCodes[0]), "operator number 119"),
        (lambda m: setattr(m, "version", 2), "damaged"),
    ],
)
def test_tflite_parts(edit: Callable[[Any], object], reason: str | None) -> None:
    """Numbers of parts that are not there, sizes that do not fit and other files are refused."""
    content = tflite(edit)
    if reason is None:
        check_tflite(content)
    else:
        with pytest.raises(ModelError, match=reason):
            check_tflite(content)


def cut(made: Any) -> None:
    """Let every buffer with weights hold three bytes."""
    for buffer in made.buffers:
        if buffer.data is not None and len(buffer.data):
            buffer.data = [0, 0, 0]


def loop(code: Any) -> None:
    """Make an operator a WHILE, in the older field alone."""
    code.deprecatedBuiltinCode, code.builtinCode = 119, 0


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
