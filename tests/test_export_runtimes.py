"""The shipped TFLite files in the environments that users make: nothing but a runtime and NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kws.model.manifest import MODELS, read_manifest

pytest.importorskip("onnx", reason="onnx is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

from export.build import quantised_of
from export.integer import run_window
from export.network import FloatArithmetic, walk
from export.shipped import read_network

OLD = sys.platform == "linux" and sys.version_info < (3, 12)
RUNTIMES = {
    "ai-edge-litert": ("ai-edge-litert>=2.1",),
    "tflite-runtime": ("tflite-runtime==2.14.0", "numpy<2"),
}

# Runs alone: file, inputs and outputs by path, the latter as the file stores them.
SCRIPT = """
import sys
import numpy as np
try:
    from ai_edge_litert import interpreter as runtime
except ImportError:
    from tflite_runtime import interpreter as runtime
path, inputs, outputs = sys.argv[1:]
resolver = runtime.OpResolverType.BUILTIN_REF
interpreter = runtime.Interpreter(path, num_threads=1, experimental_op_resolver_type=resolver)
interpreter.allocate_tensors()
takes = {entry["name"]: entry for entry in interpreter.get_input_details()}
gives = {entry["name"]: entry for entry in interpreter.get_output_details()}
features = takes.pop("features")
rows = []
for clip in np.load(inputs):
    states = {n: np.full(e["shape"], e["quantization"][1], e["dtype"]) for n, e in takes.items()}
    for first in range(0, len(clip), features["shape"][2]):
        step = clip[first : first + features["shape"][2]].reshape(features["shape"])
        interpreter.set_tensor(features["index"], step)
        for name, state in states.items():
            interpreter.set_tensor(takes[name]["index"], state)
        interpreter.invoke()
        for name in states:
            states[name] = interpreter.get_tensor(gives["next_" + name]["index"])
    rows.append(interpreter.get_tensor(gives["posteriors"]["index"]).reshape(-1))
np.save(outputs, np.stack(rows))
"""


@pytest.fixture(scope="module", params=RUNTIMES)
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with one runtime."""
    if request.param == "tflite-runtime" and not OLD:
        pytest.skip("tflite-runtime has wheels for Linux and Python up to 3.11 only")
    environment = tmp_path_factory.mktemp("runtime") / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *RUNTIMES[request.param]],
        check=True,
        capture_output=True,
    )
    return python


@pytest.mark.parametrize("graph", ["window", "stream"])
@pytest.mark.parametrize("kind", ["", ".int8"])
def test_shipped_files_run(interpreter: Path, graph: str, kind: str, tmp_path: Path) -> None:
    """int8 files give the integers of export.integer bit for bit, float ones NumPy's to 1e-4."""
    manifest = read_manifest(MODELS / "commands.json")
    network = read_network(manifest, MODELS)
    generator = np.random.default_rng(0)
    level = generator.uniform(0.0, 15.0, (20, 1, 40)) + generator.normal(0, 2, (20, 98, 40))
    features = np.maximum(level, 0.0).astype(np.float32)
    if kind:
        quantised = quantised_of(manifest, network)
        features = quantised.values["features"].store(features)
        expected = run_window(quantised, features)
    else:
        expected = walk(network, features, FloatArithmetic())
    np.save(tmp_path / "in.npy", features)
    file = MODELS / manifest.artefacts[f"{graph}{kind}.tflite"].file
    subprocess.run(
        [interpreter, "-c", SCRIPT, file, tmp_path / "in.npy", tmp_path / "out.npy"],
        check=True,
        capture_output=True,
    )
    found = np.load(tmp_path / "out.npy")
    if kind:
        np.testing.assert_array_equal(expected, found)
    else:
        assert np.abs(expected - found).max() < 1e-4
