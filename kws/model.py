"""A manifest and the backend that runs it, joined and tried."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kws.backends import Backend, open_backend
from kws.errors import ModelError
from kws.frontend import FloatArray, frame_count, log_mel
from kws.manifest import Manifest, find_manifest, read_artefact, read_manifest

FORMATS = ("onnx", "tflite")


@dataclass(frozen=True)
class Model:
    """A loaded model; `load_model` makes it."""

    manifest: Manifest
    path: Path  # of the manifest
    artefact: str  # key of the artefact that runs, such as "window.onnx"
    backend: Backend

    @property
    def frames(self) -> int:
        """How many feature frames the network sees at once: those of one second."""
        features = self.manifest.features
        return frame_count(features.sample_rate, features)


def load_model(
    model: str | os.PathLike[str] | None = None,
    *,
    backend: str | None = None,
    provider: str | None = None,
    artefact: str | None = None,
) -> Model:
    """Load a packaged model by name, or any model by its folder or the path of its manifest.

    `backend` is "onnx" or "tflite"; by default whichever the model comes with, ONNX first.
    `artefact` is one of the manifest's keys, such as "window.int8.onnx", and leaves no choice.
    `provider` is "cpu" (the default) or "cuda". Raises ModelError where the model is missing or
    damaged and BackendUnavailable where it cannot run here; both say what to do.
    """
    path = find_manifest(model)
    manifest = read_manifest(path)
    key = _choose_artefact(manifest, path, backend, artefact)
    content = read_artefact(path.parent, manifest.artefacts[key])
    opened = open_backend(key.rpartition(".")[2], content, provider)
    loaded = Model(manifest, path, key, opened)
    try:
        _try(loaded)
    except (ModelError, ValueError) as error:
        raise ModelError(f"{path.parent / manifest.artefacts[key].file}: {error}") from error
    return loaded


def _choose_artefact(
    manifest: Manifest, path: Path, backend: str | None, artefact: str | None
) -> str:
    if artefact is not None:
        if artefact in manifest.artefacts:
            return artefact
        raise ModelError(
            f"{path} has no artefact {artefact}; it has {', '.join(sorted(manifest.artefacts))}"
        )
    if backend not in (None, *FORMATS):
        raise ValueError(f"the backends are {', '.join(FORMATS)}, not {backend!r}")
    formats = FORMATS if backend is None else (backend,)
    keys = [f"window{kind}.{form}" for form in formats for kind in ("", ".int8")]
    for key in keys:
        if key in manifest.artefacts:
            return key
    raise ModelError(
        f"{path} has no artefact for the backend {' or '.join(formats)}: expected one of "
        f"{', '.join(keys)}, found {', '.join(manifest.artefacts)}"
    )


def _try(model: Model) -> None:
    """Run the network once on digital silence, so that a misfit shows now and not in mid-stream."""
    features = model.manifest.features
    silence = log_mel(np.zeros(features.sample_rate, np.int16), features)
    posteriors: FloatArray = model.backend.run(silence[None])
    expected = (1, len(model.manifest.labels))
    if posteriors.shape != expected:
        raise ModelError(
            f"expected posteriors of shape {expected}, one per label, got {posteriors.shape}"
        )
    # An int8 softmax adds up to 1 only to a rounding error per label.
    if not abs(float(posteriors.sum()) - 1.0) < 0.05 or posteriors.min() < 0.0:
        raise ModelError("expected posteriors that add up to 1; is the softmax in the graph?")
