"""Look after recordings. `kws data check DIR` lists clips that are silent, clipped, cut off,
duplicated, unusable or probably mislabelled, and shows that no speaker is in two splits; it exits
with 1 where one is."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kws.data import Corpus
    from kws.datacheck import DataReport

_SHOWN = 20  # findings of a kind, unless all are asked for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws data`."""
    parser.add_argument("action", choices=("check",), help="what to do")
    parser.add_argument("folder", metavar="DIR", type=Path, help="one folder per word")
    parser.add_argument("--all", action="store_true", help=f"list more than {_SHOWN} of a kind")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write every finding to a file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Check and print; returns the exit code."""
    from kws.data import corpus_root, find_corpus

    report = _check(find_corpus(corpus_root(options.folder)))
    if options.csv:
        _write_csv(report, options.csv)
    if options.json:
        _print_json(report)
    else:
        _print(report, options.all)
    return 1 if report.shared_speakers else 0


def _check(corpus: Corpus) -> DataReport:
    from rich.console import Console
    from rich.progress import Progress

    from kws.datacheck import check_data

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("listening to the clips", total=len(corpus.clips))
        return check_data(corpus, lambda clips: progress.advance(task, clips))


def _write_csv(report: DataReport, file: Path) -> None:
    from kws.errors import writing

    with writing(file), file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["kind", "path", "detail"])
        rows.writerows((found.kind, found.path, found.detail) for found in report.findings)


def _print_json(report: DataReport) -> None:
    import dataclasses
    import json

    content = dataclasses.asdict(report)
    print(json.dumps(content, ensure_ascii=False, default=str))


def _print(report: DataReport, everything: bool) -> None:
    from kws.datacheck import KINDS

    for kind, meaning in KINDS.items():
        found = report.of(kind)
        if not found:
            continue
        print(f"{kind}: {len(found)} ({meaning})")
        shown = found if everything else found[:_SHOWN]
        for finding in shown:
            print(f"  {finding.path}: {finding.detail}")
        if len(shown) < len(found):
            print(f"  and {len(found) - len(shown)} more (--all lists them)")
    print(f"\n{'split':<12}{'clips':>8}{'speakers':>10}{'words':>7}")
    for name, split in report.splits.items():
        print(f"{name:<12}{split.clips:>8}{split.speakers:>10}{split.words:>7}")
    for speaker, splits in report.shared_speakers.items():
        print(f"speaker {speaker} is in {' and '.join(splits)}")
    if not report.shared_speakers:
        print("no speaker is in two splits")
