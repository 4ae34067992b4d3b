"""Each fuzz target for a moment, on inputs that a seed repeats; `make fuzz` runs them for long."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fuzzing import Target, fuzz

FIRMWARE = Path(__file__).parent.parent.parent / "firmware_demo"
INPUTS = {"manifest": 300, "labels": 500, "onnx": 60, "tflite": 40, "checkpoint": 60}
NEEDS = {
    "onnx": ("onnx", "onnxruntime"),
    "tflite": ("ai_edge_litert", "flatbuffers"),
    "checkpoint": ("torch",),
}


def targets() -> list[Target]:
    """All of them."""
    from run import targets

    return list(targets().values())


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_nothing_is_found(target: Target) -> None:
    """No input ends in another error than one of ours, or kills more than the child it runs in."""
    for package in NEEDS.get(target.name, ()):
        pytest.importorskip(package, reason=f"{package} is not installed")
    if target.name in ("onnx", "tflite") and not hasattr(os, "fork"):
        pytest.skip("no fork here")
    result = fuzz(target, seed=0, inputs=INPUTS.get(target.name, 100))
    assert [] == result.findings
    assert result.outcomes["refused"]


def test_the_c_library(tmp_path: Path) -> None:
    """Any calls with any samples keep to what kws.h promises, under the sanitisers."""
    if not shutil.which("clang"):
        pytest.skip("no clang; on Debian: apt-get install clang")
    made = subprocess.run(
        ["make", "-C", str(FIRMWARE), f"BUILD={tmp_path}", f"{tmp_path}/fuzz_detector"],
        capture_output=True,
        text=True,
    )
    if "fuzzer" in made.stderr and "cannot find" in made.stderr:
        pytest.skip("this clang has no libFuzzer; on Debian: apt-get install libclang-rt-14-dev")
    assert 0 == made.returncode, made.stderr
    run = subprocess.run(
        [tmp_path / "fuzz_detector", "-runs=60", "-seed=1", "-max_len=4000", "-len_control=0"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert 0 == run.returncode, run.stderr[-3000:]


def test_a_finding_is_found() -> None:
    """An exception of another kind is one, with its traceback; KwsError is not."""

    def run(content: bytes) -> str:
        if content[:1] == b"a":
            return "ran"
        raise importlib.import_module("kws.errors").KwsError("no") if content else KeyError("x")

    result = fuzz(Target("broken", lambda: [b"a"], run), seed=1, inputs=200)
    assert 200 == result.inputs == sum(result.outcomes.values())
    assert result.findings
    assert "KeyError: 'x'" in result.findings[0]
