"""What fuzz.json holds: what every target was fed so far, on code and models as they are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import c_library
from fuzzing import OUTCOMES, Result

from benchmarks.results import ROOT, write_result

# What is fuzzed: files whose change makes earlier counts void.
CODE = {
    "kws": ("kws/**/*.py", "kws/models/*.onnx", "kws/models/*.tflite", "kws/models/*.json"),
    "firmware": (
        "firmware_demo/src/*",
        "firmware_demo/include/*",
        "firmware_demo/generated/*.[ch]",
    ),
}
COLUMNS = ("inputs", *OUTCOMES, "findings", "minutes", "processor_minutes")


def code() -> dict[str, str]:
    """A digest of each part of CODE."""
    return {part: _digest(patterns) for part, patterns in CODE.items()}


def _digest(patterns: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:12]


def part_of(name: str) -> str:
    """Which part of CODE a target fuzzes."""
    return "firmware" if name == c_library.NAME else "kws"


def add(path: Path, name: str, result: Result, fuzzed: dict[str, str]) -> None:
    """Add what came of a target to the file; what it holds of other code than `fuzzed` is dropped.

    Several processes may add to one file.
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
        figures = {"code": fuzzed, "targets": rows}
        new = path.with_suffix(".new")
        write_result(new, f"make fuzz MINUTES={longest:.2g}", figures)
        new.replace(path)


def _kept(path: Path, fuzzed: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The rows of code that has not changed."""
    if not path.exists():
        return {}
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    of = figures.get("code", {})
    return {
        name: row
        for name, row in figures["targets"].items()
        if of.get(part_of(name)) == fuzzed[part_of(name)]
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
