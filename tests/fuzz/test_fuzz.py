"""Each fuzz target for a moment, on inputs that a seed repeats; `make fuzz` runs them for long."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import counts
import pytest
from c_library import FILES, NoFuzzer, build, fuzz_c_library
from fuzzing import Result, Target, fuzz
from import_graph import PACKAGE, reached

from benchmarks.results import ROOT

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
    try:
        program = build(tmp_path)
    except NoFuzzer as error:
        pytest.skip(str(error))
    result = fuzz_c_library(program, 1, inputs=60)
    assert [] == result.findings
    assert 60 <= result.inputs == result.outcomes["ran"]


def test_what_breaks_a_promise_of_the_c_library_is_found(tmp_path: Path) -> None:
    """A fuzzer that stops with an error is a finding with what it said."""
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho ERROR: AddressSanitizer >&2\nexit 77\n")
    program.chmod(0o755)
    assert ["ERROR: AddressSanitizer\n"] == fuzz_c_library(program, 1, inputs=1).findings


def test_sittings_add_up(tmp_path: Path) -> None:
    """Counts of the same code are added to; those of code that has changed are dropped."""
    out = tmp_path / "fuzz.json"
    fuzzed = {"list": "1", "journal": "2", "C library": "3", "never run": "4"}
    for name in ("list", "journal", "C library"):
        counts.add(out, name, made(10), fuzzed)
    counts.add(out, "list", made(5), fuzzed)
    kept = json.loads(out.read_text())
    assert "make fuzz MINUTES=3" == kept["command"]
    assert {"list": 15, "journal": 10, "C library": 10} == inputs_of(kept)
    assert {"list": "1", "journal": "2", "C library": "3"} == kept["figures"]["code"]
    expected = {"inputs": 15, "refused": 5, "ran": 10, "stopped": 0, "findings": 1}
    assert {**expected, "minutes": 3.0, "processor_minutes": 1.5} == kept["figures"]["targets"][
        "list"
    ]
    counts.add(out, "list", made(1), {"list": "5", "C library": "3"})
    assert {"list": 1, "C library": 10} == inputs_of(json.loads(out.read_text()))


def test_what_a_target_fuzzes_is_known_again() -> None:
    """Its digest stays, and follows a file that one of its modules imports, and no other one."""
    path = "kws/audio/header.py"  # which a recording's module imports and a list of labels does not
    assert PACKAGE.parent / path in reached(["kws.audio.file"])
    assert PACKAGE.parent / path not in reached(["kws.cli.import"])
    assert counts.digest(["kws.audio.file"], ()) == counts.digest(["kws.audio.file"], [path])
    assert counts.digest(["kws.cli.import"], ()) != counts.digest(["kws.cli.import"], [path])
    assert all(list(ROOT.glob(each)) for target in targets() for each in target.files)
    assert all(list(ROOT.glob(each)) for each in FILES)


# Prints the files of whatever Python code ran while a target took its inputs, in one process.
USED = """
import resource, sys
import run, targets_audio, targets_models

def here(action):
    action()
    return "ran"

resource.setrlimit = lambda *_: None
targets_audio.in_child = targets_models.in_child = here
target = run.targets()[sys.argv[1]]
used = set()
for content in target.seeds():
    sys.setprofile(lambda frame, event, argument: used.add(frame.f_code.co_filename))
    target.run(content)
    sys.setprofile(None)
print(*used, sep="\\n")
"""


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_all_that_a_target_runs_is_what_it_fuzzes(target: Target) -> None:
    """It runs no module of kws whose change would leave its counts as they are."""
    for package in NEEDS.get(target.name, ()):
        pytest.importorskip(package, reason=f"{package} is not installed")
    pytest.importorskip("resource", reason="no limits of processes here")
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", USED, target.name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, here.parent, here)))},
        capture_output=True,
        text=True,
    )
    assert 0 == done.returncode, done.stderr
    ran = {path for path in map(Path, done.stdout.splitlines()) if PACKAGE in path.parents}
    assert ran
    assert set() == ran - reached(target.modules)


def made(inputs: int) -> Result:
    """A result as a sitting gives; of ten inputs one is a finding."""
    outcomes = {"refused": 5 * (inputs == 10), "ran": inputs - 5 * (inputs == 10), "stopped": 0}
    return Result(inputs, outcomes, ["x"] * (inputs == 10), 6.0 * inputs * 2, 6.0 * inputs)


def inputs_of(kept: dict[str, Any]) -> dict[str, int]:
    """The inputs of each target."""
    return {name: row["inputs"] for name, row in kept["figures"]["targets"].items()}


def test_targets_run_at_a_time(tmp_path: Path) -> None:
    """The command runs each target in a process of its own, and a second sitting adds to it."""
    command = [sys.executable, str(Path(__file__).parent / "run.py"), "labels", "list", "--jobs=2"]
    command += ["--minutes=0.002", f"--out={tmp_path / 'fuzz.json'}", f"--findings={tmp_path}"]
    counted = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True)
        assert 0 == done.returncode, done.stdout + done.stderr
        counted.append(json.loads((tmp_path / "fuzz.json").read_text())["figures"]["targets"])
    first, second = counted
    assert {"labels", "list"} == set(first) == set(second)
    for name, row in first.items():
        assert 0 < row["inputs"] < second[name]["inputs"]
        assert 0 < row["minutes"] < second[name]["minutes"]


def test_a_busy_machine_feeds_something() -> None:
    """An input is tried even where making those to begin with took all of the time."""

    def slow() -> list[bytes]:
        time.sleep(0.05)
        return [b"a"]

    assert 1 == fuzz(Target("slow", slow, lambda _: "ran"), seed=1, seconds=0.01).inputs


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
