"""`python -m benchmarks.product.footprint`: the room that kws and each of its extras take.

The wheel is built and installed alone and with each extra in turn, in fresh environments. Which
torch an extra brings, and so how much, is pip's choice: see docs/install.md. What the ways to
install take in memory and time: benchmarks.product.installations.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environments import EnvironmentFailed, install, new_environment
from benchmarks.program import keep, program
from benchmarks.results import ROOT

EXTRAS = (
    *("", "tflite", "report", "cluster", "web", "mqtt", "wyoming", "zeroconf"),
    *("gpu", "train", "export"),  # large
)


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
    """Bytes and packages of one fresh environment."""
    python = new_environment(folder)
    before, own = bytes_below(folder), packages(python)
    named = f"kws[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    install(python, [named])
    return {
        "installed_bytes": bytes_below(folder) - before,
        "packages": packages(python) - own,
    }


def measure(extras: Sequence[str]) -> dict[str, Any]:
    """Every extra by name; "base" is the installation without one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheel = build_wheel(folder)
        figures: dict[str, Any] = {"wheel_bytes": wheel.stat().st_size}
        figures |= {"installed": {}, "not_installed": {}}
        for extra in extras:
            name = extra or "base"
            print(f"installing {name}")
            try:
                figures["installed"][name] = measure_extra(wheel, extra, folder / "env")
            except EnvironmentFailed as error:
                figures["not_installed"][name] = str(error)
    return figures


def packages(python: Path) -> int:
    """How many packages an environment has."""
    return len(run(python, "-m", "pip", "list", "--format", "freeze").splitlines())


def run(python: Path, *arguments: str) -> str:
    """What an environment's Python prints; raises EnvironmentFailed with its last line."""
    # Elsewhere than in the checkout, which a process would otherwise import.
    done = subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, cwd=tempfile.gettempdir()
    )
    if done.returncode != 0:
        raise EnvironmentFailed((done.stderr.strip() or "no message").splitlines()[-1])
    return done.stdout


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
