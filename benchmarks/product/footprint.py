"""`python -m benchmarks.product.footprint`: what an installation takes, in fresh environments.

The wheel is built and installed alone and with each extra in turn; nothing of this checkout or
environment is seen by what is measured. Which torch an extra brings, and so how much, is pip's
choice: see docs/install.md.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import EnvironmentFailed, install, new_environment, python_of
from benchmarks.program import keep, program
from benchmarks.results import ROOT
from kws.model.manifest import find_manifest, read_manifest

EXTRAS = ("", "tflite", "report", "cluster", "gpu", "train", "export")
STARTS = 5  # processes whose median counts
ARTEFACTS = ("stream.onnx", "window.onnx", "window.int8.tflite")

MEMORY_AFTER = """
import sys
from pathlib import Path
import numpy as np
from kws import Detector, load_model
detector = Detector(load_model(artefact=sys.argv[1]))
for _ in range(20):
    detector.process(np.zeros(16_000, np.int16))
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
print(next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS")), None))
"""


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # files that are no longer there
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise EnvironmentFailed(f"the wheel does not build: {done.stderr.strip()}")
    return wheels[0]


def measure_extra(wheel: Path, extra: str, folder: Path) -> dict[str, Any]:
    """Bytes, packages and start-up times of one fresh environment."""
    python = new_environment(folder)
    before, own = bytes_below(folder), packages(python)
    named = f"kws[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    install(python, [named])
    return {
        "installed_bytes": bytes_below(folder) - before,
        "packages": packages(python) - own,
        "import_kws_s": _seconds(python, "import kws") - _seconds(python, "pass"),
        "import_detector_s": _seconds(python, "from kws import Detector, load_model")
        - _seconds(python, "pass"),
    }


def measure_artefacts(python: Path, manifest: Path) -> dict[str, Any]:
    """Start-up and memory of the files of the default model that run in an environment."""
    rows = {}
    for key in ARTEFACTS:
        if key not in read_manifest(manifest).artefacts:
            continue
        module = ("-m", "kws.bench.startup", _manifest_of(python), key, "cpu")
        try:
            starts = [json.loads(run(python, *module)) for _ in range(STARTS)]
            resident = run(python, "-c", MEMORY_AFTER, key).strip()
        except EnvironmentFailed:
            continue  # the runtime of this file is not part of this environment
        rows[key] = {
            **{
                name: float(np.median([start[name] for start in starts]))
                for name in ("import_s", "load_s", "first_second_s")
            },
            "resident_bytes": None if resident == "None" else int(resident),
            "peak_bytes": starts[0]["peak_bytes"],
        }
    return rows


def measure(extras: Sequence[str]) -> dict[str, Any]:
    """Every extra by name; "base" is the installation without one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheel = build_wheel(folder)
        figures: dict[str, Any] = {"wheel_bytes": wheel.stat().st_size, "installed": {}}
        figures["start_up"], figures["not_installed"] = {}, {}
        for extra in extras:
            name = extra or "base"
            print(f"installing {name}")
            try:
                figures["installed"][name] = measure_extra(wheel, extra, folder / "env")
            except EnvironmentFailed as error:
                figures["not_installed"][name] = str(error)
                continue
            if extra in ("", "tflite"):
                started = measure_artefacts(python_of(folder / "env"), find_manifest())
                figures["start_up"] |= {f"{name} {key}": row for key, row in started.items()}
    return figures


def packages(python: Path) -> int:
    """How many packages an environment has."""
    return len(run(python, "-m", "pip", "list", "--format", "freeze").splitlines())


def _manifest_of(python: Path) -> str:
    return run(
        python, "-c", "from kws.model.manifest import find_manifest; print(find_manifest())"
    ).strip()


def run(python: Path, *arguments: str) -> str:
    """What an environment's Python prints; raises EnvironmentFailed with its last line."""
    # Elsewhere than in the checkout, which a process would otherwise import.
    done = subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, cwd=tempfile.gettempdir()
    )
    if done.returncode != 0:
        raise EnvironmentFailed((done.stderr.strip() or "no message").splitlines()[-1])
    return done.stdout


def _seconds(python: Path, program: str) -> float:
    """Median wall time of a process that runs a program, after one that warms the disk cache."""
    times = []
    for _ in range(STARTS + 1):
        begin = time.perf_counter()
        run(python, "-c", program)
        times.append(time.perf_counter() - begin)
    return float(np.median(times[1:]))


def bytes_below(folder: Path) -> int:
    """The size of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.footprint", __doc__, recordings=False)
    parser.add_argument(
        "--extras",
        nargs="*",
        default=EXTRAS,
        help=f"'' is the base (default: '' {' '.join(EXTRAS[1:])}; the last three are large)",
    )
    return keep(parser, arguments, lambda given: measure(given.extras))


if __name__ == "__main__":
    sys.exit(main())
