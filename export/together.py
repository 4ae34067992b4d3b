"""A model of two networks in one file: one of `kws.train.embedding` and one that streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.build import Made, metadata_of, quantised_of, with_ranges
from export.embedding_graph import Together, calibrate, write_together
from export.network import FloatArray
from export.shipped import read_network
from kws.errors import ModelError
from kws.model.manifest import Artefact, Manifest, find_manifest, read_artefact, read_manifest
from kws.train.embedding import EmbeddingNetwork
from kws.train.graphs import read_network as read_trained

ARTEFACT = "window.int8.onnx"


def together(
    trained: EmbeddingNetwork,
    manifest: Manifest,
    frames: FloatArray,
    model: str | None,
    only: Sequence[str],
) -> Made:
    """The file of a network and an exported `model`, calibrated on windows (clips, frames, bands).

    Raises ModelError where the model does not fit, and where other files are requested.
    """
    path, other = _beside(manifest, model, only)
    shipped = read_network(other, path.parent)
    ranges = calibrate(trained, frames)
    manifest = with_ranges(manifest, len(frames), ranges)
    artefact = other.artefacts["window.onnx"]
    manifest = replace(
        manifest,
        parameters=manifest.parameters + other.parameters,
        window_hop_ms=manifest.decision.hop_ms,  # a window costs too much for every step
        provenance={**manifest.provenance, "together_with": _described(other, artefact)},
    )
    content = write_together(
        trained, ranges, shipped, quantised_of(other, shipped), metadata_of(manifest)
    )
    network = read_trained(read_artefact(path.parent, artefact))
    return Made(manifest, {ARTEFACT: content}, Together(trained, network).eval(), None)


def _beside(manifest: Manifest, model: str | None, only: Sequence[str]) -> tuple[Path, Manifest]:
    """Where the model that shares the file lies, and what it is."""
    if model is None or tuple(only) != (ARTEFACT,):
        raise ModelError(
            "a network of --network embedding is exported in one file, with another model; add "
            f"--together-with MODEL --only {ARTEFACT}"
        )
    path = find_manifest(model)
    other = read_manifest(path)
    if other.labels != manifest.labels or other.features != manifest.features:
        raise ModelError(f"{path} has other labels or another front end than the checkpoint")
    return path, other


def _described(other: Manifest, artefact: Artefact) -> dict[str, Any]:
    return {
        "model": other.name,
        "sha256": artefact.sha256,
        "training": other.provenance.get("training", {}),
    }
