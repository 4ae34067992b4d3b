"""`python -m benchmarks.studies.growth`: cost against the number of streams, the width and the hop.

All points of a curve are measured in the same alternating rounds; processor time is per second of
audio and stream. A pool stands beside detectors that have loaded a model each and beside detectors
that were given one model, and have but a state of their own; ratios are paired by round. A picture
of each curve lies beside the result. What the largest pool spends its time on, with the gate held
open, stands there too. The curves leave the verifier out, whose cost grows with the candidates, not
with these; how much it adds while somebody says a command every two seconds is told apart. All run
in ONNX Runtime; where the native kernel was built, many streams on it are measured as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.program import keep, program
from benchmarks.timed import add_rounds, timed, timed_ratio
from export.build import STREAM_STEPS
from export.network import Block, FoldedNetwork, Layer
from export.shipped import read_network
from export.stream_graph import write_stream
from kws import Detector, load_model
from kws.audio import AudioFile, Int16Array
from kws.bench.timing import alternate
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.frontend import log_mel_of_frames
from kws.model.batched import open_streams
from kws.model.load import Model
from kws.model.manifest import (
    Manifest,
    describe_artefact,
    find_manifest,
    read_manifest,
    write_manifest,
)
from kws.native import library
from kws.pool import DetectorPool

STREAMS = (1, 2, 4, 8, 16, 32, 64)
WIDTHS = (24, 48, 96, 144, 192)
STEPS = (1, 2, 3, 4, 5, 10)  # rows of posteriors in a call, 20 ms each
BLOCK = 320 * STREAM_STEPS  # samples, a call of the network
CALLS = 100  # of a stage in a round
SEPARATE, SHARED = "a Detector for each", "a Detector for each, on one model"
POOL = "one DetectorPool"

Curve = dict[str, dict[str, Any]]
Key = TypeVar("Key", bound=Hashable)


def streams_curve(
    model: Model, counts: Sequence[int], seconds: float, rounds: int, verify: bool = False
) -> Curve:
    """A pool against detectors that share a model and against detectors that do not."""
    audio = _audio(seconds)
    runs: dict[tuple[int, str], Callable[[], float]] = {}
    for count in counts:
        shifted = [np.roll(audio, number * 7_919) for number in range(count)]
        backend = "native" if model.native else "onnx"
        own = [
            load_model(model.path, artefact=model.artefact, backend=backend) for _ in range(count)
        ]
        runs[count, SEPARATE] = _separate([Detector(o, verify=verify) for o in own], shifted)
        runs[count, SHARED] = _separate(
            [Detector(model, verify=verify) for _ in range(count)], shifted
        )
        runs[count, POOL] = _pooled(DetectorPool(model, count, verify=verify), shifted)
    found = _rounds(runs, rounds)
    return {
        f"{count} stream{'s' if count > 1 else ''}": {
            POOL: {"ms_per_second": timed(found[count, POOL])},
            **{
                way: {
                    "ms_per_second": timed(found[count, way]),
                    "relative_processor_time": timed_ratio(found[count, way], found[count, POOL]),
                }
                for way in (SEPARATE, SHARED)
            },
        }
        for count in counts
    }


def pool_stages(model: Model, count: int, seconds: float, rounds: int) -> Curve:
    """What each stage takes of a pool of so many streams that are never silent.

    The rest are decisions, blocks that come in, and what each stream keeps of its audio.
    """
    network = open_streams(model, count)
    config = model.manifest.features
    hop = network.frames * config.hop  # samples
    audio = _audio(seconds)
    shifted = [np.roll(audio, number * 7_919) for number in range(count)]
    stretch = np.stack([each[: hop + config.window] for each in shifted])
    framed = np.lib.stride_tricks.sliding_window_view(stretch, config.window, axis=1)
    framed = framed[:, : hop : config.hop].reshape(-1, config.window).copy()
    features = log_mel_of_frames(framed, config).reshape(count, network.frames, -1)
    runs = {
        POOL: _pooled(DetectorPool(model, count, vad=False, verify=False), shifted),
        "front end": _stage(lambda: log_mel_of_frames(framed, config), hop, count),
        "network": _stage(lambda: network.posteriors(range(count), features), hop, count),
    }
    found = _rounds(runs, rounds)
    found["the rest"] = [
        whole - sum(stages) for whole, *stages in zip(*found.values(), strict=True)
    ]
    whole = found.pop(POOL)
    return {POOL: {"ms_per_second": timed(whole)}} | {
        name: {"ms_per_second": timed(taken), "share_of_the_pool": timed_ratio(taken, whole)}
        for name, taken in found.items()
    }


def _stage(call: Callable[[], object], samples: int, streams: int) -> Callable[[], float]:
    """ms of processor time per second and stream of a call for so many samples of each."""

    def run() -> float:
        begin = time.process_time()
        for _ in range(CALLS):
            call()
        taken = time.process_time() - begin
        return 1e3 * taken * SAMPLE_RATE / (CALLS * samples * streams)

    return run


def _rounds(runs: Mapping[Key, Callable[[], float]], rounds: int) -> dict[Key, list[float]]:
    """What each run takes in alternating rounds, after one that warms up."""
    return {key: values[1:] for key, values in alternate(runs, rounds + 1).items()}


def width_curve(manifest: Manifest, widths: Sequence[int], seconds: float, rounds: int) -> Curve:
    """Networks of random weights that differ from the shipped one in their width alone."""
    shape = read_network(manifest, find_manifest(manifest.name).parent)
    networks = {width: random_network(shape, width) for width in widths}
    found = _detectors(
        manifest, {w: (n, STREAM_STEPS) for w, n in networks.items()}, seconds, rounds
    )
    return {
        f"{width} channels": {
            "parameters": sum(x.weights.size + x.bias.size for x in networks[width].layers),
            "ms_per_second": timed(found[width]),
        }
        for width in widths
    }


def hop_curve(manifest: Manifest, steps: Sequence[int], seconds: float, rounds: int) -> Curve:
    """The shipped network, called for so many steps at once; a detection waits for the call."""
    network = read_network(manifest, find_manifest(manifest.name).parent)
    found = _detectors(manifest, {count: (network, count) for count in steps}, seconds, rounds)
    return {f"{20 * count} ms": {"ms_per_second": timed(found[count])} for count in steps}


def random_network(shape: FoldedNetwork, width: int) -> FoldedNetwork:
    """The same layers with another number of channels, small random weights."""
    generator = np.random.default_rng(width)

    def layer(like: Layer, outputs: int, inputs: int) -> Layer:
        sizes = (
            (like.kernel, outputs)
            if like.kind == "depthwise"
            else (outputs, *like.weights.shape[1:-1], inputs)
        )
        weights = generator.normal(0, inputs**-0.5, sizes).astype(np.float32)
        return replace(like, weights=weights, bias=np.zeros(outputs, np.float32))

    return FoldedNetwork(
        layer(shape.stem, width, shape.bands),
        tuple(
            Block(b.name, layer(b.depthwise, width, width), layer(b.pointwise, width, width))
            for b in shape.blocks
        ),
        shape.pool,
        layer(shape.classifier, len(shape.classifier.bias), width),
    )


def _detectors(
    manifest: Manifest,
    networks: Mapping[int, tuple[FoldedNetwork, int]],
    seconds: float,
    rounds: int,
) -> dict[int, list[float]]:
    """Processor time of a whole detector on each (network, steps), ms per second, by round."""
    audio = _audio(seconds)
    runs = {}
    with tempfile.TemporaryDirectory() as scratch:
        for key, (network, steps) in networks.items():
            folder = Path(scratch) / str(key)
            folder.mkdir()
            (folder / "stream.onnx").write_bytes(write_stream(network, steps, {}))
            artefacts = {"stream.onnx": describe_artefact(folder / "stream.onnx")}
            decision = replace(manifest.decision, hop_ms=20 * steps)
            made = replace(manifest, artefacts=artefacts, decision=decision, verifier=None)
            write_manifest(made, folder / "model.json")
            detector = Detector(load_model(folder, backend="onnx"))
            runs[key] = _separate([detector], [audio])
        return _rounds(runs, rounds)


def _separate(detectors: list[Detector], audio: list[Int16Array]) -> Callable[[], float]:
    def run() -> float:
        begin = time.process_time()
        for start in range(0, len(audio[0]), BLOCK):
            for detector, samples in zip(detectors, audio, strict=True):
                detector.process(samples[start : start + BLOCK])
        taken = time.process_time() - begin
        for detector in detectors:
            detector.reset()
        return _per_second(taken, audio)

    return run


def _pooled(pool: DetectorPool, audio: list[Int16Array]) -> Callable[[], float]:
    def run() -> float:
        begin = time.process_time()
        for start in range(0, len(audio[0]), BLOCK):
            pool.process([samples[start : start + BLOCK] for samples in audio])
        taken = time.process_time() - begin
        for stream in range(len(pool)):
            pool.reset(stream)
        return _per_second(taken, audio)

    return run


def _per_second(taken: float, audio: list[Int16Array]) -> float:
    """ms of processor time per second of each stream."""
    return 1e3 * taken / sum(len(samples) / SAMPLE_RATE for samples in audio)


def _audio(seconds: float) -> Int16Array:
    """The demonstration, over and over: words, with pauses in which the gate closes."""
    once = np.concatenate(list(AudioFile(RECORDING)))
    return np.resize(once, round(seconds * SAMPLE_RATE))


def draw(figures: Mapping[str, Curve], folder: Path) -> None:
    """A picture of each curve with the intervals of its points, growth_<name>.png."""
    from matplotlib.figure import Figure

    ways = (SEPARATE, SHARED, POOL)
    lines = {
        "streams": ("streams", ways),
        "streams_on_the_kernel": ("streams", ways),
        "width": ("channels", ("",)),
        "hop": ("hop, ms", ("",)),
    }
    for name, (across, curves) in lines.items():
        if name not in figures:
            continue
        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.subplots()
        points = list(figures[name].values())
        places = [int(point.partition(" ")[0]) for point in figures[name]]
        for curve in curves:
            taken = [(point[curve] if curve else point)["ms_per_second"] for point in points]
            low, middle, high = np.transpose(
                [np.insert(each["interval_95"], 1, each["median"]) for each in taken]
            )
            apart = (middle - low, high - middle)
            axes.errorbar(places, middle, apart, marker="o", capsize=3, label=curve)
        axes.set_xlabel(across)
        axes.set_ylabel("processor time per second and stream, ms")
        axes.set_ylim(bottom=0)
        if len(curves) > 1:
            axes.set_xscale("log", base=2)
            axes.set_xticks(places, map(str, places))
            axes.legend(loc="lower left")
        figure.savefig(folder / f"growth_{name}.png", dpi=110)


def measure(
    seconds: float,
    rounds: int,
    streams: Sequence[int] = STREAMS,
    widths: Sequence[int] = WIDTHS,
    steps: Sequence[int] = STEPS,
) -> dict[str, Curve]:
    """The three curves of the default model, and the stages of its largest pool."""
    manifest = read_manifest(find_manifest())
    model = load_model(artefact="stream.onnx", backend="onnx")
    curves = {
        "streams": streams_curve(model, streams, seconds, rounds),
        "streams_with_verifier": streams_curve(model, streams[-2:], seconds, rounds, verify=True),
    }
    if library():
        kernel = load_model(artefact="stream.onnx", backend="native")
        curves["streams_on_the_kernel"] = streams_curve(kernel, streams, seconds, rounds)
    return curves | {
        f"a_pool_of_{streams[-1]}": pool_stages(model, streams[-1], seconds, rounds),
        "width": width_curve(manifest, widths, seconds, rounds),
        "hop": hop_curve(manifest, steps, seconds, rounds),
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("studies.growth", __doc__, recordings=False)
    parser.add_argument("--seconds", type=float, default=6.0, help="of audio in each round")
    add_rounds(parser, 11)
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    figures = measure(options.seconds, options.rounds)
    draw(figures, options.out.parent)
    return figures


if __name__ == "__main__":
    sys.exit(main())
