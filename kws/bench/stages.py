"""The stages of the pipeline as calls that can be timed one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kws.audio import BLOCK_MS, Converter, Int16Array
from kws.config import SAMPLE_RATE, STEP_MS
from kws.decision import Decider
from kws.gated_stream import GatedStreams
from kws.model.load import Model
from kws.model.manifest import Manifest
from kws.streaming_frontend import StreamingFrontend
from kws.vad import SpeechGate

DEVICE_RATE = 48_000  # Hz, of most microphones
STEPS_PER_SECOND = 1000 / STEP_MS


@dataclass(frozen=True)
class Stage:
    """One call, and how often it is made while the gate is open."""

    call: Callable[[], object]
    per_second: float  # calls per second of audio


def stages(model: Model, audio: Int16Array) -> dict[str, Stage]:
    """Every stage but the network, each on 16 kHz audio (samples,) of at least one second.

    The verifier is called for each candidate in the audio.
    """
    manifest, stream = model.manifest, model.open_stream()
    hop = stream.frames * manifest.features.hop  # samples
    per_second = SAMPLE_RATE / hop
    found = {
        "resample": Stage(_resample(), 1000 / BLOCK_MS),
        "front end": Stage(_front_end(manifest, audio, stream.frames), per_second),
        "vad": Stage(_gate(manifest, audio[:hop]), per_second),
        "decision": Stage(_decision(manifest, stream.steps), per_second),
    }
    if model.verifier is not None:
        found["verifier"] = _verifier(model, audio)
    return found


def network(model: Model) -> Stage:
    """The network as a detector calls it, hop by hop."""
    stream, features = model.open_stream(), model.manifest.features
    frames = np.zeros((stream.frames, features.width), np.float32)
    per_second = SAMPLE_RATE / (stream.frames * features.hop)
    return Stage(lambda: stream.posteriors(frames), per_second)


def _resample() -> Callable[[], object]:
    converter = Converter(DEVICE_RATE)
    block = np.zeros((DEVICE_RATE * BLOCK_MS // 1000, 1), np.float32)
    return lambda: converter.convert(block)


def _front_end(manifest: Manifest, audio: Int16Array, frames: int) -> Callable[[], object]:
    frontend = StreamingFrontend(manifest.features, 1, frames, 1)
    hop = audio[None, : frames * manifest.features.hop]
    numbers = itertools.count()

    def step() -> object:
        frontend.append([0], hop)
        return frontend.features([0], [next(numbers)])

    return step


def _gate(manifest: Manifest, audio: Int16Array) -> Callable[[], object]:
    gate = SpeechGate(manifest.vad)
    return lambda: gate.is_open(audio)


def _verifier(model: Model, audio: Int16Array) -> Stage:
    streams, verifier = GatedStreams(model, vad=False), model.verifier
    assert streams.verifier is not None
    assert verifier is not None
    for hop in streams.cut([audio]):
        streams.rows(*hop)
    second = np.zeros((1, model.frames, model.manifest.features.width), np.float32)
    per_second = streams.verifier.queries * SAMPLE_RATE / len(audio)
    return Stage(lambda: verifier.run(second), per_second)


def _decision(manifest: Manifest, steps: int) -> Callable[[], object]:
    decider = Decider(manifest.labels, manifest.thresholds, manifest.decision)
    labels = len(manifest.labels)
    rows = np.full((steps, labels), 1 / labels, np.float32)
    return lambda: decider.update(rows)
