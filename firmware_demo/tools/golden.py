"""Golden vectors: what Python makes of a recording, stage by stage, for the C tests to compare.

All files are raw little-endian numbers, row by row:

    audio.bin       int16  samples
    features.bin    int8   (frames, bands)
    posteriors.bin  int8   (steps, labels), one row for each step of the features
    detections.bin  int32  (detections, 4): label, score in 1/65536, first and last sample
    layers_in.bin   int8   (STEPS, stride, bands), a loud part of the features, after silence
    layers.bin      int8   (STEPS, ...) every layer's output in the order in which they run
    scores.bin      int32  (SCORES, 2 + labels): rows rested before it, stored posteriors, and the
                           loudest of the stored features
    decided.bin     int32  as detections.bin, for scores.bin
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.integer import IntegerArithmetic, run_step, zero_contexts
from export.network import Layer, walk
from export.quantised import Quantisation, QuantisedNetwork
from firmware_demo.tools.generate import silence_rows
from kws.decision import Decider
from kws.frontend import DB, FloatArray, log_mel
from kws.model.manifest import MODES, Manifest

Int8Array = NDArray[np.int8]
Int32Array = NDArray[np.int32]

STEPS = 24  # of layers.bin
SCORES = 4000  # of scores.bin


def golden(
    manifest: Manifest, quantised: QuantisedNetwork, audio: NDArray[np.int16]
) -> dict[str, NDArray[np.generic]]:
    """The content of each golden file by its name."""
    features = quantised.values["features"].store(log_mel(audio, manifest.features))
    posteriors = stream(quantised, features[None])[0]
    inputs = _loudest(_steps(quantised, features))
    scale = quantised.values["features"]
    scores = _scores(manifest, scale)
    return {
        "audio.bin": audio,
        "features.bin": features,
        "posteriors.bin": posteriors,
        "detections.bin": decide(
            manifest, scale, _from_start(manifest, quantised, posteriors, features)
        ),
        "layers_in.bin": inputs,
        "layers.bin": _layers(quantised, inputs),
        "scores.bin": scores,
        "decided.bin": decide(manifest, scale, scores),
    }


def stream(quantised: QuantisedNetwork, features: Int8Array) -> Int8Array:
    """Posteriors (streams, steps, labels) of features (streams, frames, bands), each after a long
    silence."""
    stride = quantised.network.stem.stride
    contexts = _silence(quantised, len(features))
    firsts = range(0, features.shape[1] - stride + 1, stride)
    rows = [run_step(quantised, features[:, first : first + stride], contexts) for first in firsts]
    return np.stack(rows, axis=1)


def decide(manifest: Manifest, features: Quantisation, scores: Int32Array) -> Int32Array:
    """Detections (detections, 4) of scores (rows, 2 + labels): rows rested, stored posteriors, and
    the loudest of the stored features."""
    decider = Decider(manifest.labels, manifest.operating_point(MODES[0]), manifest.decision)
    rate = manifest.features.sample_rate
    detections = []
    for rested, *stored, loudest in scores.tolist():
        decider.rest(rested)
        posteriors = (np.array([stored], np.float32) + 128) / np.float32(256)
        levels = levels_of(features, np.array([[[loudest]]], np.int8))[0]
        detections += [
            (
                manifest.labels.index(detection.keyword),
                round(detection.score * 65536),
                round(detection.start * rate),
                round(detection.end * rate),
            )
            for detection in decider.update(posteriors, levels)
        ]
    return np.array(detections, np.int32).reshape(-1, 4)


def levels_of(features: Quantisation, stored: Int8Array) -> FloatArray:
    """Levels in dB (streams, steps) of stored features (streams, steps, any number)."""
    return np.float32(DB) * features.real(stored.max(axis=2))


def _from_start(
    manifest: Manifest, quantised: QuantisedNetwork, posteriors: Int8Array, features: Int8Array
) -> Int32Array:
    """Scores of a stream: before the first whole frame lie those that begin in digital silence."""
    config, zero_point = manifest.features, quantised.values["features"].zero_point
    stride = quantised.network.stem.stride
    lead = -(-(config.window - config.hop) // config.hop) // stride
    silence = np.full((lead * stride, config.bands), zero_point).astype(np.int8)
    rows = np.concatenate((stream(quantised, silence[None])[0], posteriors))
    steps = _steps(quantised, np.concatenate((silence, features)))[: len(rows)]
    loudest = steps.max(axis=(1, 2)).astype(np.int32)
    scores = np.concatenate((rows.astype(np.int32), loudest[:, None]), axis=1)
    return np.insert(scores, 0, 0, axis=1)


def _steps(quantised: QuantisedNetwork, features: Int8Array) -> Int8Array:
    stride = quantised.network.stem.stride
    whole = len(features) - len(features) % stride
    return features[:whole].reshape(-1, stride, features.shape[1])


def _silence(quantised: QuantisedNetwork, streams: int = 1) -> dict[str, Int8Array]:
    rows = silence_rows(quantised)
    return {
        name: np.broadcast_to(rows[name], context.shape)
        for name, context in zero_contexts(quantised, streams).items()
    }


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
        return self._keep(super().classify(value, layer))


def _layers(quantised: QuantisedNetwork, inputs: Int8Array) -> Int8Array:
    contexts = _silence(quantised)
    rows = []
    for step in inputs:
        recorder = _Recorder(quantised, contexts)
        walk(quantised.network, step[None], recorder)
        rows.append(np.concatenate(recorder.rows))
    return np.stack(rows)


def _scores(manifest: Manifest, features: Quantisation) -> Int32Array:
    """Posteriors that rise and fall at random about the thresholds, with rests between them.

    What rises is of any loudness; some stay up over two or three bursts of sound, like a word that
    is said again; a third of those are silent in between, as before the t of "stop"."""
    random = np.random.default_rng(7)
    labels = len(manifest.labels)
    rests = np.where(random.random(SCORES) < 0.01, random.integers(1, 200, SCORES), 0)
    heights = np.zeros((SCORES, labels))
    sounds = random.integers(0, 40, SCORES)
    for _ in range(SCORES // 60):
        at, label = random.integers(SCORES), random.integers(labels)
        end = at + random.integers(5, 90)
        heights[at:end, label] = random.uniform(0.3, 4.0)
        sounds[at:end] = random.integers(40, 256)
    for at in random.integers(0, SCORES - 200, SCORES // 400):
        loud, apart, times = random.integers(120, 256), random.integers(25, 45), 2 + at % 2
        label = manifest.labels.index(manifest.keywords[at % len(manifest.keywords)])
        end = at + apart * times
        rests[at : end + 50], heights[at : end + 50] = 0, 0.0
        heights[at + 15 : end + 45, label] = 4.0
        row = np.arange(end + 50 - at) % apart
        closed = (row >= 5) & (row < 9) if at % 3 == 0 else np.zeros(len(row), bool)
        sounds[at : end + 50] = np.where((row < 15) & ~closed, loud, 20)
        sounds[end : end + 50] = 20
    heights = np.maximum(heights + random.normal(0.0, 0.02, heights.shape), 0.0)
    heights /= np.maximum(heights.sum(axis=1, keepdims=True), 1.0)
    posteriors = np.minimum(np.rint(heights * 256), 255) - 128
    loudest = np.maximum(sounds - 128, features.zero_point)
    return np.column_stack((rests, posteriors, loudest)).astype(np.int32)
