"""The runtimes: what they compute, and what they say when they cannot."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kws.errors import BackendUnavailable, ModelError
from kws.model import runtimes
from kws.model.load import load_model
from kws.model.manifest import MODELS, describe_artefact, read_manifest, write_manifest
from kws.model.runtimes import OnnxBackend, TfliteBackend, has_vnni, open_backend

SHAPE = (98, 40)
LABELS = 12


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def weights() -> NDArray[np.float32]:
    """A random linear classifier, shape (labels, frames * bands)."""
    generator = np.random.default_rng(0)
    return generator.normal(0, 0.003, (LABELS, SHAPE[0] * SHAPE[1])).astype(np.float32)


@pytest.fixture(scope="module")
def features() -> NDArray[np.float32]:
    """Three windows of the range that real features have."""
    return np.random.default_rng(1).uniform(0, 15, (3, *SHAPE)).astype(np.float32)


def graph(
    output: str = "posteriors",
    input_name: str = "features",
    softmaxed: bool = True,
    labels: int = LABELS,
    bands: int = 40,
) -> bytes:
    """An ONNX classifier of random weights."""
    onnx = pytest.importorskip("onnx", reason="the test model is made with onnx")
    node, value, kind = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto
    generator = np.random.default_rng(0)
    matrix = generator.normal(0, 0.01, (98 * bands, labels)).astype(np.float32)
    nodes = [
        node("Flatten", [input_name], ["flat"]),
        node("MatMul", ["flat", "weights"], ["logits"]),
        node("Softmax" if softmaxed else "Relu", ["logits"], [output]),
    ]
    made = onnx.helper.make_graph(
        nodes,
        "test",
        [value(input_name, kind.FLOAT, ["batch", 98, bands])],
        [value(output, kind.FLOAT, ["batch", labels])],
        [onnx.numpy_helper.from_array(matrix, "weights")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    content: bytes = onnx.helper.make_model(
        made, opset_imports=opset, ir_version=9
    ).SerializeToString()
    return content


def test_onnx_posteriors(features: NDArray[np.float32]) -> None:
    """A batch gives one row of posteriors each, and alone each gives the same."""
    pytest.importorskip("onnxruntime")
    backend = OnnxBackend(graph())
    posteriors = backend.run(features)
    assert ((3, LABELS), np.float32) == (posteriors.shape, posteriors.dtype)
    assert np.allclose(1.0, posteriors.sum(axis=1), atol=1e-6)
    alone = np.concatenate([backend.run(window[None]) for window in features])
    assert np.abs(alone - posteriors).max() < 1e-6


def test_onnx_uses_one_sleeping_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, which does not spin between calls."""
    ort = pytest.importorskip("onnxruntime")
    made = []

    class Options(ort.SessionOptions):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(ort, "SessionOptions", Options)
    OnnxBackend(graph())
    assert (1, 1) == (made[0].intra_op_num_threads, made[0].inter_op_num_threads)
    assert "0" == made[0].get_session_config_entry("session.intra_op.allow_spinning")


def test_onnx_keeps_no_copy_of_the_file() -> None:
    """What was read is given back once it is loaded."""
    pytest.importorskip("onnxruntime")
    content = graph()
    references = sys.getrefcount(content)
    backend = OnnxBackend(content)
    assert references == sys.getrefcount(content)
    assert (1, LABELS) == backend.run(np.zeros((1, *SHAPE), np.float32)).shape


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x09" * 50, None])
def test_onnx_refuses_what_is_no_model(content: bytes | None) -> None:
    """Empty, foreign and truncated content is a ModelError of one line."""
    pytest.importorskip("onnxruntime")
    with pytest.raises(ModelError, match="not a complete ONNX file") as refusal:
        OnnxBackend(graph()[:-2000] if content is None else content)
    assert "\n" not in str(refusal.value)


def test_names_of_a_file_reach_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """A network that fails while it runs is told once, with the names of its parts escaped."""
    onnx = pytest.importorskip("onnx", reason="the test model is made with onnx")
    node, value, kind = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto
    nodes = [
        node("ReduceMax", ["x"], ["largest"], axes=[1, 2], keepdims=0),
        node("Cast", ["largest"], ["place"], to=kind.INT64),
        node("Gather", ["rows", "place"], ["y"], name="\x1b]0;title\x07"),
    ]
    rows = onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32), "rows")
    inside, out = value("x", kind.FLOAT, [1, 98, 40]), value("y", kind.FLOAT, [1, 2])
    made = onnx.helper.make_graph(nodes, "late", [inside], [out], [rows])
    opset = [onnx.helper.make_opsetid("", 17)]
    content = onnx.helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString()
    backend = OnnxBackend(content)
    assert np.array_equal([[1.0, 0.0]], backend.run(np.zeros((1, *SHAPE), np.float32)))
    with pytest.raises(ModelError, match=r"x1b\]0;title.*out of data bounds") as refusal:
        backend.run(np.full((1, *SHAPE), 9.0, np.float32))
    assert str(refusal.value).isprintable()
    printed = capfd.readouterr()
    assert "" == printed.out + printed.err


def test_onnx_refuses_other_graphs(features: NDArray[np.float32]) -> None:
    """Features of another shape are told; what input and output are called does not matter."""
    pytest.importorskip("onnxruntime")
    with pytest.raises(ModelError, match=r"98, 40\), not \(3, 98, 20\)"):
        OnnxBackend(graph()).run(features[:, :, :20])
    named = OnnxBackend(graph(input_name="x", output="y"))
    assert np.array_equal(OnnxBackend(graph()).run(features), named.run(features))


def tflite_model(weights: NDArray[np.float32], int8: bool = False) -> bytes:
    """The linear classifier as a .tflite file."""
    pytest.importorskip("flatbuffers", reason="the test model is made with flatbuffers")
    from tflite_model import classifier

    return classifier(weights, (1, *SHAPE), int8)


def tflite_backend(content: bytes) -> TfliteBackend:
    """The backend, where a TFLite runtime is installed."""
    if not any(importlib.util.find_spec(name) for name in ("ai_edge_litert", "tflite_runtime")):
        pytest.skip("no TFLite runtime is installed; pip install ai-edge-litert")
    return TfliteBackend(content)


@pytest.mark.parametrize(("int8", "tolerance"), [(False, 1e-5), (True, 0.03)])
def test_tflite_posteriors(
    weights: NDArray[np.float32], features: NDArray[np.float32], int8: bool, tolerance: float
) -> None:
    """Float and int8 graphs give the posteriors that NumPy gives, for a batch of any size."""
    backend = tflite_backend(tflite_model(weights, int8))
    posteriors = backend.run(features)
    expected = softmax(features.reshape(3, -1) @ weights.T)
    assert ((3, LABELS), np.float32) == (posteriors.shape, posteriors.dtype)
    assert np.abs(expected - posteriors).max() < tolerance
    assert np.array_equal(posteriors[1:2], backend.run(features[1:2]))


def test_tflite_saturates(weights: NDArray[np.float32], features: NDArray[np.float32]) -> None:
    """Features beyond the range of int8 are clipped, not wrapped around."""
    backend = tflite_backend(tflite_model(weights, int8=True))
    largest = np.full((1, *SHAPE), 25.5, np.float32)
    assert np.array_equal(backend.run(largest), backend.run(largest * 10))


def test_tflite_refuses(weights: NDArray[np.float32], features: NDArray[np.float32]) -> None:
    """Foreign content and features of another shape are ModelErrors."""
    content = tflite_model(weights)
    nothing = b"no model at all, and longer than a header"
    for wrong in (b"", nothing, b"\0\0\0\0TFL3" * 20, content[:200]):
        with pytest.raises(ModelError, match="TFLite file"):
            tflite_backend(wrong)
    with pytest.raises(ModelError, match=r"shape \(1, 98, 40\), not \(3, 98, 20\)"):
        tflite_backend(content).run(features[:, :, :20])


def test_unknown_choices() -> None:
    """A backend or provider that does not exist is the caller's mistake."""
    with pytest.raises(ValueError, match="onnx and tflite, not 'tensorrt'"):
        open_backend("tensorrt", b"")
    with pytest.raises(ValueError, match="cpu, cuda, not 'tpu'"):
        open_backend("onnx", b"", "tpu")
    with pytest.raises(BackendUnavailable, match="use an ONNX model for CUDA"):
        open_backend("tflite", b"", "cuda")


# What is installed is played by these; the real cases cannot be met in one environment.


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let only these distributions be installed."""
    monkeypatch.setattr(runtimes, "_installed", lambda name: name in names)


def modules(monkeypatch: pytest.MonkeyPatch, **present: Any) -> None:
    """Let importlib find these modules, or raise these errors, and nothing else."""

    def import_module(name: str) -> Any:
        package = name.partition(".")[0]
        if package not in present:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        if isinstance(present[package], Exception):
            raise present[package]
        return present[package]

    monkeypatch.setattr(runtimes.importlib, "import_module", import_module)
    for check in ("check_onnx", "check_tflite"):  # these runtimes take any content
        monkeypatch.setattr(runtimes, check, lambda content: None)


def fake_runtime(available: list[str], active: list[str], preload: str = "") -> SimpleNamespace:
    """An onnxruntime with these providers; preload_dlls prints."""
    node = SimpleNamespace(name="features", type="tensor(float)", shape=["batch", *SHAPE])
    session = SimpleNamespace(
        get_providers=lambda: active, get_inputs=lambda: [node], get_outputs=lambda: [node]
    )
    options = SimpleNamespace(add_session_config_entry=lambda key, value: None)
    return SimpleNamespace(
        __version__="1.99",
        SessionOptions=lambda: options,
        InferenceSession=lambda *args, **kwargs: session,
        get_available_providers=lambda: available,
        set_default_logger_severity=lambda level: None,
        preload_dlls=lambda: sys.stdout.write(preload),
    )


CPU, CUDA = ["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without either package the message names both."""
    installed(monkeypatch)
    modules(monkeypatch)
    with pytest.raises(BackendUnavailable, match="not installed; pip install onnxruntime"):
        OnnxBackend(b"")


def test_broken_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that does not import, or a folder left by an uninstall, says how to repair it."""
    installed(monkeypatch, "onnxruntime")
    for broken in (ImportError("DLL load failed"), SimpleNamespace()):
        modules(monkeypatch, onnxruntime=broken)
        with pytest.raises(BackendUnavailable, match=r"does not import .*pip uninstall -y"):
            OnnxBackend(b"")
    installed(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    with pytest.raises(BackendUnavailable, match="overwrite each other's files"):
        OnnxBackend(b"")


def test_both_onnxruntimes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both packages at once run on the CPU with a warning, and are the reason why CUDA fails."""
    installed(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    modules(monkeypatch, onnxruntime=fake_runtime(CPU, CPU))
    with caplog.at_level(logging.WARNING):
        OnnxBackend(b"")
    assert "keep one" in caplog.text
    with pytest.raises(BackendUnavailable, match="overwrite each other's files"):
        OnnxBackend(b"", "cuda")


@pytest.mark.parametrize("second", ["onnxruntime_gpu-1.99", "onnxruntime_extensions-0.14"])
def test_what_pip_has_installed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, second: str
) -> None:
    """What is installed is read from the folders that pip leaves, in any place of modules."""
    for number, name in enumerate(("onnxruntime-1.99", second)):
        place = tmp_path / str(number)
        (place / f"{name}.dist-info").mkdir(parents=True)
        monkeypatch.syspath_prepend(place)
    modules(monkeypatch, onnxruntime=fake_runtime(CPU, CPU))
    with caplog.at_level(logging.WARNING):
        runtimes.import_onnxruntime()
    assert ("gpu" in second) == ("keep one" in caplog.text)


@pytest.mark.parametrize("chosen", [None, "0", "1"])
def test_telemetry(monkeypatch: pytest.MonkeyPatch, chosen: str | None) -> None:
    """It is switched off before the import and, for Windows, after it; what a user set stays."""
    installed(monkeypatch, "onnxruntime")
    ort = fake_runtime(CPU, CPU)
    calls = []
    ort.disable_telemetry_events = lambda: calls.append("off")
    modules(monkeypatch, onnxruntime=ort)
    if chosen is None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    else:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", chosen)
    runtimes.import_onnxruntime()
    assert (chosen or "1") == os.environ["ORT_DISABLE_TELEMETRY"]
    assert calls == (["off"] if chosen is None else [])


def test_cuda_active(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """CUDA is accepted when the session shows it; what the preloading prints is kept away."""
    installed(monkeypatch, "onnxruntime-gpu")
    modules(monkeypatch, onnxruntime=fake_runtime(CUDA, CUDA, "chatter"))
    OnnxBackend(b"", "cuda")
    assert "chatter" not in capfd.readouterr().out


def test_cuda_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong package, no driver, no libraries: each has its own message, never a silent CPU."""
    installed(monkeypatch, "onnxruntime")
    modules(monkeypatch, onnxruntime=fake_runtime(CPU, CPU))
    with pytest.raises(BackendUnavailable, match=r"CPU package; .*pip install onnxruntime-gpu"):
        OnnxBackend(b"", "cuda")
    installed(monkeypatch, "onnxruntime-gpu")
    modules(monkeypatch, onnxruntime=fake_runtime(CUDA, CPU, "Failed to load libcudnn.so.9: gone"))

    def no_driver(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(runtimes.ctypes, "CDLL", no_driver)
    with pytest.raises(BackendUnavailable, match="no NVIDIA driver"):
        OnnxBackend(b"", "cuda")
    monkeypatch.setattr(runtimes.ctypes, "CDLL", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"1\.99 finds no CUDA .*libcudnn.*\[cuda,cudnn\]"):
        OnnxBackend(b"", "cuda")


def test_no_tflite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a TFLite runtime the message names the one to install."""
    modules(monkeypatch)
    with pytest.raises(BackendUnavailable, match="pip install ai-edge-litert"):
        TfliteBackend(b"")


def test_tflite_needs_another_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """tflite-runtime with NumPy 2 fails at its first use; the message says what to install."""

    def interpreter(**options: object) -> None:
        raise SystemError("returned a result with an exception set")

    runtime = SimpleNamespace(__name__="tflite_runtime.interpreter", Interpreter=interpreter)
    modules(monkeypatch, tflite_runtime=runtime)
    monkeypatch.setattr(runtimes.np, "__version__", "2.1.0")
    with pytest.raises(BackendUnavailable, match=r"does not run with NumPy 2\.1\.0; pip install"):
        TfliteBackend(b"")


@pytest.mark.parametrize(
    ("package", "kind", "expected"),
    [
        ("tflite_runtime", np.int8, "reference"),
        ("tflite_runtime", np.float32, "own"),
        ("ai_edge_litert", np.int8, "own"),
    ],
)
def test_int8_is_the_same_on_each_processor(
    monkeypatch: pytest.MonkeyPatch, package: str, kind: type, expected: str
) -> None:
    """tflite-runtime's own kernels for int8 round differently on ARM and on x86-64."""

    class Interpreter:
        def __init__(self, experimental_op_resolver_type: str = "own", **options: object) -> None:
            self.kernels = experimental_op_resolver_type

        def get_input_details(self) -> list[dict[str, object]]:
            return [{"name": "features", "dtype": kind, "quantization": (0.1, 0)}]

        def get_output_details(self) -> list[dict[str, object]]:
            return []

        def allocate_tensors(self) -> None:
            pass

    runtime = SimpleNamespace(
        __name__=f"{package}.interpreter",
        Interpreter=Interpreter,
        OpResolverType=SimpleNamespace(BUILTIN_REF="reference"),
    )
    modules(monkeypatch, **{package: runtime})
    assert expected == runtimes.tflite_interpreter(b"").kernels


def test_broken_tflite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that is there but does not import is told as that, not as missing."""
    modules(monkeypatch, ai_edge_litert=ImportError("libstdc++.so.6 not found"))
    with pytest.raises(BackendUnavailable, match="ai_edge_litert is installed but does not import"):
        TfliteBackend(b"")


# load_model: the backend that the manifest has, and a trial run.


def folder_with(tones: Path, folder: Path, key: str, content: bytes, labels: int) -> Path:
    """The test model's manifest with another artefact and that many labels."""
    (folder / "network").write_bytes(content)
    manifest = dataclasses.replace(
        read_manifest(tones / "tones.json"),
        labels=tuple(f"word{i}" for i in range(labels)),
        thresholds={},
        artefacts={key: describe_artefact(folder / "network")},
    )
    write_manifest(manifest, folder / "other.json")
    return folder


def test_load_model(tones: Path) -> None:
    """The manifest's artefact is loaded by the runtime that fits it."""
    pytest.importorskip("onnxruntime")
    model = load_model(tones)
    assert ("tones", "window.onnx", 98) == (model.manifest.name, model.artefact, model.frames)
    assert isinstance(model.backend, OnnxBackend)
    assert tones / "tones.json" == model.path


def test_load_tflite(tones: Path, tmp_path: Path, weights: NDArray[np.float32]) -> None:
    """A folder that holds only an int8 TFLite file runs without naming a backend."""
    content = tflite_model(weights, int8=True)
    tflite_backend(content)
    model = load_model(folder_with(tones, tmp_path, "window.int8.tflite", content, LABELS))
    assert isinstance(model.backend, TfliteBackend)
    assert "window.int8.tflite" == model.artefact


def test_load_model_without_artefact(tones: Path) -> None:
    """A format that the model lacks, and one that does not exist, are told apart."""
    with pytest.raises(ModelError, match=r"no artefact for the backend tflite: .*window\.onnx"):
        load_model(tones, backend="tflite")
    with pytest.raises(ValueError, match="onnx, tflite, not 'torch'"):
        load_model(tones, backend="torch")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"labels": 5}, r"posteriors of shape \(1, 12\), one per label, got \(1, 5\)"),
        ({"softmaxed": False}, "posteriors that add up to 1"),
        ({"bands": 20}, r"\(batch, 98, 20\), not \(1, 98, 40\)"),
    ],
)
def test_load_model_tries_it(
    tones: Path, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    """A network that does not fit its manifest is refused when it is loaded."""
    pytest.importorskip("onnxruntime")
    folder = folder_with(tones, tmp_path, "window.onnx", graph(**options), LABELS)
    with pytest.raises(ModelError, match=reason) as refusal:
        load_model(folder)
    assert str(folder / "network") in str(refusal.value)


def test_features_that_cannot_be_made(tones: Path, tmp_path: Path) -> None:
    """Bands too narrow for the FFT are the manifest's fault."""
    pytest.importorskip("onnxruntime")
    folder = Path(shutil.copytree(tones, tmp_path / "narrow"))
    manifest = read_manifest(folder / "tones.json")
    features = dataclasses.replace(manifest.features, bands=120)
    write_manifest(dataclasses.replace(manifest, features=features), folder / "tones.json")
    with pytest.raises(ModelError, match="too narrow"):
        load_model(folder)


def test_runtimes_are_not_imported_early() -> None:
    """Loading the module of backends loads none of the runtimes."""
    code = (
        "import sys, kws.model.runtimes;"
        "print({'onnxruntime', 'ai_edge_litert', 'tflite_runtime'} & set(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "set()" == printed.stdout.strip()


def test_int8_is_the_same_with_and_without_the_slower_products(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the processor needs no care against saturation, doing without it changes next to none.

    In float, a value half way between two that can be stored may be rounded to the other one.
    """
    capable = tmp_path / "capable"
    capable.write_text("flags : fpu avx2 avx512_vnni", encoding="ascii")
    assert has_vnni(capable)
    plain = tmp_path / "plain"
    plain.write_text("flags : fpu avx2", encoding="ascii")
    assert not has_vnni(plain)
    assert not has_vnni(tmp_path / "missing")
    content = (MODELS / "accurate.window.int8.onnx").read_bytes()
    features = np.random.default_rng(0).random((4, 98, 40), np.float32) * 12.0
    quick = OnnxBackend(content).run(features)
    monkeypatch.setattr("kws.model.runtimes.has_vnni", lambda: False)
    np.testing.assert_allclose(OnnxBackend(content).run(features), quick, atol=2e-3)


@pytest.mark.parametrize(
    ("version", "vnni", "expected"),
    [
        ("1.29.0", False, {"level": "basic"}),
        ("1.30.0", False, {"session.x64quantprecision": "1"}),
        ("1.29.0", True, {}),
    ],
)
def test_old_runtimes_compute_int8_in_float(
    monkeypatch: pytest.MonkeyPatch, version: str, vnni: bool, expected: dict[str, str]
) -> None:
    """The option against saturation ends the process before 1.30, so it is not set there."""
    installed(monkeypatch, "onnxruntime")
    ort = fake_runtime(CPU, CPU)
    chosen: dict[str, str] = {}
    ort.__version__ = version
    ort.GraphOptimizationLevel = SimpleNamespace(ORT_ENABLE_BASIC="basic")

    class Options(SimpleNamespace):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "graph_optimization_level":
                chosen["level"] = str(value)

        def add_session_config_entry(self, key: str, value: str) -> None:
            if key.startswith("session.x64"):
                chosen[key] = value

    ort.SessionOptions = Options
    modules(monkeypatch, onnxruntime=ort)
    monkeypatch.setattr(runtimes, "has_vnni", lambda: vnni)
    OnnxBackend(b"QuantizeLinear")
    assert expected == chosen
    chosen.clear()
    OnnxBackend(b"a float network")
    assert "level" not in chosen


@pytest.mark.parametrize(
    ("there", "first"),
    [
        ({"onnxruntime", "ai_edge_litert"}, "onnx"),
        ({"onnxruntime"}, "onnx"),
        ({"ai_edge_litert"}, "tflite"),
        ({"tflite_runtime"}, "tflite"),
        (set[str](), "onnx"),
    ],
)
def test_the_runtime_that_is_there_decides(
    monkeypatch: pytest.MonkeyPatch, there: set[str], first: str
) -> None:
    """TFLite files are taken where TFLite's runtime alone is installed, without the native kernel;
    nothing is left out."""
    monkeypatch.setattr("kws.model.load.library", lambda: None)
    monkeypatch.setattr(runtimes, "find_spec", lambda name: name if name in there else None)
    kinds = runtimes.preferred_formats()
    assert first == kinds[0]
    assert {"onnx", "tflite"} == set(kinds)
    key = {"onnx": "stream.onnx", "tflite": "stream.tflite"}[first]
    monkeypatch.setattr("kws.model.load.Model.open_stream", lambda model: None)
    assert key == load_model().artefact
