"""What runs the encoder, as verifier or all the time: the kernel where it can, or ONNX Runtime."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kws import Detector, load_model, native
from kws.app.doctor import examine
from kws.audio import AudioFile
from kws.cli import main
from kws.demo import RECORDING
from kws.errors import ModelError
from kws.model import load, trial
from kws.model.encoder import Encoder
from kws.model.manifest import MODELS
from kws.model.runtimes import OnnxBackend

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(
    native.library() is None,
    reason="the native kernel was not compiled: python -m kws.native.build_backend",
)


def test_choice_of_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel by default, and whatever runs the first network; ONNX Runtime where requested."""
    assert isinstance(load_model().verifier, Encoder)
    assert isinstance(load_model(artefact="stream.int8.onnx").verifier, Encoder)
    assert isinstance(load_model(backend="native").verifier, Encoder)
    assert "native kernel" == load_model().verifier_runtime
    assert "ONNX Runtime" == load_model(backend="onnx").verifier_runtime
    assert load_model(artefact="window.tflite").verifier_runtime is None
    assert load_model("accurate").verifier_runtime is None
    monkeypatch.setattr(load, "library", lambda: None)
    assert "ONNX Runtime" == load_model().verifier_runtime


def test_what_runs_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`kws info` and `kws doctor` name what runs the verifier, or that nothing does."""

    def told() -> tuple[str, str]:
        assert main(["info", "--model", "commands"]) == 0
        info = capsys.readouterr().out.splitlines()[-1].strip()
        return info, next(each.text for each in examine() if each.check == "runtime")

    info, doctor = told()
    assert "verifier: native kernel" == info
    assert doctor.startswith("native kernel runs the model, native kernel its verifier (")
    monkeypatch.setattr(load, "native_encoder", lambda content, **_: None)
    monkeypatch.setattr(load, "is_installed", lambda kind: False)
    info, doctor = told()
    assert "verifier: left out" == info
    assert doctor.startswith("native kernel runs the model, without its verifier (")


def test_a_verifier_of_another_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in ONNX Runtime, and is left out where that is not installed."""
    monkeypatch.setattr(load, "native_encoder", lambda content, **_: None)
    assert "ONNX Runtime" == load_model().verifier_runtime
    monkeypatch.setattr(load, "is_installed", lambda kind: False)
    model = load_model()
    assert ("native kernel", None) == (model.runtime, model.verifier_runtime)
    assert Detector(model)._streams._streams.verifier is None


def test_a_damaged_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error names the file."""
    monkeypatch.setattr(load, "native_encoder", lambda content, **_: Broken())
    with pytest.raises(ModelError, match=r"accurate\.window\.int8\.onnx: .*add up to 1"):
        _ = load_model().verifier


class Broken:
    """A network whose posteriors are none."""

    def run(self, features: Any) -> Any:
        return np.full((len(features), 12), 0.5, np.float32)


# The encoder all the time.


def test_the_encoder_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the kernel by default, also where there is no ONNX Runtime; in that where requested."""
    for model in (load_model("accurate"), load_model("accurate", backend="native")):
        assert isinstance(model.backend, Encoder)
        assert "native kernel" == model.runtime
    chosen = load_model("accurate", backend="onnx")
    assert isinstance(chosen.backend, OnnxBackend)
    assert "ONNX Runtime" == chosen.runtime
    monkeypatch.setattr(load, "is_installed", lambda kind: False)
    assert "native kernel" == load_model("accurate").runtime
    monkeypatch.setattr(load, "library", lambda: None)
    assert "ONNX Runtime" == load_model("accurate").runtime


def test_the_same_detections() -> None:
    """Through windows on the kernel as through those in ONNX Runtime."""
    with AudioFile(RECORDING) as source:
        audio = np.concatenate(list(source))[: 9 * 16_000]
    found = []
    for backend in ("native", "onnx"):
        detections = Detector("accurate", backend=backend).listen([audio])
        found.append([each.keyword for each in detections])
    assert found[0] == found[1]
    assert len(found[0]) >= 3


def test_what_the_kernel_does_not_run() -> None:
    """Windows of another network; demanded, that is an error which says what to take."""
    assert "ONNX Runtime" == load_model(artefact="window.int8.onnx").runtime
    with pytest.raises(ModelError, match="does not run it; take the backend onnx"):
        load_model(artefact="window.onnx", backend="native")


def test_one_trial_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What did not come with kws and does not run on the kernel is tried once, not twice."""
    tried: list[str] = []
    monkeypatch.setattr(trial, "try_first", lambda content, how: tried.append(how.graph))
    monkeypatch.setattr(load, "packaged_hashes", set)
    copied = tmp_path / "commands.json"
    for path in (MODELS / "commands.json", MODELS / "commands.window.onnx"):
        shutil.copy(path, tmp_path)
    manifest = json.loads(copied.read_text())
    manifest["artefacts"] = {"window.onnx": manifest["artefacts"]["window.onnx"]}
    del manifest["verifier"]
    copied.write_text(json.dumps(manifest))
    assert "ONNX Runtime" == load_model(copied).runtime
    assert ["window"] == tried
