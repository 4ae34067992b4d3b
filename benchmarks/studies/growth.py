"""`python -m benchmarks.studies.growth`: cost against the number of streams, the width and the hop.

All points of a curve are measured in the same alternating rounds; processor time is per second of
audio and stream. A pool stands beside detectors that have loaded a model each (separate) and beside
detectors that were given one model (shared), and have but a state of their own. A picture of each
curve lies beside the result. What the largest pool spends its time on stands there too. The curves
leave the verifier out, whose cost grows with the candidates, not with these; how much it adds while
somebody says a command every two seconds is told apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import FOLDER, write_result
from export.build import STREAM_STEPS
from export.network import Block, FoldedNetwork, Layer
from export.shipped import read_network
from export.stream_graph import write_stream
from kws import Detector, load_model
from kws.audio import AudioFile, Int16Array
from kws.bench.timing import alternate, compare, ratio, spread
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.errors import KwsError
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
from kws.pool import DetectorPool
from kws.vad import SpeechGate

STREAMS = (1, 2, 4, 8, 16, 32, 64)
WIDTHS = (24, 48, 96, 144, 192)
STEPS = (1, 2, 3, 4, 5, 10)  # rows of posteriors in a call, 20 ms each
BLOCK = 320 * STREAM_STEPS  # samples, a call of the network

Curve = dict[str, dict[str, Any]]


def streams_curve(
    model: Model, counts: Sequence[int], seconds: float, rounds: int, verify: bool = False
) -> Curve:
    """A pool against detectors that share a model and against detectors that do not."""
    audio = _audio(seconds)
    runs: dict[tuple[int, str], Callable[[], float]] = {}
    for count in counts:
        shifted = [np.roll(audio, number * 7_919) for number in range(count)]
        own = [load_model(model.path, artefact=model.artefact) for _ in range(count)]
        runs[count, "separate"] = _separate([Detector(o, verify=verify) for o in own], shifted)
        runs[count, "shared"] = _separate(
            [Detector(model, verify=verify) for _ in range(count)], shifted
        )
        runs[count, "pool"] = _pooled(DetectorPool(model, count, verify=verify), shifted)
    found = alternate(runs, rounds + 1)
    curve = {}
    for count in counts:
        pool = found[count, "pool"][1:]
        point = {"streams": count, "pool_ms_per_second": float(np.median(pool))}
        for name in ("separate", "shared"):
            taken = found[count, name][1:]
            middle, low, high = ratio(taken, pool)
            point |= {
                f"{name}_ms_per_second": float(np.median(taken)),
                f"times_cheaper_than_{name}": middle,
                f"times_cheaper_than_{name}_low": low,
                f"times_cheaper_than_{name}_high": high,
            }
        curve[f"{count} streams"] = point
    return curve


def pool_stages(model: Model, count: int, pool_ms: float, rounds: int) -> Curve:
    """What each stage of a pool takes of `pool_ms`, for so many streams that are never silent.

    The rest are decisions, blocks that come in, and the networks of a few streams that catch up.
    """
    manifest, network = model.manifest, open_streams(model, count)
    config = manifest.features
    hop = network.frames * config.hop  # samples
    audio = _audio(count * (hop + config.window) / SAMPLE_RATE).reshape(count, -1)
    hops = [np.ascontiguousarray(row[:hop]) for row in audio]
    framed = np.lib.stride_tricks.sliding_window_view(audio, config.window, axis=1)
    framed = framed[:, : hop : config.hop].reshape(-1, config.window).copy()
    features = log_mel_of_frames(framed, config).reshape(count, network.frames, -1)
    gates = [SpeechGate(manifest.vad) for _ in hops]
    calls: dict[str, Callable[[], object]] = {
        "webrtcvad": lambda: [gate.is_open(each) for gate, each in zip(gates, hops, strict=True)],
        "front end": lambda: log_mel_of_frames(framed, config),
        "network": lambda: network.posteriors(range(count), features),
    }
    taken = {
        name: 1e3 * timing.cpu * SAMPLE_RATE / hop / count
        for name, timing in compare(calls, rounds, 100).items()
    }
    taken["the rest"] = pool_ms - sum(taken.values())
    return {name: {"ms_per_second": each, "share": each / pool_ms} for name, each in taken.items()}


def width_curve(manifest: Manifest, widths: Sequence[int], seconds: float, rounds: int) -> Curve:
    """Networks of random weights that differ from the shipped one in their width alone."""
    shape = read_network(manifest, find_manifest(manifest.name).parent)
    networks = {width: random_network(shape, width) for width in widths}
    found = _detectors(
        manifest, {w: (n, STREAM_STEPS) for w, n in networks.items()}, seconds, rounds
    )
    return {
        f"{width} channels": {
            "channels": width,
            "parameters": sum(x.weights.size + x.bias.size for x in networks[width].layers),
            **_point(found[width]),
        }
        for width in widths
    }


def hop_curve(manifest: Manifest, steps: Sequence[int], seconds: float, rounds: int) -> Curve:
    """The shipped network, called for so many steps at once; a detection waits for the call."""
    network = read_network(manifest, find_manifest(manifest.name).parent)
    found = _detectors(manifest, {count: (network, count) for count in steps}, seconds, rounds)
    return {f"{20 * count} ms": {"hop_ms": 20 * count, **_point(found[count])} for count in steps}


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
            detector = Detector(load_model(folder))
            runs[key] = _separate([detector], [audio])
        return {key: each[1:] for key, each in alternate(runs, rounds + 1).items()}


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


def _point(values: list[float]) -> dict[str, float]:
    return {"ms_per_second": float(np.median(values)), "spread": spread(values)}


def _audio(seconds: float) -> Int16Array:
    """The demonstration, over and over: words, with pauses in which the gate closes."""
    once = np.concatenate(list(AudioFile(RECORDING)))
    return np.resize(once, round(seconds * SAMPLE_RATE))


def draw(figures: Mapping[str, Curve], folder: Path) -> None:
    """A picture of each curve, growth_<name>.png."""
    from matplotlib.figure import Figure

    separate_and_pool = {
        "separate_ms_per_second": "a Detector for each",
        "shared_ms_per_second": "the same, on one model",
        "pool_ms_per_second": "one DetectorPool",
    }
    lines = {
        "streams": ("streams", separate_and_pool),
        "width": ("channels", {"ms_per_second": ""}),
        "hop": ("hop_ms", {"ms_per_second": ""}),
    }
    for name, (across, curves) in lines.items():
        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        axes = figure.subplots()
        points = list(figures[name].values())
        places = [point[across] for point in points]
        for curve, label in curves.items():
            axes.plot(places, [point[curve] for point in points], "o-", label=label)
        axes.set_xlabel({"hop_ms": "hop, ms"}.get(across, across))
        axes.set_ylabel("processor time per second and stream, ms")
        axes.set_ylim(bottom=0)
        if len(curves) > 1:
            axes.set_xscale("log", base=2)
            axes.set_xticks(places, map(str, places))
            axes.legend(loc="center right")
        figure.savefig(folder / f"growth_{name}.png", dpi=110)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.growth", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6.0, help="of audio in each round")
    parser.add_argument("--out", type=Path, default=FOLDER / "growth.json")
    options = parser.parse_args(arguments)
    try:
        figures = measure(options.seconds, options.rounds)
    except KwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_result(options.out, "python -m benchmarks.studies.growth", figures)
    draw(figures, options.out.parent)
    print(f"written: {options.out}")
    return 0


def measure(
    seconds: float,
    rounds: int,
    streams: Sequence[int] = STREAMS,
    widths: Sequence[int] = WIDTHS,
    steps: Sequence[int] = STEPS,
) -> dict[str, Curve]:
    """The three curves of the default model, and the stages of its largest pool."""
    manifest = read_manifest(find_manifest())
    model = load_model(artefact="stream.onnx")
    by_streams = streams_curve(model, streams, seconds, rounds)
    pool_ms = by_streams[f"{streams[-1]} streams"]["pool_ms_per_second"]
    return {
        "streams": by_streams,
        "streams_with_verifier": streams_curve(model, streams[-2:], seconds, rounds, verify=True),
        f"a_pool_of_{streams[-1]}": pool_stages(model, streams[-1], pool_ms, rounds),
        "width": width_curve(manifest, widths, seconds, rounds),
        "hop": hop_curve(manifest, steps, seconds, rounds),
    }


if __name__ == "__main__":
    sys.exit(main())
