"""Virtual environments that benchmarks make for what they measure, each with nothing else in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import ROOT

FOLDER = ROOT / "build" / "benchmarks"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


class EnvironmentFailed(Exception):
    """An environment could not be made; the message is pip's last line."""


def environment(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment with these packages; made on first use, then kept.

    Raises EnvironmentFailed where a package cannot be installed here.
    """
    folder = FOLDER / name
    complete = folder / "packages.txt"
    wanted = "\n".join(packages)
    python = python_of(folder)
    if complete.is_file() and complete.read_text(encoding="utf-8") == wanted:
        return python
    new_environment(folder)
    install(python, packages)
    complete.write_text(wanted, encoding="utf-8")
    return python


def new_environment(folder: Path) -> Path:
    """An empty environment in place of whatever was there; returns its Python."""
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    return python_of(folder)


def install(python: Path, packages: Sequence[str]) -> None:
    """pip install; raises EnvironmentFailed."""
    _run([str(python), *PIP, *packages])


def python_of(folder: Path) -> Path:
    """Where an environment keeps its interpreter."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise EnvironmentFailed(f"{' '.join(command)}: {last}")
