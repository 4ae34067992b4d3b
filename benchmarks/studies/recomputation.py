"""`python -m benchmarks.studies.recomputation`: what carrying the network's state from hop to hop
saves.

The same network with its state (streaming), over its whole window for each row (window by window),
and with the front end of that window too (full-window recomputation), which is what a program does
that knows a classifier of clips. The first two are detectors with their gate, without the verifier,
which is the same for all. All run in ONNX Runtime, and where the native kernel was built, streaming
on it stands beside them. All take turns on the same held-out speech; ratios are paired by round.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.product.peers import speech_of
from benchmarks.program import keep, program
from benchmarks.timed import add_rounds, timed, timed_ratio
from kws import Detector
from kws.audio import Int16Array
from kws.bench.timing import alternate
from kws.config import SAMPLE_RATE
from kws.frontend import FloatArray, log_mel
from kws.model.load import Model, load_model
from kws.native import library

BLOCK = 320  # samples, 20 ms: a row of posteriors
STREAMING = "streaming"
ALONE = "the network alone, streaming"


def measure(speech: Int16Array, rounds: int) -> dict[str, Any]:
    """Processor time of each way, and its ratio to streaming; the network alone by itself."""
    model = load_model(artefact="stream.onnx", backend="onnx")
    window = load_model(artefact="window.onnx")
    features = log_mel(speech, model.manifest.features)
    ways: dict[str, Callable[[], float]] = {
        STREAMING: lambda: _detector_ms(model, speech),
        "window by window": lambda: _detector_ms(window, speech),
        "full-window recomputation": lambda: _recomputed_ms(window, speech),
        ALONE: lambda: _network_ms(model, features),
        "the network alone, window by window": lambda: _network_ms(window, features),
    }
    if library():
        kernel = load_model(artefact="stream.onnx", backend="native")
        ways["streaming, native kernel"] = lambda: _detector_ms(kernel, speech)
    found = {name: values[1:] for name, values in alternate(ways, rounds + 1).items()}  # 0 warms up
    return {
        "paired_processor_time": {
            name: {
                "ms_per_second": timed(values),
                "relative_processor_time": timed_ratio(
                    values, found[ALONE if "alone" in name else STREAMING]
                ),
            }
            for name, values in found.items()
        }
    }


def _detector_ms(model: Model, audio: Int16Array) -> float:
    """Milliseconds of processor time per second of audio, of a detector without verifier."""
    detector = Detector(model, verify=False)
    begun = time.process_time()
    for start in range(0, len(audio) - BLOCK + 1, BLOCK):
        detector.process(audio[start : start + BLOCK])
    return (time.process_time() - begun) * 1e3 * SAMPLE_RATE / len(audio)


def _recomputed_ms(window: Model, audio: Int16Array) -> float:
    """The front end and the network over the whole last second at every row, and nothing else."""
    ends = range(SAMPLE_RATE, len(audio) + 1, BLOCK)
    begun = time.process_time()
    for end in ends:
        frames = log_mel(audio[end - SAMPLE_RATE : end], window.manifest.features)
        window.backend.run(frames[None])
    return (time.process_time() - begun) * 1e3 * SAMPLE_RATE / (len(ends) * BLOCK)


def _network_ms(model: Model, features: FloatArray) -> float:
    stream = model.open_stream()
    hops = [
        features[start : start + stream.frames]
        for start in range(0, len(features) - stream.frames + 1, stream.frames)
    ]
    begun = time.process_time()
    for hop in hops:
        stream.posteriors(hop)
    frames = len(hops) * stream.frames
    hop_seconds = model.manifest.features.hop / SAMPLE_RATE
    return (time.process_time() - begun) * 1e3 / (frames * hop_seconds)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("studies.recomputation", __doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of speech (default: 10)")
    add_rounds(parser, 15)
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    speech = speech_of(options.data, "orders", files=10)
    wanted = round(options.seconds * SAMPLE_RATE)
    return measure(np.resize(speech, wanted), options.rounds)


if __name__ == "__main__":
    sys.exit(main())
