"""`python -m benchmarks.product.scanning`: how fast `kws scan` goes through an archive, and what it
adds.

The same recordings by one detector after the other, by one process for so many at once, by
as many processes as there are cores, and by a Dask cluster on this machine; whole scans in
alternating rounds. What a scan of nothing but two recordings takes is a way's start, and speeds
are those after it. Every way must find the same keywords; the demonstration is among the
recordings, so that there are some."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.program import keep, program
from benchmarks.timed import add_rounds, timed, timed_ratio
from kws import Detector, load_model
from kws.audio import AudioFile
from kws.bench.timing import alternate
from kws.demo import RECORDING
from kws.errors import DataError
from kws.recordings.data import find_recordings
from kws.scanning.scan import (
    Cluster,
    Engine,
    Scanned,
    ScanSettings,
    bundled,
    default_jobs,
)
from kws.scanning.workers import Processes

ARCHIVE = Path("speech") / "orders"
DEFAULT = ScanSettings()
ONE_PROCESS = "kws scan, 1 process"
STREAMS = (1, 8, 128)  # recordings that one process computes at once, beside the default

Way = Callable[[Sequence[str]], list[Scanned]]


def one_after_the_other(paths: Sequence[str]) -> list[Scanned]:
    """What a scan is measured against: a detector that listens to each file."""
    detector = Detector(load_model())
    results = []
    for path in paths:
        seconds = 0.0
        with AudioFile(path) as file:
            detections = []
            detector.reset()
            for block in file:
                seconds += len(block) / 16_000
                detections += detector.process(block)
            detections += detector.finish()
        results.append(Scanned(path, seconds, tuple(detections)))
    return results


def scan(engine: Engine, paths: Sequence[str], settings: ScanSettings = DEFAULT) -> list[Scanned]:
    """A whole scan by an engine, in the order of the paths."""
    bundles = bundled(paths, engine.workers)
    found = {each.path: each for some in engine.scan(bundles, settings) for each in some}
    return [found[path] for path in paths]


def measure(paths: Sequence[str], rounds: int) -> dict[str, Any]:
    """Wall time of each way's start, its speed after that, and its ratio to one process's."""
    results: dict[str, list[Scanned]] = {}

    def scanned(name: str, work: Way) -> Callable[[], tuple[float, float]]:
        def run() -> tuple[float, float]:
            begin = time.perf_counter()
            work(paths[:2])
            started = time.perf_counter()
            results[name] = work(paths)
            return started - begin, time.perf_counter() - started

        return run

    with ExitStack() as stack:
        ways = _ways(stack)
        for work in ways.values():
            work(paths[:2])  # workers import and load once
        found = alternate({name: scanned(name, work) for name, work in ways.items()}, rounds)
    first = next(iter(results.values()))
    audio_seconds = sum(each.seconds for each in first)
    after = audio_seconds - sum(each.seconds for each in first[:2])
    single = [whole - start for start, whole in found[ONE_PROCESS]]
    figures: dict[str, Any] = {
        "recordings": len(paths),
        "hours": audio_seconds / 3600,
        "keywords_spotted": sum(len(each.detections) for each in first),
        "ways": {},
    }
    for name, rows in found.items():
        after_start = [whole - start for start, whole in rows]
        figures["ways"][name] = {
            "same_detections": _same(first, results[name]),
            "start_s": timed([start for start, _ in rows]),
            "times_real_time": timed([after / seconds for seconds in after_start]),
            "relative_speed": timed_ratio(single, after_start),
        }
    return figures


def _ways(stack: ExitStack) -> dict[str, Way]:
    """Everything that is compared; clusters live as long as the stack."""
    jobs = sorted({1, default_jobs()})
    ways: dict[str, Way] = {"a detector, file by file": one_after_the_other}
    for count in STREAMS:
        settings = replace(DEFAULT, streams=count)
        ways[f"{ONE_PROCESS}, {count} at once"] = partial(scan, Processes(1), settings=settings)
    for count in jobs:
        ways[f"kws scan, {_processes(count)}"] = partial(scan, Processes(count))
    for count in jobs:
        cluster = _dask(stack, count)
        if cluster:
            ways[f"kws scan on Dask, {_processes(count)}"] = partial(scan, cluster)
    return ways


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def _dask(stack: ExitStack, workers: int) -> Cluster | None:
    try:
        import distributed
    except ImportError:
        print("Dask is not installed: its rows are left out")
        return None
    local = stack.enter_context(
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
        )
    )
    return Cluster(stack.enter_context(distributed.Client(local)))


def _same(expected: Sequence[Scanned], actual: Sequence[Scanned]) -> bool:
    """The same words at the same times."""
    kept = [
        [[(x.keyword, x.start, x.end) for x in each.detections] for each in some]
        for some in (expected, actual)
    ]
    return kept[0] == kept[1]


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.scanning", __doc__)
    parser.add_argument("--most", type=int, default=100, help="recordings (100)")
    add_rounds(parser, 9)
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    paths = [str(path) for path in find_recordings(options.data / ARCHIVE)][: options.most]
    if len(paths) < 3:
        raise DataError(f"expected at least 3 recordings in {options.data / ARCHIVE}")
    return measure([*paths, str(RECORDING)], options.rounds)


if __name__ == "__main__":
    sys.exit(main())
