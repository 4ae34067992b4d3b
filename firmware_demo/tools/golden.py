"""Golden vectors: what Python makes of a recording, stage by stage, for the C tests to compare.

All files are raw little-endian numbers, row by row:

    audio.bin       int16  samples
    features.bin    int8   (frames, bands)
    posteriors.bin  int8   (steps, labels), one row for each step from the start of the stream
    detections.bin  int32  (detections, 4): label, score in 1/65536, first and last sample
    layers_in.bin   int8   (STEPS, stride, bands), a loud part of the features, heard after silence
    layers.bin      int8   (STEPS, ...) every layer's output in the order in which they run
    scores.bin      int32  (scores, 2 + labels): first and last sample, stored posteriors
    decided.bin     int32  as detections.bin, for scores.bin
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.integer import IntegerArithmetic, run_step, zero_contexts
from export.network import Layer, walk
from export.quantised import QuantisedNetwork
from firmware_demo.tools.generate import silence_rows
from kws.decision import Decider, Detection
from kws.frontend import log_mel
from kws.manifest import Manifest

Int8Array = NDArray[np.int8]
Int32Array = NDArray[np.int32]

STEPS = 24  # of layers.bin
SCORES = 4000  # of scores.bin


def golden(
    manifest: Manifest, quantised: QuantisedNetwork, audio: NDArray[np.int16]
) -> dict[str, NDArray[np.generic]]:
    """The content of each golden file by its name."""
    features = quantised.values["features"].store(log_mel(audio, manifest.features))
    posteriors = stream(quantised, features)
    inputs = _loudest(_steps(quantised, features))
    scores = _scores(manifest)
    return {
        "audio.bin": audio,
        "features.bin": features,
        "posteriors.bin": posteriors,
        "detections.bin": decide(manifest, _windows(manifest, quantised, posteriors)),
        "layers_in.bin": inputs,
        "layers.bin": _layers(quantised, inputs),
        "scores.bin": scores,
        "decided.bin": decide(manifest, scores),
    }


def stream(quantised: QuantisedNetwork, features: Int8Array) -> Int8Array:
    """Posteriors (steps, labels) of features (frames, bands), heard after a long silence."""
    contexts = _silence(quantised)
    steps = _steps(quantised, features)
    return np.concatenate([run_step(quantised, step[None], contexts) for step in steps])


def decide(manifest: Manifest, scores: Int32Array) -> Int32Array:
    """Detections (detections, 4) of scores (scores, 2 + labels)."""
    thresholds = {keyword: manifest.threshold(keyword) for keyword in manifest.keywords}
    decider = Decider(manifest.labels, thresholds, manifest.decision)
    detections = []
    for start, end, *stored in scores.tolist():
        posteriors = (np.array(stored, np.float32) + 128) / np.float32(256)
        detection = decider.update(posteriors, start, end)
        if detection is not None:
            detections.append(_row(manifest, detection))
    return np.array(detections, np.int32).reshape(-1, 4)


def _row(manifest: Manifest, detection: Detection) -> tuple[int, int, int, int]:
    rate = manifest.features.sample_rate
    return (
        manifest.labels.index(detection.keyword),
        round(detection.score * 65536),
        round(detection.start * rate),
        round(detection.end * rate),
    )


def _steps(quantised: QuantisedNetwork, features: Int8Array) -> Int8Array:
    stride = quantised.network.stem.stride
    whole = len(features) - len(features) % stride
    return features[:whole].reshape(-1, stride, features.shape[1])


def _silence(quantised: QuantisedNetwork) -> dict[str, Int8Array]:
    rows = silence_rows(quantised)
    return {
        name: np.broadcast_to(rows[name], context.shape)
        for name, context in zero_contexts(quantised).items()
    }


def _windows(manifest: Manifest, quantised: QuantisedNetwork, posteriors: Int8Array) -> Int32Array:
    features = manifest.features
    frames = (np.arange(len(posteriors)) + 1) * quantised.network.stem.stride
    ends = features.window + (frames - 1) * features.hop
    return np.column_stack((ends - features.sample_rate, ends, posteriors)).astype(np.int32)


def _loudest(steps: Int8Array) -> Int8Array:
    levels = steps.astype(np.int64).sum(axis=(1, 2))
    sums = np.convolve(levels, np.ones(STEPS, np.int64), mode="valid")
    start = int(sums.argmax())
    return steps[start : start + STEPS]


class _Recorder(IntegerArithmetic):
    """Keeps what every layer gives."""

    def __init__(self, quantised: QuantisedNetwork, contexts: dict[str, Int8Array]) -> None:
        super().__init__(quantised, contexts)
        self.rows: list[Int8Array] = []

    def _keep(self, value: Int8Array) -> Int8Array:
        self.rows.append(value.reshape(-1))
        return value

    def convolve(self, value: Int8Array, layer: Layer) -> Int8Array:
        return self._keep(super().convolve(value, layer))

    def add_relu(self, left: Int8Array, right: Int8Array, name: str) -> Int8Array:
        return self._keep(super().add_relu(left, right, name))

    def mean(self, value: Int8Array, steps: int) -> Int8Array:
        return self._keep(super().mean(value, steps))

    def classify(self, value: Int8Array, layer: Layer) -> Int8Array:
        self.convolve(value, layer)  # the logits, which the softmax else hides
        return self._keep(super().classify(value, layer))


def _layers(quantised: QuantisedNetwork, inputs: Int8Array) -> Int8Array:
    contexts = _silence(quantised)
    rows = []
    for step in inputs:
        recorder = _Recorder(quantised, contexts)
        walk(quantised.network, step[None], recorder)
        rows.append(np.concatenate(recorder.rows))
    return np.stack(rows)


def _scores(manifest: Manifest) -> Int32Array:
    """Posteriors that rise and fall at random about the thresholds, with gaps in time."""
    random = np.random.default_rng(7)
    labels, hop = len(manifest.labels), manifest.features.hop
    rate = manifest.features.sample_rate
    pauses = np.where(random.random(SCORES) < 0.01, random.integers(1, 200, SCORES), 2)
    ends = np.cumsum(pauses) * hop
    levels = np.zeros((SCORES, labels))
    for _ in range(SCORES // 20):
        at, label = random.integers(SCORES), random.integers(labels)
        length, height = random.integers(1, 30), random.uniform(0.2, 1.0)
        levels[at : at + length, label] = height
    noisy = levels + random.normal(0.0, 0.05, levels.shape)
    stored = np.clip(np.rint(noisy * 256) - 128, -128, 127)
    return np.column_stack((ends - rate, ends, stored)).astype(np.int32)
