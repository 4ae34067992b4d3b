"""`python -m benchmarks.product.installations`: what each way to install kws takes.

For each command of docs/install.md a fresh environment: its size and packages without pip, and of
`kws listen` on the demonstration the memory and the time from the start of the process until it
listens, beside a process that imports NumPy and the runtime and nothing else. The table in
docs/install.md is written from the result.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

import numpy as np

from benchmarks.environments import EnvironmentFailed, install, new_environment
from benchmarks.product.footprint import build_wheel, bytes_below, packages, run
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.text import megabytes, table, write_between
from kws.demo import RECORDING
from kws.model.runtimes import disable_telemetry

LISTED = "docs/tflite-only.txt"
# What follows `pip install`, with `.` for this checkout.
WAYS: dict[str, tuple[str, ...]] = {
    "pip install .": (".",),
    "pip install --no-compile .": ("--no-compile", "."),
    "pip install --no-compile . 'onnxruntime<1.28'": ("--no-compile", ".", "onnxruntime<1.28"),
    f"pip install --no-compile --no-deps --requirement {LISTED} .": (
        *("--no-compile", "--no-deps", "--requirement", str(ROOT / LISTED)),
        ".",
    ),
}
PAGE = ROOT / "docs" / "install.md"
STARTS = 5  # whose median counts
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
RESIDENT = """
import sys
from pathlib import Path
from kws import AudioFile, Detector
for _ in Detector().listen(AudioFile(sys.argv[1])):
    pass
lines = Path("/proc/self/status").read_text().splitlines()
print(next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS")))
"""


def measure_way(wheel: Path, arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """One environment; raises EnvironmentFailed where it cannot be made."""
    python = new_environment(folder)
    before, own = bytes_below(folder), packages(python)
    install(python, [str(wheel) if each == "." else each for each in arguments])
    figures = {
        "installed_bytes": bytes_below(folder) - before,
        "packages": packages(python) - own,
        "resident_bytes": int(run(python, "-I", "-c", RESIDENT, str(RECORDING))),
    }
    starts = [(until_listening(python), until_imported(python)) for _ in range(STARTS)]
    figures["start_s"] = float(np.median([listening for listening, _ in starts]))
    figures["start_over_imports"] = float(np.median([here / bare for here, bare in starts]))
    return figures


def until_listening(python: Path) -> float:
    """Seconds from the start of `kws listen` to its first line, which says that it listens."""
    begin = time.perf_counter()
    command = [python, "-I", "-m", "kws", "listen", "--json", "--input", str(RECORDING)]
    with Popen(command, stdout=PIPE, stderr=DEVNULL, text=True) as process:
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
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.product.installations", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=FOLDER / "installations.json")
    options = parser.parse_args(arguments)
    disable_telemetry()  # in the processes that import the runtime alone
    try:
        with tempfile.TemporaryDirectory() as scratch:
            wheel = build_wheel(Path(scratch))
            ways = {
                command: measure_way(wheel, given, Path(scratch) / "env")
                for command, given in WAYS.items()
            }
    except EnvironmentFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_result(options.out, "python -m benchmarks.product.installations", {"ways": ways})
    write_between(PAGE, "python -m benchmarks.product.installations", rows_of(ways))
    print(rows_of(ways))
    return 0


if __name__ == "__main__":
    sys.exit(main())
