"""Everything that `kws bench` measures, as one JSON-ready object."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kws.audio import BLOCK_MS, AudioFile, Int16Array
from kws.bench.graph import bound_run
from kws.bench.machine import load_average, machine
from kws.bench.stages import STEPS_PER_SECOND, Stage, network, stages
from kws.bench.startup import cold_start
from kws.bench.timing import (
    NOISY_SPREAD,
    NOISY_WAITING,
    Round,
    Timing,
    alternate,
    compare,
    spread,
    summarise,
    time_calls,
)
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.detector import Detector
from kws.errors import BackendUnavailable, ModelError
from kws.model.load import Model, load_model
from kws.model.manifest import Manifest, find_manifest, read_artefact, read_manifest

BLOCK = SAMPLE_RATE * BLOCK_MS // 1000  # samples
BY_ROUND = "by_round"  # the values of each round, of which a figure is the median


@dataclass(frozen=True)
class Effort:
    """How long to measure; more rounds tell the machine's noise from a difference."""

    rounds: int
    calls: int  # of each stage in each round
    seconds: float  # of audio through each whole detector in each round
    batches: tuple[int, ...]  # of the throughput
    gpu_batches: tuple[int, ...]


FULL = Effort(9, 300, 10.0, (1, 4, 16, 64, 256), tuple(4**power for power in range(7)))
QUICK = Effort(3, 40, 2.0, (1, 64), (1, 64, 4096))


def measure(model: str | None, providers: Sequence[str], effort: Effort) -> dict[str, Any]:
    """Measure every artefact of a model on every provider; see docs/benchmarks.md for each figure.

    What cannot run here stands under "not_run" with the reason. Raises ModelError for a model that
    does not exist.
    """
    path = find_manifest(model)
    manifest = read_manifest(path)
    models, not_run = _load(path, manifest, providers)
    speech, silence = _audio(effort.seconds)
    found: dict[str, Any] = {"model": manifest.name, "machine": machine(), "not_run": not_run}
    if not models:
        raise BackendUnavailable(f"nothing can be measured: {'; '.join(not_run.values())}")
    found["stages"], networks = _stages(models, speech, effort)
    found["artefacts"] = _artefacts(path, models, networks, speech, silence, effort)
    found["threads"] = _threads(path, manifest, models, effort)
    found["throughput"] = _throughput(path, manifest, models, effort)
    found["machine"]["load_average_after"] = load_average()
    found["noise"] = _noise(found)
    return found


def _load(
    path: Path, manifest: Manifest, providers: Sequence[str]
) -> tuple[dict[tuple[str, str], Model], dict[str, str]]:
    models: dict[tuple[str, str], Model] = {}
    not_run: dict[str, str] = {}
    for provider in providers:
        for key in sorted(manifest.artefacts):
            # TFLite knows no CUDA, and graphs that take audio are for other programs.
            if "_audio." in key or (provider == "cuda" and key.endswith(".tflite")):
                continue
            try:
                models[key, provider] = load_model(path, artefact=key, provider=provider)
            except (BackendUnavailable, ModelError) as error:
                # Why CUDA does not run is the same for every file.
                not_run["cuda" if provider == "cuda" else key] = str(error)
    return models, not_run


def _audio(seconds: float) -> tuple[Int16Array, Int16Array]:
    """The demonstration, over and over, and digital silence."""
    once = np.concatenate(list(AudioFile(RECORDING)))
    samples = round(seconds * SAMPLE_RATE)
    return np.resize(once, samples), np.zeros(samples, np.int16)


def _stages(
    models: dict[tuple[str, str], Model], speech: Int16Array, effort: Effort
) -> tuple[dict[str, Any], dict[tuple[str, str], Timing]]:
    """Each stage and each network, all in the same alternating rounds."""
    # A hop is as long as the default file's calls, or the first file's where that does not run.
    default = next((model for model in models.values() if model.artefact == "stream.onnx"), None)
    parts = stages(default or next(iter(models.values())), speech)
    networks = {key: network(model) for key, model in models.items()}
    calls: dict[Any, Callable[[], object]] = {name: part.call for name, part in parts.items()}
    calls |= {key: part.call for key, part in networks.items()}
    timings = compare(calls, effort.rounds, effort.calls)
    shared = {name: _row(timings[name], part) for name, part in parts.items()}
    return shared, {key: timings[key] for key in networks}


def _row(timing: Timing, stage: Stage) -> dict[str, Any]:
    """One timing in the units that people compare."""
    return {
        **{f"p{percent}_us": 1e6 * value for percent, value in timing.quantiles.items()},
        "calls_per_second": stage.per_second,
        "cpu_ms_per_second": 1e3 * timing.cpu * stage.per_second,
        "spread": timing.spread,
        "waiting": timing.waiting,
        BY_ROUND: {
            "p50_us": [1e6 * each for each in timing.medians],
            "cpu_ms_per_second": [1e3 * each * stage.per_second for each in timing.cpus],
        },
    }


def _artefacts(
    path: Path,
    models: dict[tuple[str, str], Model],
    networks: dict[tuple[str, str], Timing],
    speech: Int16Array,
    silence: Int16Array,
    effort: Effort,
) -> list[dict[str, Any]]:
    measured = _detectors(models, speech, silence, effort.rounds)
    rows = []
    for (key, provider), model in models.items():
        graph, _, form = key.rpartition(".")
        mode, _, kind = graph.partition(".")
        on_speech, on_silence = (
            measured[key, provider, "speech"],
            measured[key, provider, "silence"],
        )
        starts = [cold_start(path, key, provider) for _ in range(effort.rounds)]
        times = ("import_s", "load_s", "first_second_s")
        by_round = {
            "cpu_ms_per_second_of_speech": [1e3 * each.cpu for each in on_speech],
            "cpu_ms_per_second_of_silence": [1e3 * each.cpu for each in on_silence],
            **{name: [start[name] for start in starts] for name in times},
        }
        rows.append(
            {
                "artefact": key,
                "mode": mode,
                "format": f"{form} {kind or 'float'}",
                "provider": provider,
                "file_bytes": model.manifest.artefacts[key].bytes,
                "network": _row(networks[key, provider], network(model)),
                **{name: float(np.median(values)) for name, values in by_round.items()},
                "real_time_factor": float(np.median([r.durations[0] for r in on_speech]))
                / (len(speech) / SAMPLE_RATE),
                "spread": spread([r.cpu for r in on_speech]),
                "peak_bytes": starts[0]["peak_bytes"],
                BY_ROUND: by_round,
            }
        )
    return rows


def _detectors(
    models: dict[tuple[str, str], Model], speech: Int16Array, silence: Int16Array, rounds: int
) -> dict[tuple[str, str, str], list[Round]]:
    """Whole detectors in blocks of 20 ms; durations and processor time are per second of audio."""
    runs: dict[tuple[str, str, str], Callable[[], Round]] = {
        (*key, name): process_all(Detector(model), audio)
        for key, model in models.items()
        for name, audio in (("speech", speech), ("silence", silence))
    }
    return alternate(runs, rounds)


def process_all(detector: Detector, audio: Int16Array) -> Callable[[], Round]:
    """A call that processes the audio in blocks of 20 ms, as a microphone delivers."""
    blocks = [audio[begin : begin + BLOCK] for begin in range(0, len(audio), BLOCK)]
    seconds = len(audio) / SAMPLE_RATE

    def run() -> Round:
        wall, cpu = time.perf_counter(), time.process_time()
        for block in blocks:
            detector.process(block)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        detector.reset()
        return Round((wall,), cpu / seconds)

    return run


def _threads(
    path: Path, manifest: Manifest, models: dict[tuple[str, str], Model], effort: Effort
) -> list[dict[str, Any]]:
    """Latency of one item for 1 to all cores, of the ONNX graphs."""
    contents = dict(_onnx(path, manifest, models, "cpu"))
    counts = range(1, (os.cpu_count() or 1) + 1)
    calls = {
        (key, threads): bound_run(content, "cpu", 1, threads)
        for key, content in contents.items()
        for threads in counts
    }
    timings = compare(calls, effort.rounds, effort.calls)
    return [
        {
            "artefact": key,
            "threads": threads,
            "p50_us": 1e6 * t.p50,
            "cpu_us": 1e6 * t.cpu,
            BY_ROUND: {"p50_us": [1e6 * each for each in t.medians]},
        }
        for (key, threads), t in timings.items()
    ]


def _throughput(
    path: Path, manifest: Manifest, models: dict[tuple[str, str], Model], effort: Effort
) -> list[dict[str, Any]]:
    """Hours of audio per second of wall time that the bare network gets through in batches."""
    rows: list[dict[str, Any]] = []
    for provider in dict.fromkeys(provider for _, provider in models):
        for key, content in _onnx(path, manifest, models, provider):
            # The full window is recomputed for every step.
            stream = key.startswith("stream")
            per_second = network(models[key, provider]).per_second if stream else STEPS_PER_SECOND
            for batch in effort.gpu_batches if provider == "cuda" else effort.batches:
                try:
                    run = bound_run(content, provider, batch, 1)
                except BackendUnavailable as error:
                    rows.append({"artefact": key, "provider": provider, "error": str(error)})
                    break
                calls = max(2, effort.calls // (4 * batch))
                timing = summarise([time_calls(run, calls) for _ in range(effort.rounds)])
                hours = batch / per_second / 3600
                rows.append(
                    {
                        "artefact": key,
                        "provider": provider,
                        "batch": batch,
                        "p50_us": 1e6 * timing.p50,
                        "hours_per_second": hours / timing.p50,
                        BY_ROUND: {"hours_per_second": [hours / each for each in timing.medians]},
                    }
                )
    return rows


def _onnx(
    path: Path, manifest: Manifest, models: dict[tuple[str, str], Model], provider: str
) -> Iterator[tuple[str, bytes]]:
    for key, artefact in sorted(manifest.artefacts.items()):
        if key.endswith(".onnx") and (key, provider) in models:
            yield key, read_artefact(path.parent, artefact)


def _noise(found: dict[str, Any]) -> dict[str, Any]:
    """How unsteady the machine was, over everything that was timed in rounds."""
    timed = [*found["stages"].values(), *(row["network"] for row in found["artefacts"])]
    spreads, waiting = (
        float(np.median([row[name] for row in timed])) for name in ("spread", "waiting")
    )
    return {
        "median_spread": spreads,
        "median_waiting": waiting,
        "noisy": spreads > NOISY_SPREAD or waiting > NOISY_WAITING,
    }
