"""`python -m benchmarks.scanning`: how fast `kws scan` goes through an archive, and what it adds.

The same recordings by one detector after the other, by one process, by as many as there are cores,
and by a Dask cluster on this machine; whole scans in alternating rounds. Every way must find the
same keywords.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import FOLDER, write_result
from kws import Detector, load_model
from kws.audio import File
from kws.bench.timing import alternate, spread
from kws.errors import DataError, KwsError
from kws.recordings.data import find_recordings
from kws.scanning.scan import (
    Cluster,
    Engine,
    Processes,
    Scanned,
    ScanSettings,
    bundled,
    default_jobs,
)

ARCHIVE = Path("speech") / "orders"


def one_after_the_other(paths: Sequence[str]) -> list[Scanned]:
    """What a scan is measured against: a detector that listens to each file."""
    detector = Detector(load_model())
    results = []
    for path in paths:
        seconds = 0.0
        with File(path) as file:
            detections = []
            detector.reset()
            for block in file:
                seconds += len(block) / 16_000
                detections += detector.process(block)
            detections += detector.finish()
        results.append(Scanned(path, seconds, tuple(detections)))
    return results


def scan(engine: Engine, paths: Sequence[str]) -> list[Scanned]:
    """A whole scan by an engine, in the order of the paths."""
    bundles = bundled(paths)
    found = {each.path: each for some in engine.scan(bundles, ScanSettings()) for each in some}
    return [found[path] for path in paths]


def measure(paths: Sequence[str], rounds: int) -> dict[str, Any]:
    """Wall time of each way, its speed, and its ratio to one process."""
    results: dict[str, list[Scanned]] = {}

    def timed(name: str, work: Callable[[], list[Scanned]]) -> Callable[[], float]:
        def run() -> float:
            begin = time.perf_counter()
            results[name] = work()
            return time.perf_counter() - begin

        return run

    jobs = sorted({1, default_jobs()})
    with ExitStack() as stack:
        runs = {"a detector, file by file": lambda: one_after_the_other(paths)}
        for count in jobs:
            runs[f"kws scan, {_processes(count)}"] = _scan_of(Processes(count), paths)
        for count in jobs:
            cluster = _dask(stack, count)
            if cluster:
                runs[f"kws scan on Dask, {_processes(count)}"] = _scan_of(cluster, paths)
        found = alternate({name: timed(name, work) for name, work in runs.items()}, rounds + 1)
    first = next(iter(results.values()))
    heard = sum(each.seconds for each in first)
    single = float(np.median(found["kws scan, 1 process"][1:]))
    figures: dict[str, Any] = {
        "recordings": len(paths),
        "hours": heard / 3600,
        "keywords_spotted": sum(len(each.detections) for each in first),
        "ways": {},
    }
    for name, values in found.items():
        median = float(np.median(values[1:]))
        figures["ways"][name] = {
            "seconds": median,
            "spread": spread(values[1:]),
            "times_real_time": heard / median,
            "times_one_process": single / median,
            "same_detections": _same(first, results[name]),
        }
    return figures


def _scan_of(engine: Engine, paths: Sequence[str]) -> Callable[[], list[Scanned]]:
    return lambda: scan(engine, paths)


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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scanning", description=__doc__)
    data = os.environ.get("KWS_DATA")
    parser.add_argument("--data", type=Path, default=data, required=not data, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=10_000, help="recordings")
    parser.add_argument("--out", type=Path, default=FOLDER / "scanning.json")
    options = parser.parse_args(arguments)
    try:
        paths = [str(path) for path in find_recordings(options.data / ARCHIVE)][: options.most]
        if not paths:
            raise DataError(f"{options.data / ARCHIVE} holds no recordings")
        figures = measure(paths, options.rounds)
    except KwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_result(options.out, "python -m benchmarks.scanning", figures)
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
