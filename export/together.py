"""A model of several networks in one file: a trained one and those of a model that was exported.

With one of `kws.train.embedding` goes one that ships; with one of `kws.train.encoder`, such a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.build import Made, metadata_of, quantised_of, with_ranges
from export.embedding_graph import Together, calibrate, write_together
from export.encoder_graph import ABOVE, Confirmed, write_confirmed
from export.network import FloatArray
from export.shipped import read_network
from kws.errors import ModelError
from kws.model.manifest import Artefact, Manifest, find_manifest, read_artefact, read_manifest
from kws.train.embedding import EmbeddingNetwork
from kws.train.encoder import EncoderNetwork
from kws.train.graphs import read_network as read_trained

ARTEFACT = "window.int8.onnx"
LICENCE = "Apache-2.0 AND MIT"  # the weights that an encoder begins with are Whisper's
_ABOUT_PAIR = ("sources", "started_from", "together_with")


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
    path, other = _beside("embedding", manifest, model, only)
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


def confirmed(
    trained: EncoderNetwork, manifest: Manifest, model: str | None, only: Sequence[str]
) -> Made:
    """The file of a pair of networks, an exported `model`, and the network that confirms them.

    Raises ModelError where the model does not fit, and where other files are requested.
    """
    path, other = _beside("encoder", manifest, model, only)
    artefact = other.artefacts.get(ARTEFACT)
    if artefact is None or "together_with" not in other.provenance:
        raise ModelError(
            f"{path} is no pair; name a model that was exported --together-with another, in "
            f"{ARTEFACT}"
        )
    pair = read_artefact(path.parent, artefact)
    beside = {
        **_described(other, artefact),
        **{key: other.provenance[key] for key in _ABOUT_PAIR if key in other.provenance},
        "confirmed_above": ABOVE,
    }
    manifest = replace(
        manifest,
        parameters=manifest.parameters + other.parameters,
        licence=LICENCE,
        window_hop_ms=other.window_hop_ms,
        provenance={**manifest.provenance, "together_with": beside},
    )
    content = write_confirmed(trained, pair, manifest.labels, metadata_of(manifest))
    reference = Confirmed(trained, pair, manifest.labels).eval()
    return Made(manifest, {ARTEFACT: content}, reference, None)


def _beside(
    kind: str, manifest: Manifest, model: str | None, only: Sequence[str]
) -> tuple[Path, Manifest]:
    """Where the model that shares the file lies, and what it is."""
    if model is None or tuple(only) != (ARTEFACT,):
        raise ModelError(
            f"a network of --network {kind} is exported in one file, with another model; add "
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
