"""`kws import`: other people's classifiers run, and misfits are reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the test models are made with onnx")

from kws import Detector  # noqa: E402
from kws.cli import main  # noqa: E402
from kws.frontend import log_mel  # noqa: E402
from kws.model.load import load_model  # noqa: E402
from kws.model.manifest import MODELS, read_manifest  # noqa: E402

LABELS = "marvin,sheila,_silence_,_unknown_"
MFCC = "window=640,hop=320,fft_size=1024,coefficients=10"


def classifier(
    shape: tuple[object, ...] = ("batch", 98, 40),
    labels: int = 4,
    softmaxed: bool = True,
    weight: float = 0.01,
    kind: int = onnx.TensorProto.FLOAT,
) -> bytes:
    """An ONNX classifier of random weights whose input and output have names of their own."""
    helper = onnx.helper
    size = int(np.prod([length for length in shape if isinstance(length, int)]))
    weights = np.random.default_rng(0).normal(0, weight, (size, labels)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["input_1"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax" if softmaxed else "Identity", ["logits"], ["Identity:0"]),
    ]
    if kind != onnx.TensorProto.FLOAT:
        nodes[0] = helper.make_node("Flatten", ["cast"], ["flat"])
        nodes.insert(0, helper.make_node("Cast", ["input_1"], ["cast"], to=onnx.TensorProto.FLOAT))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "foreign",
        [value("input_1", kind, shape)],
        [value("Identity:0", onnx.TensorProto.FLOAT, [shape[0], labels])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return made


def import_file(folder: Path, content: bytes, *options: str, name: str = "net.onnx") -> int:
    """Run the command on a file of this content, into the folder `model`."""
    (folder / name).write_bytes(content)
    command = ["import", str(folder / name), "--out", str(folder / "model"), "--labels", LABELS]
    return main([*command, *options])


@pytest.mark.parametrize(
    ("shape", "features"),
    [
        (("batch", 98, 40), ""),
        ((1, 98, 40), ""),
        ((1, 98, 40, 1), ""),
        (("n", 1, 98, 40), ""),
        ((1, 49, 10), MFCC),
        ((1, 49, 10, 1), MFCC),
    ],
)
def test_onnx_runs(tmp_path: Path, shape: tuple[object, ...], features: str) -> None:
    """Log-mel and MFCC classifiers with any labels, with axes of one, become detectors."""
    assert 0 == import_file(tmp_path, classifier(shape), "--features", features)
    manifest = read_manifest(tmp_path / "model" / "net.json")
    assert ("marvin", "sheila", "silence", "unknown") == manifest.labels
    assert ("marvin", "sheila") == manifest.keywords
    detector = Detector(tmp_path / "model", threshold=0.01, vad=False)
    audio = np.random.default_rng(0).normal(0, 3000, 32_000).astype(np.int16)
    assert {each.keyword for each in detector.process(audio)} <= {"marvin", "sheila"}
    features = np.stack(
        [log_mel(audio[start : start + 16_000], manifest.features) for start in (0, 9)]
    )
    posteriors = load_model(tmp_path / "model").backend.run(features)
    assert (2, 4) == posteriors.shape
    assert np.allclose(1.0, posteriors.sum(axis=1), atol=1e-5)


@pytest.mark.parametrize("key", ["window.tflite", "window.int8.tflite"])
def test_tflite_runs(tmp_path: Path, key: str) -> None:
    """A TFLite file, whatever it is called, and its labels from a file with one per line."""
    pytest.importorskip("ai_edge_litert", reason="no TFLite runtime: `pip install ai-edge-litert`")
    manifest = read_manifest(MODELS / "commands.json")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(manifest.labels) + "\n", encoding="utf-8")
    content = (MODELS / manifest.artefacts[key].file).read_bytes()
    assert 0 == import_file(tmp_path, content, "--labels", str(labels), name="their.model.tflite")
    imported = load_model(tmp_path / "model")
    assert ("window.tflite", manifest.labels) == (imported.artefact, imported.manifest.labels)
    features = log_mel(np.zeros(16_000, np.int16))[None]
    own = load_model(artefact=key).backend.run(features)
    np.testing.assert_array_equal(own, imported.backend.run(features))


def refused(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    content: bytes,
    *options: str,
    name: str = "net.onnx",
) -> str:
    """Import what must be refused with exit code 1, one line and nothing left behind."""
    assert 1 == import_file(folder, content, *options, name=name)
    assert not (folder / "model").exists()
    error = capsys.readouterr().err
    assert error.startswith("kws: error: ")
    assert 1 == error.count("\n")
    return error


def test_other_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misfit of shapes says both, and which settings would fit."""
    error = refused(capsys, tmp_path, classifier((1, 49, 10)))
    assert "takes features of shape (1, 49, 10), not (1, 98, 40)" in error
    assert "49 frames are those of window=640,hop=320,fft_size=1024" in error
    assert "coefficients=10" in error


def test_transposed_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bands before time are recognised as that."""
    assert "the other way round" in refused(capsys, tmp_path, classifier((1, 40, 98)))


@pytest.mark.parametrize(
    ("shape", "hint"),
    [((1, 77, 40), "no usual window and hop"), ((1, 3920), "expected two axes")],
)
def test_unusual_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, ...], hint: str
) -> None:
    """Shapes that no usual front end makes are reported as such."""
    assert hint in refused(capsys, tmp_path, classifier(shape))


def test_wrong_number_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many labels as posteriors, no fewer."""
    error = refused(capsys, tmp_path, classifier(labels=5))
    assert "expected posteriors of shape (1, 4), one per label, got (1, 5)" in error


def test_logits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network without its softmax is refused."""
    assert "softmax" in refused(capsys, tmp_path, classifier(softmaxed=False))


def test_other_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ONNX network that takes other numbers than float32 is refused."""
    error = refused(capsys, tmp_path, classifier(kind=onnx.TensorProto.FLOAT16))
    assert "expected float32 in and out, got tensor(float), tensor(float16)" in error


def test_a_second_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network with a state of its own is not a classifier of windows."""
    manifest = read_manifest(MODELS / "commands.json")
    content = (MODELS / manifest.artefacts["stream.onnx"].file).read_bytes()
    assert "one input and one output, got features, state" in refused(capsys, tmp_path, content)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("net.onnx", b"", "not a complete ONNX file"),
        ("net.onnx", b"\x80\x04\x95 pickled weights", "not a complete ONNX file"),
        ("net.pt", b"PK\x03\x04 weights", "neither an ONNX nor a TFLite file"),
        ("net.h5", b"\x89HDF\r\n", "neither an ONNX nor a TFLite file"),
        ("net.tflite", b"\x20\0\0\0TFL3" + b"\xff" * 60, "TFLite file is damaged"),
    ],
)
def test_foreign_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, reason: str
) -> None:
    """What is no network is refused by name."""
    if "TFLite file is" in reason:
        pytest.importorskip("ai_edge_litert", reason="no TFLite runtime")
    assert reason in refused(capsys, tmp_path, content, name=name)


def test_truncated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a file is told as half a file."""
    content = classifier()
    assert "not a complete ONNX file" in refused(capsys, tmp_path, content[: len(content) // 2])


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is named."""
    command = ["import", str(tmp_path / "no.onnx"), "--out", str(tmp_path), "--labels", LABELS]
    assert 1 == main(command)
    assert "no.onnx" in capsys.readouterr().err


def test_external_data_and_custom_operators(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither other files nor other code."""
    model = onnx.load_from_string(classifier())
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location="secret.bin")
    assert "in another file" in refused(capsys, tmp_path, model.SerializeToString())
    model = onnx.load_from_string(classifier())
    model.graph.node[0].domain = "org.evil"
    assert "custom one" in refused(capsys, tmp_path, model.SerializeToString())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second import into the same place is refused and changes nothing."""
    assert 0 == import_file(tmp_path, classifier())
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert 1 == import_file(tmp_path, classifier(labels=4, weight=0.5))
    assert "is there already" in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}


def test_a_network_of_constant_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network whose posteriors never change is imported, with a warning."""
    assert 0 == import_file(tmp_path, classifier(weight=0.0))
    assert "returns the same posteriors for silence and for noise" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ("--features", "hops=3"),
        ("--features", "hop=long"),
        ("--features", "window=9000"),
        ("--labels", ","),
    ],
)
def test_wrong_usage(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Settings that do not exist or cannot be are wrong usage: exit code 2."""
    with pytest.raises(SystemExit) as error:
        import_file(tmp_path, classifier(), *options)
    assert 2 == error.value.code


def test_a_manifest_that_points_outside(tmp_path: Path) -> None:
    """A model folder may name files of its own only, by link or by path."""
    assert 0 == import_file(tmp_path, classifier())
    manifest = tmp_path / "model" / "net.json"
    shutil.copy(tmp_path / "net.onnx", tmp_path / "outside.onnx")
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("net.window.onnx", "../outside.onnx"), encoding="utf-8")
    from kws import KwsError

    with pytest.raises(KwsError, match="a file name in the manifest's own folder"):
        Detector(tmp_path / "model")


@pytest.mark.parametrize(
    "encoded",
    [
        b"\xef\xbb\xbfsilence\r\nunknown\r\nyes\r\nno\r\n",
        "silence\r\nunknown\r\nyes\r\nno\r\n".encode("utf-16"),
        "\ufeffsilence\nunknown\nyes\nno".encode("utf-16-be"),
        b"silence\runknown\ryes\rno\r",
    ],
)
def test_labels_as_editors_save_them(tmp_path: Path, encoded: bytes) -> None:
    """A byte-order mark is no part of the first label, and any line end ends one."""
    labels = tmp_path / "labels.txt"
    labels.write_bytes(encoded)
    assert 0 == import_file(tmp_path, classifier(), "--labels", str(labels))
    assert ("yes", "no") == read_manifest(tmp_path / "model" / "net.json").keywords


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("yes,no,[red],up", "printable characters"),
        ("yes,no,a\x1b[2Jb,up", "printable characters"),
        ("yes,no,yes,up", "duplicate label 'yes'"),
        ("silence,unknown", "no keyword"),
    ],
)
def test_labels_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: str, reason: str
) -> None:
    """Labels that a terminal would take for commands, and repeated ones, are refused."""
    assert reason in refused(capsys, tmp_path, classifier(), "--labels", labels)


def test_names_stay_in_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name is no path."""
    for name in ("../net", "/tmp/net", "a\x1bb", ".hidden"):
        assert "expected a name" in refused(capsys, tmp_path, classifier(), "--name", name)


def test_a_newer_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A version that the runtime does not know is told with what to do, without C++."""
    newer = onnx.load_from_string(classifier())
    newer.ir_version = 99
    error = refused(capsys, tmp_path, newer.SerializeToString())
    assert "newer ONNX (IR version 99) than onnxruntime" in error
    assert "pip install --upgrade onnxruntime" in error
    newer.ir_version, newer.opset_import[0].version = 9, 99
    error = refused(capsys, tmp_path, newer.SerializeToString())
    assert "newer ONNX (opset 99 of ai.onnx)" in error
    assert "::" not in error


def test_errors_of_the_runtime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the runtime says has no place in its source in it."""
    wrong = onnx.load_from_string(classifier())
    wrong.graph.node[1].op_type = "NoSuchOperator"
    error = refused(capsys, tmp_path, wrong.SerializeToString())
    assert "ONNX Runtime cannot load the model: " in error
    assert "export it again" in error
    assert not any(part in error for part in ("onnxruntime_src", "::", "[ONNXRuntimeError]"))
