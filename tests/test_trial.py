"""A network from elsewhere meets the runtime in a process of its own first, which may die of it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the test models are made with onnx")
pytest.importorskip("onnxruntime")

from kws.cli import main  # noqa: E402
from kws.errors import ModelError  # noqa: E402
from kws.model import trial  # noqa: E402
from kws.model.load import load_model  # noqa: E402
from kws.model.manifest import (  # noqa: E402
    MODELS,
    describe_artefact,
    read_manifest,
    write_manifest,
)
from kws.model.trial import Trial, try_first  # noqa: E402

WINDOW = Trial(graph="window", form="onnx", frames=98, width=40, steps=4)


def network(*nodes: Any, **weights: np.ndarray[Any, Any]) -> bytes:
    """An ONNX graph from `features` (1, 98, 40) to `posteriors` of these nodes and weights."""
    value, helper = onnx.helper.make_tensor_value_info, onnx.helper
    graph = helper.make_graph(
        nodes,
        "test",
        [value("features", onnx.TensorProto.FLOAT, [1, 98, 40])],
        [value("posteriors", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return content


def filled(size: int) -> list[Any]:
    """Nodes that make a square matrix `m` of that many rows, and posteriors of features."""
    node = onnx.helper.make_node
    return [
        node("ReduceMean", ["features"], ["mean"], keepdims=0),
        node("Mul", ["mean", "zeros"], ["shape_f"]),
        node("Cast", ["shape_f"], ["shape_i"], to=onnx.TensorProto.INT64),
        node("Add", ["shape_i", "size"], ["shape"]),  # so that nothing is computed beforehand
        node("ConstantOfShape", ["shape"], ["m"]),
    ]


def sizes(size: int) -> dict[str, np.ndarray[Any, Any]]:
    """The weights of `filled`."""
    return {"zeros": np.zeros(2, np.float32), "size": np.array([size, size], np.int64)}


def test_too_much_memory() -> None:
    """A file of some hundred bytes that needs gigabytes is refused, and takes none here."""
    node = onnx.helper.make_node
    large = network(
        *filled(1 << 15), node("ReduceSum", ["m"], ["posteriors"], keepdims=0), **sizes(1 << 15)
    )
    with pytest.raises(ModelError, match=r"memory|alloc"):
        try_first(large, WINDOW)


def test_too_much_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that computes for minutes is stopped after seconds of processor time."""
    pytest.importorskip("resource", reason="no limits on processor time here")
    monkeypatch.setattr(trial, "SECONDS", 1)
    node = onnx.helper.make_node
    count = 400
    chain = [node("MatMul", [f"m{i}" if i else "m", "m"], [f"m{i + 1}"]) for i in range(count)]
    last = node("ReduceSum", [f"m{count}"], ["posteriors"], keepdims=0)
    with pytest.raises(ModelError, match="took more than 1 s of processor time in a trial run"):
        try_first(network(*filled(4096), *chain, last, **sizes(4096)), WINDOW)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", r"the runtime crashed on it \(SIGABRT\) in a trial run"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed on it \(SIGSEGV\)"),
        ("import sys; sys.exit(3)", r"crashed on it \(code 3\)"),
        ("import sys; sys.exit(0)", r"crashed on it \(code 0\)"),
        ("print('half a report'); import os; os.abort()", "crashed on it"),
        ("import time; time.sleep(60)", "took more than 1 s of waiting"),
    ],
)
def test_death_is_told(monkeypatch: pytest.MonkeyPatch, program: str, reason: str) -> None:
    """However the child ends, it is a ModelError, and the network stays untried."""
    if os.name != "posix" and "SIG" in reason:
        pytest.skip("no signals here")
    monkeypatch.setattr(trial, "_CHILD", program)
    monkeypatch.setattr(trial, "WAIT_SECONDS", 1 if "sleep" in program else 120)
    for _ in range(2):
        with pytest.raises(ModelError, match=reason):
            try_first(b"any network", WINDOW)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of processes that are started from now on, with nothing tried before."""
    commands: list[list[str]] = []
    run = subprocess.run

    def counted(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(trial.subprocess, "run", counted)
    monkeypatch.setattr(trial, "_tried", set())
    return commands


def test_tried_once(tones: Path, tmp_path: Path, started: list[list[str]]) -> None:
    """A network is tried when it is first loaded, and again when its content is another."""
    for _ in range(2):
        load_model(tones)
        assert 1 == len(started)
    folder = Path(shutil.copytree(tones, tmp_path / "other"))
    load_model(folder)
    assert 1 == len(started)
    content = onnx.load(folder / "m.onnx")
    content.doc_string = "another"
    onnx.save(content, folder / "m.onnx")
    manifest = read_manifest(folder / "tones.json")
    entry = describe_artefact(folder / "m.onnx")
    write_manifest(
        dataclasses.replace(manifest, artefacts={"window.onnx": entry}), folder / "tones.json"
    )
    load_model(folder)
    assert 2 == len(started)


def test_packaged_models_are_trusted(tmp_path: Path, started: list[list[str]]) -> None:
    """What came with kws, and a copy of it, is known by its hash."""
    model = load_model()
    assert model.verifier is not None
    copied = load_model(shutil.copytree(MODELS, tmp_path / "copy") / "commands.json")
    assert copied.verifier is not None
    assert [] == started


def test_nothing_is_imported_from_the_working_folder(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[list[str]]
) -> None:
    """A file named as a module beside a downloaded model is not run by the child."""
    for name in ("numpy", "json", "onnxruntime", "kws"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    load_model(tones)
    assert 1 == len(started)
    assert not (tmp_path / "run").exists()


def test_a_program_without_python(
    tones: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A frozen program cannot start Python; it says so and loads the model."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(trial, "_tried", set())
    load_model(tones)
    assert "only networks from sources that you trust" in caplog.text


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the network is not loaded, and the reason told."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(trial.subprocess, "run", refuse)
    with pytest.raises(ModelError, match=r"cannot start a process .*temporarily unavailable"):
        try_first(b"another network", WINDOW)


def test_import_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network of which the runtime dies leaves no file, whether the folder was there or not."""
    monkeypatch.setattr(trial, "_CHILD", "import os; os.abort()")
    file = tmp_path / "net.onnx"
    mean = onnx.helper.make_node("ReduceMean", ["features"], ["mean"], axes=[1], keepdims=0)
    softmax = onnx.helper.make_node("Softmax", ["mean"], ["posteriors"])
    file.write_bytes(network(mean, softmax))
    labels = ",".join(f"word{number}" for number in range(40))
    for out in (tmp_path / "there", tmp_path / "deep" / "below"):
        if out.name == "there":
            out.mkdir()
        assert 1 == main(["import", str(file), "--labels", labels, "--out", str(out)])
        assert "net.onnx: the runtime crashed on it" in capsys.readouterr().err
        assert [] == list(out.glob("*"))
    assert {"net.onnx", "there"} == {each.name for each in tmp_path.iterdir()}
    monkeypatch.undo()
    for out in (tmp_path / "there", tmp_path / "deep" / "below"):
        assert 0 == main(["import", str(file), "--labels", labels, "--out", str(out)])
        assert {"net.json", "net.window.onnx"} == {each.name for each in out.iterdir()}
        assert 1 == main(["import", str(file), "--labels", labels, "--out", str(out)])
        assert "is there already" in capsys.readouterr().err
