"""The native kernel: the same numbers as NumPy and ONNX Runtime, and nothing that it cannot run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kws import Detector, DetectorPool, load_model, native
from kws.audio import AudioFile
from kws.config import STEP_MS, FeatureConfig
from kws.demo import RECORDING
from kws.detector import Detection
from kws.errors import BackendUnavailable, ModelError
from kws.frontend import log_mel
from kws.model import load
from kws.model.manifest import MODELS
from kws.model.native_layout import native_network
from kws.model.runtimes import has_vnni
from kws.model.streaming import OnnxStream, OnnxStreamGraph
from kws.native import Block, Graph, LogMel, Network, Stream, build_backend

onnx = pytest.importorskip("onnx", reason="the graphs are changed with onnx")

needs_kernel = pytest.mark.skipif(
    native.library() is None,
    reason="the native kernel was not compiled: python -m kws.native.build_backend",
)
CONTENT = (MODELS / "commands.stream.onnx").read_bytes()


def demonstration() -> np.ndarray[Any, np.dtype[np.int16]]:
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))


class Rows:
    """An observer that keeps all posteriors."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def observe(self, audio: Any, rows: Any, fired: Any) -> None:
        self.rows += rows


def detect(backend: str, verify: bool) -> tuple[list[Detection], Any]:
    """What a detector finds in the demonstration, and the posteriors on the way."""
    rows = Rows()
    detector = Detector(backend=backend, verify=verify, observer=rows)
    found = list(detector.listen([demonstration()]))
    return found, np.concatenate(rows.rows)


@needs_kernel
@pytest.mark.parametrize("verify", [False, True])
def test_the_same_detections(verify: bool) -> None:
    """The demonstration on both paths: the words at the same times, posteriors to 1e-4.

    In the verifier a value half way between two integers may be rounded either way, so that a word
    may end a row earlier or later.
    """
    found, rows = detect("native", verify)
    expected, reference = detect("onnx", verify)
    assert len(expected) >= 9
    near, row = (0.02, STEP_MS / 1000.0) if verify else (1e-4, 0.0)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keyword == theirs.keyword
        assert ours.start == pytest.approx(theirs.start, abs=row + 1e-6)
        assert ours.end == pytest.approx(theirs.end, abs=row + 1e-6)
        assert ours.score == pytest.approx(theirs.score, abs=near)
    assert rows == pytest.approx(reference, abs=near)
    if has_vnni():
        assert np.abs(rows - reference).mean() < 1e-4


@needs_kernel
def test_many_streams() -> None:
    """Streams of a pool give what each gives alone."""
    audio = demonstration()
    streams = [audio[start : start + 60_000] for start in range(0, 160_000, 40_000)]
    pool = DetectorPool(streams=len(streams), backend="native")
    together = pool.process(streams)
    together = [each + pool.finish(number) for number, each in enumerate(together)]
    detector = Detector(backend="native")
    assert together == [list(detector.listen([each])) for each in streams]
    assert any(together)


@needs_kernel
def test_the_network_of_the_shipped_model() -> None:
    """Random features, and again after a reset: the posteriors of ONNX Runtime."""
    network = native_network(CONTENT)
    assert network is not None
    stream = Stream(Graph(network, 100))
    reference = OnnxStream(OnnxStreamGraph(CONTENT))
    generator = np.random.default_rng(0)
    for count in (40, 3):
        for _ in range(count):
            features = generator.uniform(0, 15, (stream.frames, 40)).astype(np.float32)
            assert stream.posteriors(features) == pytest.approx(
                reference.posteriors(features), abs=1e-5
            )
        stream.reset()
        reference.reset()


CONFIGURATIONS = {
    "shipped": FeatureConfig(),
    "small": FeatureConfig(window=400, hop=160, bands=20, fft_size=512),
    "long": FeatureConfig(window=640, hop=320, bands=64, fft_size=1024),
    "to the last bin": FeatureConfig(window=256, hop=100, bands=8, fft_size=256, high_hz=8000.0),
}


@needs_kernel
@pytest.mark.parametrize("frames", [1, 7, 8, 9, 17])
@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=list(CONFIGURATIONS))
def test_front_end(config: FeatureConfig, frames: int) -> None:
    """Silence, hiss and the loudest noise: the features of NumPy."""
    front_end = LogMel(config, frames)
    generator = np.random.default_rng(frames)
    for loudness in (0, 2, 3_000, 32_767):
        audio = generator.integers(-loudness, loudness + 1, front_end.samples).astype(np.int16)
        features = front_end.at(audio.ctypes.data)
        assert features == pytest.approx(log_mel(audio, config), abs=1e-4)


def test_configurations_without_a_front_end() -> None:
    """What the kernel has no code for is refused before it is called."""
    for config in (
        FeatureConfig(coefficients=13),
        FeatureConfig(window=481),
        FeatureConfig(fft_size=600),
    ):
        assert not native.computes(config)
        with pytest.raises(ValueError, match="does not compute"):
            LogMel(config, 8)


def random_network(
    channels: int, steps: int, kernels: tuple[int, ...], overlap: int = 1, labels: int = 3
) -> Network:
    generator = np.random.default_rng(channels)

    def weights(*shape: int) -> Any:
        return generator.normal(0.0, 0.3, shape).astype(np.float32)

    return Network(
        bands=5,
        stride=2,
        steps=steps,
        stem=weights((overlap + 1) * 2 * 5, channels),
        stem_bias=weights(channels),
        blocks=[
            Block(weights(kernel, channels), weights(channels, channels), weights(channels))
            for kernel in kernels
        ],
        pool=4,
        classifier=weights(labels, channels),
        classifier_bias=weights(labels),
    )


def by_hand(network: Network, features: Any) -> Any:
    """Posteriors of all features (frames, bands), after what zeros gave before."""
    inputs, step = len(network.stem), network.stride * network.bands
    flat = np.concatenate((np.zeros(inputs - step, np.float32), features.ravel()))
    value = np.stack([flat[at : at + inputs] for at in range(0, len(flat) - inputs + 1, step)])
    value = np.maximum(value @ network.stem + network.stem_bias, 0.0)
    for block in network.blocks:
        kernel = len(block.depthwise)
        padded = np.pad(value, [(kernel - 1, 0), (0, 0)])
        mixed = sum(padded[k : k + len(value)] * block.depthwise[k] for k in range(kernel))
        value = np.maximum(value + mixed @ block.pointwise + block.bias, 0.0)
    padded = np.pad(value, [(network.pool - 1, 0), (0, 0)])
    pooled = sum(padded[k : k + len(value)] for k in range(network.pool)) / network.pool
    scores = np.exp(pooled @ network.classifier.T + network.classifier_bias)
    return scores / scores.sum(axis=1, keepdims=True)


@needs_kernel
@pytest.mark.parametrize(
    ("channels", "steps", "kernels", "overlap"),
    [(16, 4, (3, 5), 1), (20, 3, (9,), 0), (33, 7, (), 2), (1, 1, (1, 2, 1), 1), (48, 9, (4,), 3)],
)
def test_other_sizes(channels: int, steps: int, kernels: tuple[int, ...], overlap: int) -> None:
    """Channels that fill no tile, steps that fill no group, and blocks of any number."""
    network = random_network(channels, steps, kernels, overlap)
    stream = Stream(Graph(network, 1))
    stream.state[:] = 0.0
    calls = 5
    features = np.random.default_rng(1).normal(0, 1, (calls * stream.frames, 5)).astype(np.float32)
    rows = [
        stream.posteriors(features[at : at + stream.frames])
        for at in range(0, len(features), stream.frames)
    ]
    assert np.concatenate(rows) == pytest.approx(by_hand(network, features), abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"stem": np.zeros((21, 16), np.float32)},
        {"stem": np.zeros((0, 16), np.float32)},
        {"stem_bias": np.zeros(15, np.float32)},
        {"stem_bias": np.zeros(16)},
        {"classifier": np.zeros((3, 17), np.float32)},
        {"classifier": np.float32(3.0)},
        {"classifier_bias": np.zeros(4, np.float32)},
        {"pool": 0},
        {"pool": 1 << 20},
        {"steps": 0},
        {"blocks": [random_network(17, 1, (3,)).blocks[0]]},
        {"blocks": random_network(16, 1, (3,)).blocks * 17},
    ],
)
def test_shapes_that_do_not_fit(change: dict[str, Any]) -> None:
    """They are refused before the kernel gets any address."""
    network = random_network(16, 4, (3,))
    with pytest.raises(ValueError, match="of these shapes"):
        replace(network, **change)


def change_operator(model: Any) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Sigmoid"


def change_weights_of_one_step(model: Any) -> None:
    tensor = next(each for each in model.graph.initializer if each.name == "block0.depthwise")
    weights = onnx.numpy_helper.to_array(tensor).copy()
    weights[1, 2, 3] += 0.5
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))


def change_constant(name: str, content: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(content), name))

    return change


def change_wiring(model: Any) -> None:
    nodes = [node for node in model.graph.node if node.op_type == "Add"]
    nodes[1].input[0] = nodes[0].input[0]


def add_node(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Relu", ["posteriors"], ["unused"]))


def add_attribute(model: Any) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Gemm")
    node.attribute.append(onnx.helper.make_attribute("alpha", 2.0))


def change_opset(model: Any) -> None:
    model.opset_import[0].version = 11


CHANGES: dict[str, Callable[[Any], None]] = {
    "operator": change_operator,
    "weights of one step": change_weights_of_one_step,
    "pool": change_constant("pool", np.full((4, 15), 1 / 12, np.float32)),
    "windows": change_constant("windows_2", [[0, 1], [1, 2], [2, 3], [3, 3]]),
    "state": change_constant("int_1_4_4_6_6_8_8_11", [1 << 40, 4, 4, 6, 6, 8, 8, 11]),
    "state in floats": change_constant(
        "int_1_4_4_6_6_8_8_11", np.float32([1, 4, 4, 6, 6, 8, 8, 11])
    ),
    "state in a table": change_constant("int_1_4_4_6_6_8_8_11", [[1, 4, 4, 6, 6, 8, 8, 11]]),
    "no number": change_constant("int_-400", np.float32([-np.inf])),
    "a number alone": change_constant("int_-400", -400),
    "shape in floats": change_constant("int_-1_48_96", np.float32([-1, 48, np.inf])),
    "classifier without axes": change_constant("classifier.weights", np.float32(0)),
    "kept": change_constant("kept", np.arange(48)),
    "bias": change_constant("block1.bias", np.zeros(95, np.float32)),
    "double": change_constant("block1.bias", np.zeros(96)),
    "axis": change_constant("int_2", [1]),
    "wiring": change_wiring,
    "node more": add_node,
    "attribute": add_attribute,
    "opset": change_opset,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_other_graphs(change: Callable[[Any], None]) -> None:
    """A graph that departs from the known form anywhere is none for the kernel."""
    model = onnx.load_from_string(CONTENT)
    change(model)
    assert native_network(model.SerializeToString()) is None


def test_graphs_of_other_kinds() -> None:
    """Int8, whole windows, and with the front end inside."""
    for name in ("stream.int8", "window", "stream_audio"):
        assert native_network((MODELS / f"commands.{name}.onnx").read_bytes()) is None


@needs_kernel
def test_choice_of_the_runtime() -> None:
    """Native by default, and only where it runs the file."""
    assert "native kernel" == load_model().runtime
    assert "native kernel" == load_model(artefact="stream.onnx").runtime
    assert "ONNX Runtime" == load_model(backend="onnx").runtime
    assert "ONNX Runtime" == load_model(artefact="stream.int8.onnx").runtime
    assert "ONNX Runtime" == load_model(artefact="window.onnx").runtime
    with pytest.raises(ModelError, match=r"int8\.onnx: the native kernel does not run it"):
        load_model(backend="native", artefact="stream.int8.onnx")


def test_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was not built ONNX Runtime takes its place, unless it was demanded."""
    monkeypatch.setattr(load, "library", lambda: None)
    assert "ONNX Runtime" == load_model().runtime
    with pytest.raises(BackendUnavailable, match="not built for this machine; take the backend"):
        load_model(backend="native")


@needs_kernel
def test_without_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes precedence over TFLite then, and detects the same, its verifier included."""
    expected, _ = detect("native", verify=True)
    monkeypatch.setattr(load, "is_installed", lambda kind: kind == "tflite")
    monkeypatch.setattr(load, "preferred_formats", lambda: ["tflite", "onnx"])
    model = load_model()
    assert ("native kernel", "native kernel") == (model.runtime, model.verifier_runtime)
    assert "window.tflite" == model.window_artefact
    assert expected == list(Detector(model).listen([demonstration()]))
    monkeypatch.setattr(load, "library", lambda: None)
    assert "TFLite" == load_model().runtime


@needs_kernel
@pytest.mark.parametrize("installed", [True, False])
def test_listening_imports_no_runtime(installed: bool) -> None:
    """The demonstration's ten words, verified: with runtimes installed, and with none."""
    hide = "sys.modules.update(dict.fromkeys(runtimes))" if not installed else ""
    code = f"""
import sys
runtimes = ("onnxruntime", "ai_edge_litert", "tflite_runtime")
{hide}
from kws.cli import main
main(["listen", "--json", "--input", {str(RECORDING)!r}])
print([name for name in runtimes if sys.modules.get(name)])
"""
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=MODELS.parents[1],
    ).stdout.splitlines()
    assert "[]" == printed[-1]
    events = [json.loads(line) for line in printed[:-1]]
    found = [each["keyword"] for each in events if each["event"] == "detection"]
    assert ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"] == found


def test_a_library_of_another_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is no library of this machine's is as good as none."""
    (tmp_path / native.NAME).write_bytes(b"for another processor")
    monkeypatch.setattr(native, "__file__", str(tmp_path / "__init__.py"))
    assert native.library.__wrapped__() is None


def wheel_with(monkeypatch: pytest.MonkeyPatch, folder: Path, wish: str) -> Path:
    """The wheel of a copy of what it is built from."""
    monkeypatch.setenv("KWS_NATIVE", wish)
    root = Path(__file__).parent.parent
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, folder)
    shutil.copytree(root / "kws", folder / "kws", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    return folder / build_backend.build_wheel(str(folder))


def test_the_wheel_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """KWS_NATIVE=0 leaves the kernel out, even if one lies in the source tree."""
    wheel = wheel_with(monkeypatch, tmp_path, "0")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert native.NAME not in {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert [] == [
        each for each in build_backend.get_requires_for_build_wheel() if "setuptools" in each
    ]


@needs_kernel
def test_the_wheel_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An unpacked wheel of this platform has a list of its files that is right, and runs it."""
    wheel = wheel_with(monkeypatch, tmp_path, "1")
    assert not wheel.name.endswith("-any.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", "x", wheel],
        check=True,
    )
    program = "import kws; print(kws.__file__, kws.load_model().runtime)"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path / "x",
    ).stdout
    assert f"{tmp_path / 'x' / 'kws' / '__init__.py'} native kernel\n" == printed


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Building goes on without the kernel, and says so, unless the kernel was demanded."""

    def fails(folder: Path) -> Path:
        raise OSError("no compiler")

    monkeypatch.setattr(build_backend, "_compile", fails)
    monkeypatch.delenv("KWS_NATIVE", raising=False)
    assert build_backend.compile_kernel(tmp_path) is None
    monkeypatch.setenv("KWS_NATIVE", "1")
    with pytest.raises(OSError, match="no compiler"):
        build_backend.compile_kernel(tmp_path)


# Networks and front ends of many sizes on a library of the sanitisers, which end the process.
SANITIZED = """
import sys
import numpy as np
from kws import native
native.__file__ = sys.argv[1]  # beside which the library is looked for
assert native.library() is not None
from test_native import random_network
from kws.native.arithmetic import Arithmetic, multiplies
from kws.config import FeatureConfig
from kws.native.product import Product

draw = np.random.default_rng(0)
for channels, steps, kernels, overlap in (
    (1, 1, (), 0), (16, 4, (5, 5, 7), 1), (17, 5, (1, 60), 0), (33, 3, (9,) * 16, 7)
):
    network = random_network(channels, steps, kernels, overlap)
    stream = native.Stream(native.Graph(network, 98))
    for loudness in (1.0, 1e30, np.nan):
        stream.posteriors(loudness * draw.normal(0.0, 1.0, (stream.frames, 5)))
for rows, inputs, outputs in ((1, 1, 1), (7, 256, 16), (49, 257, 33), (50, 600, 5)):
    weights = draw.integers(-128, 128, (outputs, inputs)).astype(np.int8)
    ones = np.ones(outputs, np.float32)
    for arithmetic in filter(multiplies, Arithmetic):
        product = Product(weights, ones, ones, bent=True, arithmetic=arithmetic)
        for loudness in (1.0, 1e30, np.inf, np.nan):
            product((loudness * draw.normal(0.0, 1.0, (rows, inputs))).astype(np.float32))
for window, hop, size, bands in ((16, 16, 512, 1), (480, 160, 512, 40), (1024, 999, 4096, 80)):
    config = FeatureConfig(window=window, hop=hop, fft_size=size, bands=bands)
    for frames in (1, 7, 8, 33):
        features = native.LogMel(config, frames)
        samples = draw.integers(-32768, 32767, features.samples).astype(np.int16)
        assert np.isfinite(features.at(samples.ctypes.data)).all()
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sanitisers are loaded first")
def test_under_sanitizers(tmp_path: Path) -> None:
    """It touches no memory but what it is lent, and does nothing that C leaves undefined."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("no gcc; on Debian: apt-get install gcc")
    sources = [Path(native.__file__).with_name(name) for name in build_backend.SOURCES]
    flags = ["-std=gnu99", "-O1", "-g", "-shared", "-fPIC", "-fsanitize=address,undefined"]
    flags += ["-fno-sanitize-recover=undefined"]
    library = tmp_path / native.NAME
    if subprocess.run(
        [gcc, *flags, *sources, "-o", library, "-lm"], capture_output=True
    ).returncode:
        pytest.skip("this gcc has no sanitisers")
    runtimes = [
        subprocess.check_output([gcc, f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": os.pathsep.join(
            map(str, (Path(load.__file__).parents[2], Path(__file__).parent))
        ),
    }
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED, str(tmp_path / "beside.py")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (0, "done\n") == (done.returncode, done.stdout), done.stderr[-3000:]
