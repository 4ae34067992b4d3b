"""A model folder that needs no training: it knows three pitches, silence, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import soundfile
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE, DecisionConfig, FeatureConfig, VadConfig
from kws.frontend import log_mel
from kws.model.manifest import Manifest, describe_artefact, write_manifest

LABELS = ("low", "high", "silence", "unknown")
PITCHES = {"low": 300.0, "high": 2500.0, "unknown": 900.0}  # Hz
SHARPNESS = 4.0


def tone(word: str, amplitude: float = 8000.0, seconds: float = 1.0) -> NDArray[np.int16]:
    """The word as a steady tone, int16; the word silence as zeros."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = PITCHES.get(word)
    if pitch is None:
        return np.zeros(len(time), np.int16)
    return np.round(amplitude * np.sin(2 * np.pi * pitch * time)).astype(np.int16)


def write_tone(path: Path, word: str, seconds: float = 1.0, amplitude: float = 8000.0) -> Path:
    """A recording of the word; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(word, amplitude, seconds), SAMPLE_RATE)
    return path


def write_model(folder: Path) -> Path:
    """The model's manifest and window graph: mean spectrum -> nearest pitch. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = FeatureConfig()
    spectra = [log_mel(tone(label), config).mean(axis=0) for label in LABELS]
    templates = np.stack(spectra, axis=1)  # (bands, labels)
    # |x - t|² = |x|² - 2 x t + |t|²; the first term is the same for every label.
    weights = (SHARPNESS * 2.0 * templates / config.bands).astype(np.float32)
    bias = (-SHARPNESS * (templates**2).sum(axis=0) / config.bands).astype(np.float32)
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node("ReduceMean", ["features"], ["mean"], axes=[1], keepdims=0),
            node("Gemm", ["mean", "weights", "bias"], ["logits"]),
            node("Softmax", ["logits"], ["posteriors"], axis=1),
        ],
        "tones",
        [value("features", onnx.TensorProto.FLOAT, ["batch", 98, config.bands])],
        [value("posteriors", onnx.TensorProto.FLOAT, ["batch", len(LABELS)])],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(bias, "bias"),
        ],
    )
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "m.onnx")
    manifest = Manifest(
        version=1,
        name="tones",
        description="a test model",
        labels=LABELS,
        features=config,
        vad=VadConfig(),
        decision=DecisionConfig(),
        thresholds={"low": 0.9},
        artefacts={"window.onnx": describe_artefact(folder / "m.onnx")},
        parameters=weights.size + bias.size,
        licence="Apache-2.0",
        provenance={},
        measurements={},
    )
    write_manifest(manifest, folder / "tones.json")
    return folder
