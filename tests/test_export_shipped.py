"""The models that ship: made again byte for byte, small enough, and as good as their card."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from kws.frontend import log_mel
from kws.model.manifest import MODELS, read_artefact, read_manifest
from kws.recordings.data import find_corpus, read_clips

pytest.importorskip("onnx", reason="onnx is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

from export.build import build, quantised_of
from export.integer import run_window
from export.model_card import model_card
from export.run_files import TfliteFile
from export.shipped import read_network
from export.tflite import read_operators

SHIPPED = sorted(path.stem for path in MODELS.glob("*.json"))
# A model that ships as int8 alone was made from weights that are not here.
REMADE = [
    name for name in SHIPPED if "window.onnx" in read_manifest(MODELS / f"{name}.json").artefacts
]
CLIPS = 500


@pytest.mark.parametrize("name", REMADE)
def test_files_are_made_again(name: str) -> None:
    """The exporter of today writes every shipped file, bit for bit, from the shipped weights."""
    manifest = read_manifest(MODELS / f"{name}.json")
    contents = build(manifest, read_network(manifest, MODELS), manifest.artefacts)
    assert set(manifest.artefacts) == set(contents)
    for key, artefact in manifest.artefacts.items():
        assert read_artefact(MODELS, artefact) == contents[key], key


def test_the_card_is_made_again() -> None:
    """The model card says what the manifests say."""
    assert (MODELS / "README.md").read_text(encoding="utf-8") == model_card(MODELS)


def test_sizes() -> None:
    """All shipped models together, and the default one's int8 files, stay small."""
    manifests = [read_manifest(MODELS / f"{name}.json") for name in SHIPPED]
    files = [artefact for manifest in manifests for artefact in manifest.artefacts.values()]
    assert sum(artefact.bytes for artefact in files) < 9_500_000
    default = read_manifest(MODELS / "commands.json")
    for key, artefact in default.artefacts.items():
        if ".int8." in key:
            assert artefact.bytes < 120_000, key


def test_no_file_is_left_over() -> None:
    """Each file in the folder belongs to a manifest."""
    manifests = [read_manifest(MODELS / f"{name}.json") for name in SHIPPED]
    named = {artefact.file for manifest in manifests for artefact in manifest.artefacts.values()}
    assert named | {f"{name}.json" for name in SHIPPED} | {"README.md", "whisper.LICENSE"} == {
        path.name for path in MODELS.iterdir() if path.is_file()
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_the_manifest_says_what_was_measured(name: str) -> None:
    """Every file was verified: float ones decide as PyTorch does, int8 ones lose half a point."""
    manifest = read_manifest(MODELS / f"{name}.json")
    export = manifest.measurements["export"]
    assert export["clips"] >= CLIPS
    assert set(manifest.artefacts) == set(export["files"])
    for key, result in export["files"].items():
        assert result["clips"] >= CLIPS
        if ".int8." not in key:
            assert (1.0, True) == (result["agreement"], result["largest_difference"] <= 1e-4)
        elif result["clips"] == export["clips"]:
            assert result["accuracy"] >= export["pytorch_accuracy"] - 0.005
        if key.endswith(".int8.tflite"):
            assert result["equals_integers"]
        if key.endswith(".tflite"):
            content = read_artefact(MODELS, manifest.artefacts[key])
            assert set(read_operators(content)) == set(result["operators"])


@pytest.mark.parametrize("name", REMADE)
def test_integers_on_real_clips(name: str, recordings: Path) -> None:
    """The shipped int8 files and the integer arithmetic agree in every bit, window and stream."""
    manifest = read_manifest(MODELS / f"{name}.json")
    clips = find_corpus(recordings).split("validation")
    audio, _, _ = read_clips(clips[:: max(1, len(clips) // CLIPS)])
    assert len(audio) >= CLIPS
    features = np.stack([log_mel(clip, manifest.features) for clip in audio])
    quantised = quantised_of(manifest, read_network(manifest, MODELS))
    stored = quantised.values["features"].store(features)
    expected = run_window(quantised, stored)
    for graph, taken in (("window", slice(None)), ("stream", slice(None, None, 5))):
        content = read_artefact(MODELS, manifest.artefacts[f"{graph}.int8.tflite"])
        posteriors = TfliteFile(content, reference=True).run_stored(stored[taken])
        np.testing.assert_array_equal(expected[taken], posteriors)


@pytest.mark.parametrize("name", SHIPPED)
def test_metadata_of_onnx_files(name: str) -> None:
    """A file that has lost its manifest can still be understood."""
    import onnx

    manifest = read_manifest(MODELS / f"{name}.json")
    for key in (key for key in manifest.artefacts if key.endswith(".onnx")):
        model = onnx.load_from_string(read_artefact(MODELS, manifest.artefacts[key]))
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert list(manifest.labels) == json.loads(metadata["labels"])
        assert dataclasses.asdict(manifest.features) == json.loads(metadata["features"])
