"""Wheels for another processor, unpacked into a folder that goes into PYTHONPATH."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.environments import EnvironmentFailed

# pip takes a platform tag to the letter, so that every glibc a wheel may name must be listed.
GLIBC = (17, 24, 26, 27, 28, 31, 34, 35, 36)


def platforms(architecture: str) -> list[str]:
    """The platform tags of wheels that run on `aarch64` or `armv7l` with glibc 2.36."""
    named = [f"manylinux_2_{minor}_{architecture}" for minor in GLIBC]
    return [*named, f"manylinux2014_{architecture}", f"linux_{architecture}"]


def fetch(
    packages: Sequence[str], python: str, architecture: str, folder: Path, alone: bool = False
) -> Path:
    """Fetch these packages and, unless `alone`, what they need; returns the folder for PYTHONPATH.

    What was fetched for the same packages before is kept, and for others removed: of two versions
    the later would win, allowed or not. Raises EnvironmentFailed where pip finds no wheel.
    """
    site, done = folder / "site", folder / "wheels.txt"
    wanted = "\n".join(packages)
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return site
    wheels = folder / "wheels"
    for each in (site, wheels):
        shutil.rmtree(each, ignore_errors=True)
    wheels.mkdir(parents=True, exist_ok=True)
    options = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    if alone:
        options.append("--no-deps")
    for platform in platforms(architecture):
        options += ["--platform", platform]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options]
    result = subprocess.run(
        [*command, "--dest", str(wheels), *packages], capture_output=True, text=True
    )
    if result.returncode != 0:
        raise EnvironmentFailed(f"pip download: {result.stderr.strip().splitlines()[-1]}")
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    done.write_text(wanted, encoding="utf-8")
    return site
