"""`python -m benchmarks.product.installations`: what each way to install kws takes.

For each command of docs/install.md a fresh environment: its size and packages without pip, and of
`kws listen` on the demonstration the memory at its most and the time from the start of the process
until it listens, both beside a process that imports NumPy and the runtime and nothing else. The
table in docs/install.md is written from the result.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

from benchmarks.environments import EnvironmentFailed, install, new_environment
from benchmarks.product.footprint import build_wheel, bytes_below, packages, run
from benchmarks.program import keep, program
from benchmarks.results import ROOT
from benchmarks.text import megabytes, table, write_between
from benchmarks.timed import timed, timed_ratio
from kws.demo import RECORDING
from kws.model.runtimes import disable_telemetry

LISTED = "docs/tflite-only.txt"
# What follows `pip install`, with `.` for this checkout.
PLAIN = "pip install ."
BASE = "pip install --no-compile ."
TFLITE_ALONE = f"pip install --no-compile --no-deps --requirement {LISTED} ."
WAYS: dict[str, tuple[str, ...]] = {
    PLAIN: (".",),
    BASE: ("--no-compile", "."),
    TFLITE_ALONE: (
        *("--no-compile", "--no-deps", "--requirement", str(ROOT / LISTED)),
        ".",
    ),
}
PAGE = ROOT / "docs" / "install.md"
STARTS = 9
IMPORTS = """
import numpy
try:
    import onnxruntime
except ImportError:
    try:
        import ai_edge_litert.interpreter
    except ImportError:
        import tflite_runtime.interpreter
"""
WAIT = "import sys; print(flush=True); sys.stdin.read()"


def measure_way(wheel: Path, arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """One environment; raises EnvironmentFailed where it cannot be made."""
    python = new_environment(folder)
    before, own = bytes_below(folder), packages(python)
    install(python, [str(wheel) if each == "." else each for each in arguments])
    figures = {
        "installed_bytes": bytes_below(folder) - before,
        "packages": packages(python) - own,
    }
    starts = [(until_listening(python), until_imported(python)) for _ in range(STARTS)]
    with listening(python) as process:  # whose modules are compiled by now
        lines = process.stdout or ()
        figures["resident_bytes"] = max((peak_bytes(process.pid) for _ in lines), default=0)
    figures["imported_bytes"] = imported_bytes(python)
    figures["start_s"] = timed([listening for listening, _ in starts])
    figures["start_over_imports"] = timed_ratio(*zip(*starts, strict=True))
    return figures


def listening(python: Path) -> Popen[str]:
    """`kws listen` on the demonstration, as fast as it comes; its output is to be read."""
    command = [python, "-I", "-m", "kws", "listen", "--json", "--input", RECORDING]
    return Popen(command, stdout=PIPE, stderr=DEVNULL, text=True)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had in use so far; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def imported_bytes(python: Path) -> int:
    """The most memory of a process that imports NumPy and the runtime, as `kws listen` does."""
    command = [python, "-I", "-c", IMPORTS + WAIT]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return peak_bytes(process.pid)


def until_listening(python: Path) -> float:
    """Seconds from the start of `kws listen` to its first line, which says that it listens."""
    begin = time.perf_counter()
    with listening(python) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.perf_counter() - begin
        process.kill()
    if '"ready"' not in line:
        raise EnvironmentFailed(f"kws listen says {line!r}, expected that it is ready")
    return took


def until_imported(python: Path) -> float:
    """Seconds of a process that imports NumPy and the runtime."""
    begin = time.perf_counter()
    run(python, "-I", "-c", IMPORTS)
    return time.perf_counter() - begin


def rows_of(ways: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/install.md."""
    return table(
        ("command", "size", "packages", "memory while it listens"),
        [
            (
                f"`{command}`",
                megabytes(way["installed_bytes"]),
                str(way["packages"]),
                megabytes(way["resident_bytes"]),
            )
            for command, way in ways.items()
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.installations", __doc__, recordings=False)
    ways: dict[str, Any] = {}

    def measured(_: argparse.Namespace) -> dict[str, Any]:
        ways.update(measure())
        return {"ways": ways}

    code = keep(parser, arguments, measured)
    if code == 0:
        write_between(PAGE, parser.prog, rows_of(ways))
        print(rows_of(ways))
    return code


def measure() -> dict[str, Any]:
    """Every way to install; raises EnvironmentFailed where one cannot be followed here."""
    disable_telemetry()  # in the processes that import the runtime alone
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(Path(scratch))
        return {
            command: measure_way(wheel, given, Path(scratch) / "env")
            for command, given in WAYS.items()
        }


if __name__ == "__main__":
    sys.exit(main())
