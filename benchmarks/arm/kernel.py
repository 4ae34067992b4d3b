"""kws as it is installed on 64-bit ARM Linux where a C compiler is: with the native kernel.

A cross compiler makes the kernel here, in a copy of the package.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.arm.roots import FOLDER
from benchmarks.environments import EnvironmentFailed
from kws.native.build_backend import FLAGS, HERE, LINUX_LINKS, SOURCES

COMPILER = "aarch64-linux-gnu-gcc"
LIBRARY = "kernel.so"


def make_package(folder: Path = FOLDER / "with-kernel") -> Path:
    """A folder for PYTHONPATH that holds kws and its kernel, made anew.

    Raises EnvironmentFailed where it does not compile.
    """
    shutil.rmtree(folder, ignore_errors=True)
    compiled = shutil.ignore_patterns("kernel.so", "kernel.dll", "__pycache__")
    shutil.copytree(HERE.parent, folder / "kws", ignore=compiled)
    native = folder / "kws" / "native"
    command = [COMPILER, *FLAGS, "-shared", "-fPIC", "-o", LIBRARY, *SOURCES, "-lm", *LINUX_LINKS]
    try:
        done = subprocess.run(command, cwd=native, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise EnvironmentFailed(
            f"{COMPILER} is not installed; on Debian: "
            "sudo apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
        ) from error
    if done.returncode != 0:
        raise EnvironmentFailed(f"{COMPILER}: {done.stderr.strip().splitlines()[-1]}")
    return folder
