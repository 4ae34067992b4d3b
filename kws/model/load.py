"""A manifest and the networks that it names, joined and tried."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kws.config import STEP_MS
from kws.errors import BackendUnavailable, ModelError
from kws.frontend import FloatArray, frame_count, log_mel
from kws.model.encoder import Encoder
from kws.model.files import release
from kws.model.manifest import (
    MODELS,
    Artefact,
    Manifest,
    find_manifest,
    map_artefact,
    packaged_hashes,
    read_artefact,
    read_manifest,
)
from kws.model.native_encoder import native_encoder
from kws.model.native_layout import native_network
from kws.model.runtimes import (
    FORMATS,
    Backend,
    is_installed,
    open_backend,
    preferred_formats,
)
from kws.model.streaming import OnnxStream, OnnxStreamGraph, Stream, TfliteStream, WindowStream
from kws.native import Graph, computes, library
from kws.native import Stream as NativeStream

NATIVE = "stream.onnx"  # the artefact that the native kernel runs
BACKENDS = {"native": "onnx", **{kind: kind for kind in FORMATS}}  # and the files that they run


@dataclass(frozen=True)
class Model:
    """A loaded model; `load_model` makes it."""

    manifest: Manifest
    path: Path  # of the manifest
    artefact: str  # key of the artefact that a detector runs, such as "stream.onnx"
    provider: str | None = None  # see kws.model.runtimes.open_backend
    native: bool | None = None  # on the native kernel; None: where that computes the artefact

    @property
    def frames(self) -> int:
        """How many feature frames the network sees at once: those of one second."""
        features = self.manifest.features
        return frame_count(features.sample_rate, features)

    @property
    def runtime(self) -> str:
        """What runs the artefact, in words."""
        if self.native_graph is not None:
            return "native kernel"
        if self.artefact.startswith("window") and isinstance(self.backend, Encoder):
            return "native kernel"
        return "ONNX Runtime" if self.artefact.endswith(".onnx") else "TFLite"

    @property
    def window_artefact(self) -> str:
        """Key of the artefact of `backend`; raises ModelError where there is none."""
        if self.artefact.startswith("window"):
            return self.artefact
        kind = self.artefact.rpartition(".")[2]
        # The native kernel, which streams, may be beside another runtime than ONNX's.
        formats = [kind] if is_installed(kind) else preferred_formats()
        return _choose(self.manifest, self.path, formats, ("window",))

    @cached_property
    def backend(self) -> Backend:
        """The network of whole windows, tried; raises ModelError where there is none.

        An encoder runs on the native kernel where that computes it.
        """
        key = self.window_artefact
        artefact = self.manifest.artefacts[key]
        with self._blamed(artefact):
            features = self.manifest.features
            silence = log_mel(np.zeros(features.sample_rate, np.int16), features)
            backend: Backend | None = self._encoder(artefact, key)
            if backend is None:
                if self.native and key == self.artefact:
                    raise ModelError("the native kernel does not run it; take the backend onnx")
                content = self._content(artefact, key)
                backend = open_backend(key.rpartition(".")[2], content, self.provider)
            _check(backend.run(silence[None]), 1, self.manifest)
        return backend

    @property
    def verifier_runtime(self) -> str | None:
        """What runs the verifier, in words; None where that is left out."""
        if self.verifier is None:
            return None
        return "native kernel" if isinstance(self.verifier, Encoder) else "ONNX Runtime"

    @cached_property
    def verifier(self) -> Backend | None:
        """The verifying network, loaded and run once; None where the model has none.

        It is an ONNX file, and runs beside those only: who chose TFLite may have nothing else. It
        runs on the native kernel where that computes it, and in ONNX Runtime otherwise; who listens
        on the native kernel may not have that, and does without.
        """
        entry = self.manifest.verifier
        if entry is None or not self.artefact.endswith(".onnx"):
            return None
        with self._blamed(entry.artefact):
            backend: Backend | None = self._encoder(entry.artefact, "window.onnx")
            if backend is None:
                if not is_installed("onnx") and self.native_graph is not None:
                    return None
                backend = open_backend("onnx", self._content(entry.artefact, "window.onnx"))
            features = self.manifest.features
            silence = log_mel(np.zeros(features.sample_rate, np.int16), features)
            _check(backend.run(silence[None]), 1, self.manifest)
        return backend

    def _encoder(self, artefact: Artefact, key: str) -> Encoder | None:
        """An artefact of windows on the native kernel; None where that does not compute it.

        Most of a packaged one stays in its file, so that listening takes less memory.
        """
        if self.native is False or self.provider == "cuda" or library() is None:
            return None
        if not key.endswith(".onnx"):
            return None
        if self.path.parent != MODELS:  # which may be written to while it is in use
            return native_encoder(self._content(artefact, key))
        content = map_artefact(self.path.parent, artefact)
        encoder = native_encoder(content, release=lambda: release(content))
        release(content)
        return encoder

    def open_stream(self) -> Stream:
        """A new stream through the network: by the stream graph, else window after window."""
        steps = self.steps
        if self.native_graph is not None:
            return NativeStream(self.native_graph)
        if self.artefact.startswith("stream"):
            if self.artefact.endswith(".onnx"):
                return OnnxStream(self.stream_graph)
            return self._tflite_stream(steps)
        features = self.manifest.features
        stride, rest = divmod(features.sample_rate * STEP_MS // 1000, features.hop)
        if rest:
            raise ModelError(
                f"{self.path}: expected a features.hop that divides the {STEP_MS} ms from one row "
                f"of posteriors to the next, got {features.hop} samples"
            )
        query_steps = self.manifest.window_hop_ms // STEP_MS
        return WindowStream(self.backend, self.frames, features.width, steps, stride, query_steps)

    @cached_property
    def native_graph(self) -> Graph | None:
        """The network as the native kernel takes it; None where that does not run it.

        Raises BackendUnavailable and ModelError where it should and cannot.
        """
        features, demanded = self.manifest.features, self.native is True
        if self.native is False or self.provider == "cuda":
            return None
        if library() is None:
            if demanded:
                raise BackendUnavailable(
                    "the native kernel was not built for this machine; take the backend onnx, or "
                    "install kws where there is a C compiler (docs/install.md)"
                )
            return None
        if self.artefact.startswith("window"):
            return None
        with self._blamed(self.manifest.artefacts[self.artefact]):
            network = None
            if self.artefact == NATIVE and computes(features):
                content = self._content(self.manifest.artefacts[self.artefact], self.artefact)
                network = native_network(content)
            if network is None or network.bands != features.width:
                if demanded:
                    raise ModelError("the native kernel does not run it; take the backend onnx")
                return None
            graph = Graph(network, self.frames)
            silence = np.zeros((graph.frames, graph.bands), np.float32)
            _check(NativeStream(graph).posteriors(silence), graph.steps, self.manifest)
        return graph

    @cached_property
    def stream_graph(self) -> OnnxStreamGraph:
        """The network of steps and state, tried; the artefact must be one."""
        with self._blamed(self.manifest.artefacts[self.artefact]):
            content = self._content(self.manifest.artefacts[self.artefact], self.artefact)
            width = self.manifest.features.width
            graph = OnnxStreamGraph(content, self.provider or "cpu", self.frames, width)
            silence = np.zeros((graph.frames, width), np.float32)
            _check(OnnxStream(graph).posteriors(silence), graph.steps, self.manifest)
        return graph

    def _tflite_stream(self, steps: int) -> Stream:
        with self._blamed(self.manifest.artefacts[self.artefact]):
            content = self._content(self.manifest.artefacts[self.artefact], self.artefact)
            width = self.manifest.features.width
            stream = TfliteStream(content, steps, self.frames, width)
            silence = np.zeros((stream.frames, width), np.float32)
            _check(stream.posteriors(silence), stream.steps, self.manifest)
            stream.reset()
        return stream

    def _content(self, artefact: Artefact, key: str) -> bytes:
        """An artefact's content; what did not come with kws has passed a trial run."""
        content = read_artefact(self.path.parent, artefact)
        known = self.path.parent == MODELS or artefact.sha256 in packaged_hashes()
        if not known and artefact.sha256 not in self._tried:
            from kws.model.trial import Trial, try_first  # packaged models do without

            try_first(
                content,
                Trial(
                    graph="stream" if key.startswith("stream") else "window",
                    form=key.rpartition(".")[2],
                    frames=self.frames,
                    width=self.manifest.features.width,
                    steps=self.steps,
                ),
            )
            self._tried.add(artefact.sha256)
        return content

    @cached_property
    def _tried(self) -> set[str]:
        """Hashes of the artefacts that have passed a trial run."""
        return set()

    @property
    def steps(self) -> int:
        """Rows of posteriors that a decision takes in at once."""
        return max(1, self.manifest.decision.hop_ms // STEP_MS)

    @contextmanager
    def _blamed(self, artefact: Artefact) -> Iterator[None]:
        """Puts the artefact's file into the message of an error."""
        path = self.path.parent / artefact.file
        try:
            yield
        except (ModelError, ValueError) as error:
            raise ModelError(
                str(error) if str(path) in str(error) else f"{path}: {error}"
            ) from error


def load_model(
    model: str | os.PathLike[str] | None = None,
    *,
    backend: str | None = None,
    provider: str | None = None,
    artefact: str | None = None,
) -> Model:
    """Load a packaged model by name, or any model by its folder or the path of its manifest.

    `backend` is "native", "onnx" or "tflite"; by default whichever the model comes with, ONNX first
    unless TFLite's runtime alone is installed. An ONNX file of streaming inference in float runs
    on the native kernel where that was built and computes it, unless the backend is "onnx", and so
    does an encoder; neither needs a runtime then. A verifier of another form is left out where ONNX
    Runtime is not installed.
    `artefact` is one of the manifest's keys, such as "window.int8.onnx", and leaves no choice;
    without it a detector takes the stream graph where there is one. `provider` is "cpu" (the
    default) or "cuda". Raises ModelError where the model is missing or damaged and
    BackendUnavailable where it cannot run here; both say what to do.
    """
    path = find_manifest(model)
    manifest = read_manifest(path)
    if artefact is not None and artefact not in manifest.artefacts:
        raise ModelError(
            f"{path} has no artefact {artefact}; it has {', '.join(sorted(manifest.artefacts))}"
        )
    if backend not in (None, *BACKENDS):
        raise ValueError(f"the backends are {', '.join(BACKENDS)}, not {backend!r}")
    formats = preferred_formats() if backend is None else [BACKENDS[backend]]
    key = artefact or _choose(manifest, path, formats, ("stream", "window"))
    if artefact is None and backend is None and not is_installed("onnx"):
        alone = Model(manifest, path, NATIVE, provider) if NATIVE in manifest.artefacts else None
        if alone is not None and alone.native_graph is not None:
            return alone
    loaded = Model(manifest, path, key, provider, None if backend is None else backend == "native")
    loaded.open_stream()
    return loaded


def _choose(manifest: Manifest, path: Path, formats: Sequence[str], graphs: Sequence[str]) -> str:
    keys = [
        f"{graph}{kind}.{form}" for form in formats for graph in graphs for kind in ("", ".int8")
    ]
    for key in keys:
        if key in manifest.artefacts:
            return key
    raise ModelError(
        f"{path} has no artefact for the backend {' or '.join(formats)}: expected one of "
        f"{', '.join(keys)}, found {', '.join(manifest.artefacts)}"
    )


def _check(posteriors: FloatArray, rows: int, manifest: Manifest) -> None:
    """Refuse posteriors that do not fit the manifest."""
    expected = (rows, len(manifest.labels))
    if posteriors.shape != expected:
        raise ModelError(
            f"expected posteriors of shape {expected}, one per label, got {posteriors.shape}"
        )
    # An int8 softmax adds up to 1 only to a rounding error per label.
    if not np.abs(posteriors.sum(axis=1) - 1.0).max() < 0.05 or posteriors.min() < 0.0:
        raise ModelError("expected posteriors that add up to 1; is the softmax in the graph?")
