"""Find the keywords in an archive of recordings, many times faster than real time.

Results go into a journal, a line of JSON per recording, as they come. Started again after it was
stopped, the same command goes on where it was; what could not be read is tried again once it has
changed. The exit code is 1 where something could not be read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kws.cli.options import add_keywords, count
from kws.text import printable

if TYPE_CHECKING:
    from kws.recordings.files import Problem
    from kws.scanning.scan import Engine, Scanned

_SHOWN = 20  # problems of a kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws scan`."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="recordings, and folders full of them"
    )
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument("--artefact", metavar="KEY", help="which file of the model, as in kws eval")
    parser.add_argument("--provider", choices=("cpu", "cuda"), help="where it runs (default: cpu)")
    add_keywords(parser)
    parser.add_argument("--jobs", type=count, help="processes (default: one per core)")
    parser.add_argument(
        "--streams", type=count, default=32, help="recordings that a process computes at once (32)"
    )
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="scan on the workers of this Dask scheduler"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("scan.jsonl"), help="the journal (default: scan.jsonl)"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write all detections as CSV")


def run(options: argparse.Namespace) -> int:
    """Scan and report; returns the exit code: 1 where something could not be read."""
    from kws.errors import writing
    from kws.scanning.journal import Journal, write_detections
    from kws.scanning.scan import ScanSettings

    settings = ScanSettings(
        options.model,
        options.artefact,
        options.provider,
        options.threshold,
        options.streams,
        options.keywords,
    )
    paths, unreadable = _recordings(options.paths)
    scan = _identity(settings)
    with closing(Journal(options.out, scan)) as journal, ExitStack() as stack:
        left = [path for path in paths if path not in journal.done]
        if len(left) < len(paths):
            print(f"{len(paths) - len(left)} of {len(paths)} are in {options.out} already")
        seconds = _scan(left, settings, _engine(options, stack), journal.write)
        results = [journal.done[path] for path in paths]
    if options.csv:
        with writing(options.csv):
            write_detections(iter(results), options.csv)
    _report(results, left, seconds)
    failed = [each.error for each in results if each.error]
    _name("could not be read to the end", failed)
    _name("could not be looked into", [str(problem) for problem in unreadable])
    return 1 if failed or unreadable else 0


def _recordings(paths: Sequence[Path]) -> tuple[list[str], list[Problem]]:
    """What to scan, each path once, and the folders that cannot be looked into."""
    from kws.errors import DataError
    from kws.recordings.files import look_through, report_left_out

    found: list[Path] = []
    unreadable: list[Problem] = []
    for path in paths:
        if path.is_dir():
            inner = look_through(path)
            report_left_out(path, inner.left_out)
            found += inner.recordings
            unreadable += inner.unreadable
        elif path.is_fifo() or path.is_char_device():
            raise DataError(
                f"{path} is a pipe or a device, which the processes of a scan cannot share: save "
                f"it to a file first, or run: kws listen --input {path}"
            )
        else:
            found.append(path)
    if not found:
        why = f"; {unreadable[0]}" if unreadable else ""
        raise DataError(f"there are no recordings in {', '.join(map(str, paths))}{why}")
    return list(dict.fromkeys(str(path.absolute()) for path in found)), unreadable


def _identity(settings: Any) -> dict[str, Any]:
    """What two scans must share for their results to stand in one journal."""
    import hashlib

    from kws.model.load import load_model
    from kws.operating_point import OperatingPoint

    model = load_model(settings.model, artefact=settings.artefact, provider=settings.provider)
    # Raises where the settings do not fit the model, before anything is scanned.
    point = OperatingPoint.of(model, threshold=settings.threshold, keywords=settings.keywords)
    return {
        "model": model.manifest.name,
        "artefact": model.artefact,
        "manifest_sha256": hashlib.sha256(model.path.read_bytes()).hexdigest(),
        "threshold": settings.threshold,
        # Left out where it says nothing, so that journals of earlier versions go on.
        **({"keywords": list(point.keywords)} if settings.keywords else {}),
    }


def _engine(options: argparse.Namespace, stack: ExitStack) -> Engine:
    from kws.scanning.scan import Cluster, connect, default_jobs
    from kws.scanning.workers import Processes

    if options.cluster:
        return Cluster(stack.enter_context(connect(options.cluster)))
    return Processes(options.jobs or default_jobs())


def _scan(paths: list[str], settings: Any, engine: Engine, keep: Any) -> float:
    """Scan with a progress bar on a terminal; returns the wall seconds that it took."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    from kws.scanning.scan import bundled

    begin = time.monotonic()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("recordings", total=len(paths))
        for results in engine.scan(bundled(paths, engine.workers), settings):
            for scanned in results:
                keep(scanned)
            bar.advance(task, len(results))
    return time.monotonic() - begin


def _report(results: Sequence[Scanned], left: Sequence[str], seconds: float) -> None:
    total = sum(each.seconds for each in results)
    detections = sum(len(each.detections) for each in results)
    print(f"{len(results)} recordings, {total / 3600:.2f} hours, {detections} keywords spotted")
    new = set(left)
    fresh = sum(each.seconds for each in results if each.path in new)
    if fresh and seconds:
        print(f"{fresh / 3600:.2f} hours in {seconds:.1f} s,  {fresh / seconds:.0f}x real time")


def _name(what: str, problems: Sequence[str]) -> None:
    if not problems:
        return
    print(f"{len(problems)} {what}:")
    for problem in problems[:_SHOWN]:
        print(f"  {printable(problem)}")
    if len(problems) > _SHOWN:
        print(f"  and {len(problems) - _SHOWN} more, in the journal")
