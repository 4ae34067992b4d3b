"""What fuzz.json holds: what every target was fed so far, on the code that it fuzzes as it is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzzing import OUTCOMES, Result
from import_graph import reached

from benchmarks.results import ROOT, write_result

COLUMNS = ("inputs", *OUTCOMES, "findings", "minutes", "processor_minutes")


def digest(modules: Iterable[str], patterns: Iterable[str]) -> str:
    """Of the modules of kws, of all that they import, and of other files of the repository."""
    paths = {path for pattern in patterns for path in ROOT.glob(pattern)} | reached(modules)
    found = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(ROOT).as_posix()} {content}\n".encode())
    return found.hexdigest()[:12]


def add(path: Path, name: str, result: Result, fuzzed: Mapping[str, str]) -> None:
    """Add what came of a target to the file.

    `fuzzed` has the digest of every target: what the file holds of others is dropped. Several
    processes may add to one file.
    """
    with _locked(path):
        rows = _kept(path, fuzzed)
        row = rows.setdefault(name, dict.fromkeys(COLUMNS, 0))
        row["inputs"] += result.inputs
        for outcome, count in result.outcomes.items():
            row[outcome] += count
        row["findings"] += len(result.findings)
        row["minutes"] += result.seconds / 60
        row["processor_minutes"] += result.processor / 60
        longest = max(each["minutes"] for each in rows.values())
        figures = {"code": {each: fuzzed[each] for each in rows}, "targets": rows}
        new = path.with_suffix(".new")
        write_result(new, f"make fuzz MINUTES={longest:.0f}", figures)
        new.replace(path)


def _kept(path: Path, fuzzed: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The rows of targets whose code has not changed."""
    if not path.exists():
        return {}
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    of = figures.get("code", {})
    return {
        name: row
        for name, row in figures["targets"].items()
        if name in fuzzed and of.get(name) == fuzzed[name]
    }


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """No other process adds meanwhile."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
