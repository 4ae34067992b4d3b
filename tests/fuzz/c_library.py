"""Fuzz target: the C library under libFuzzer and the sanitisers, where clang is at hand."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

from fuzzing import Result, processor_seconds

FIRMWARE = Path(__file__).parent.parent.parent / "firmware_demo"
NAME = "C library"
FILES = ("firmware_demo/src/*", "firmware_demo/include/*", "firmware_demo/generated/*.[ch]")


class NoFuzzer(Exception):
    """There is no clang here, or it comes without libFuzzer."""


def build(folder: Path) -> Path:
    """The program, made in a folder; raises NoFuzzer."""
    if not shutil.which("clang"):
        raise NoFuzzer("no clang; on Debian: apt-get install clang")
    program = folder.absolute() / "fuzz_detector"
    made = subprocess.run(
        ["make", "-C", str(FIRMWARE), f"BUILD={program.parent}", str(program)],
        capture_output=True,
        text=True,
    )
    if "fuzzer" in made.stderr and "cannot find" in made.stderr:
        raise NoFuzzer("this clang has no libFuzzer; on Debian: apt-get install libclang-rt-14-dev")
    assert 0 == made.returncode, made.stderr
    return program


def fuzz_c_library(
    program: Path,
    seed: int,
    *,
    inputs: int | None = None,
    seconds: float | None = None,
    keep: Path | None = None,
) -> Result:
    """Any calls with any samples, so many or for so long, on from the corpus kept in a folder.

    Each input is taken. libFuzzer stops at its first finding.
    """
    begun, spent = time.monotonic(), processor_seconds()
    command = [str(program), f"-seed={seed % 2**31 + 1}", "-len_control=0", "-print_final_stats=1"]
    if inputs is not None:
        command += [f"-runs={inputs}", "-max_len=4000"]
    if seconds is not None:
        command += [f"-max_total_time={max(1, round(seconds))}", "-max_len=20000"]
    if keep is not None:
        corpus = keep / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        command += [f"-artifact_prefix={keep.absolute()}/c-library-", str(corpus.absolute())]
    run = subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=program.parent
    )
    result = Result(seconds=time.monotonic() - begun, processor=processor_seconds() - spent)
    executed = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    if run.returncode or not executed:
        result.findings.append(run.stderr[-3000:])
    result.inputs = result.outcomes["ran"] = int(executed[1]) if executed else 0
    return result
