"""The ONNX files: PyTorch's posteriors, by window, step by step and from raw audio."""

import json
from dataclasses import asdict

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from export_model import LABELS, Exported, random_audio  # noqa: E402

from export.build import STREAM_STEPS, build, metadata_of  # noqa: E402
from export.run_files import run_onnx  # noqa: E402
from kws.frontend import log_mel  # noqa: E402
from kws.train.features import LogMel  # noqa: E402

FLOAT = ("window.onnx", "window_audio.onnx", "stream.onnx", "stream_audio.onnx")
INT8 = ("window.int8.onnx", "stream.int8.onnx")


def expected_posteriors(exported: Exported, audio: np.ndarray) -> np.ndarray:
    """PyTorch's posteriors from the samples on."""
    with torch.no_grad():
        features = LogMel()(torch.from_numpy(audio.astype(np.float32) / 32768.0))
        return exported.trained(features)[:, -1].softmax(-1).numpy()


@pytest.mark.parametrize("key", FLOAT)
def test_float_files_agree(exported: Exported, key: str) -> None:
    """Every float graph gives PyTorch's posteriors to 1e-4."""
    audio = random_audio(seed=2)
    features = np.stack([log_mel(clip) for clip in audio])
    posteriors = run_onnx(exported.contents[key], features, audio)
    assert np.abs(expected_posteriors(exported, audio) - posteriors).max() < 1e-4


@pytest.mark.parametrize("key", INT8)
def test_int8_files_are_near(exported: Exported, key: str) -> None:
    """The 8-bit graphs stay near PyTorch, and window and stream give the same bits."""
    audio = random_audio(seed=2)
    features = np.stack([log_mel(clip) for clip in audio])
    posteriors = run_onnx(exported.contents[key], features, audio)
    assert np.abs(expected_posteriors(exported, audio) - posteriors).mean() < 0.03
    window = run_onnx(exported.contents["window.int8.onnx"], features, audio)
    np.testing.assert_array_equal(window, posteriors)


@pytest.mark.parametrize("key", [*FLOAT, *INT8])
def test_what_a_file_says_of_itself(exported: Exported, key: str) -> None:
    """Labels, front end, licence and version are inside, and ONNX has nothing to object to."""
    model = onnx.load_from_string(exported.contents[key])
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert list(LABELS) == json.loads(metadata["labels"])
    assert asdict(exported.manifest.features) == json.loads(metadata["features"])
    assert metadata_of(exported.manifest) == metadata
    assert {"name", "labels", "features", "licence", "kws_version"} == set(metadata)


@pytest.mark.parametrize("key", [*FLOAT, *INT8])
def test_only_standard_operators(exported: Exported, key: str) -> None:
    """No custom domain, no external data, nothing that onnxruntime 1.20 does not know."""
    model = onnx.load_from_string(exported.contents[key])
    assert {("", 21)} == {(opset.domain, opset.version) for opset in model.opset_import}
    assert 10 == model.ir_version
    assert {""} == {node.domain for node in model.graph.node}
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_shapes(exported: Exported) -> None:
    """Inputs and outputs have the names and sizes that the runtimes rely on."""

    def shapes(key: str) -> dict[str, list[object]]:
        session = onnxruntime.InferenceSession(
            exported.contents[key], providers=["CPUExecutionProvider"]
        )
        return {n.name: n.shape for n in (*session.get_inputs(), *session.get_outputs())}

    labels = len(LABELS)
    assert {"features": ["batch", 98, 40], "posteriors": ["batch", labels]} == shapes("window.onnx")
    assert {"audio": ["batch", 16_000], "posteriors": ["batch", labels]} == shapes(
        "window_audio.onnx"
    )
    assert ["batch", 2 * STREAM_STEPS, 40] == shapes("stream.onnx")["features"]
    step = shapes("stream.int8.onnx")
    state = sum(channels * time for _, channels, time in exported.folded.contexts())
    assert ["batch", 2, 40] == step["features"]
    assert ["batch", state] == step["state"] == step["next_state"]
    step = shapes("stream_audio.onnx")
    assert ["batch", 320] == step["audio"]
    assert ["batch", state + 320] == step["state"] == step["next_state"]


def test_step_state_is_that_of_the_network(exported: Exported) -> None:
    """The one-step graph packs its state as Network.step does, from the silent state on."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        exported.contents["stream_audio.onnx"], options, providers=["CPUExecutionProvider"]
    )
    audio = np.zeros((1, 320), np.float32)
    state = np.zeros((1, session.get_inputs()[1].shape[1]), np.float32)
    for _ in range(60):
        _, state = session.run(None, {"audio": audio, "state": state})
    silent = exported.trained.initial_state().numpy()
    np.testing.assert_array_equal(np.zeros((1, 320)), state[:, :320])
    assert np.abs(silent - state[:, 320:]).max() < 1e-4


def test_equal_networks_give_equal_bytes(exported: Exported) -> None:
    """A second export differs in no bit of any file."""
    assert exported.contents == build(exported.manifest, exported.folded)
