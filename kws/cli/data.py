"""Look after recordings. `kws data check DIR` lists clips that are silent, clipped, cut off,
duplicated, unusable or probably mislabelled, and folders that hold too little or are called like a
class; it shows that no speaker is in two splits, and exits with 1 where one is or a clip cannot be
used. `kws data convert DIR --out COPY` makes 16 kHz mono copies of recordings of any rate, channel
count and format."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kws.text import printable

if TYPE_CHECKING:
    from kws.recordings.datacheck import DataReport

_SHOWN = 20  # findings of a kind, unless --all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `kws data`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="list what looks wrong")
    check.add_argument("folder", metavar="DIR", type=Path, help="one folder per word")
    check.add_argument("--all", action="store_true", help=f"list more than {_SHOWN} of a kind")
    check.add_argument("--csv", metavar="FILE", type=Path, help="write every finding to a file")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.set_defaults(act=_check)
    convert = actions.add_parser("convert", help="make 16 kHz mono copies")
    convert.add_argument("folder", metavar="DIR", type=Path, help="recordings of any kind")
    convert.add_argument("--out", metavar="COPY", type=Path, required=True, help="folder to write")
    convert.set_defaults(act=_convert)


def run(options: argparse.Namespace) -> int:
    """Check or convert; returns the exit code."""
    code: int = options.act(options)
    return code


def _convert(options: argparse.Namespace) -> int:
    from kws.errors import writing
    from kws.recordings.convert import convert

    with _progress() as advance, writing(options.out):
        written, problems = convert(options.folder, options.out, advance)
    print(f"{written} recordings in {options.out}")
    for problem in problems:
        print(f"  not converted: {problem}")
    return 1 if problems else 0


def _check(options: argparse.Namespace) -> int:
    from kws.recordings.data import corpus_root, find_corpus
    from kws.recordings.datacheck import check_data

    corpus = find_corpus(corpus_root(options.folder))
    with _progress() as advance:
        report = check_data(corpus, advance)
    if options.csv:
        _write_csv(report, options.csv)
    if options.json:
        _print_json(report)
    else:
        _print(report, options.all)
    return 1 if report.shared_speakers or report.of("unusable") else 0


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, shown on a terminal only; yields what tells it how many of how many."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("recordings", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _write_csv(report: DataReport, file: Path) -> None:
    from kws.errors import writing

    with (
        writing(file),
        file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out,
    ):
        rows = csv.writer(out)
        rows.writerow(["kind", "path", "detail"])
        rows.writerows((found.kind, found.path, found.detail) for found in report.findings)


def _print_json(report: DataReport) -> None:
    import dataclasses
    import json

    content = dataclasses.asdict(report)
    print(json.dumps(content, default=str))


def _print(report: DataReport, everything: bool) -> None:
    from kws.recordings.datacheck import KINDS

    for kind, meaning in KINDS.items():
        found = report.of(kind)
        if not found:
            continue
        print(f"{kind}: {len(found)} ({meaning})")
        shown = found if everything else found[:_SHOWN]
        for finding in shown:
            print(f"  {printable(f'{finding.path}: {finding.detail}')}")
        if len(shown) < len(found):
            print(f"  and {len(found) - len(shown)} more (--all lists them)")
    print(f"\n{'split':<12}{'clips':>8}{'speakers':>10}{'words':>7}")
    for name, split in report.splits.items():
        print(f"{name:<12}{split.clips:>8}{split.speakers or '-':>10}{split.words:>7}")
    for speaker, splits in report.shared_speakers.items():
        print(f"speaker {printable(speaker)} is in {' and '.join(splits)}")
    total = sum(split.speakers for split in report.splits.values())
    if not total:
        print("file names tell no speakers (<speaker>_nohash_<n>), so splits may share some")
    elif not report.shared_speakers:
        print(f"no speaker is in two splits: {total} in all")
