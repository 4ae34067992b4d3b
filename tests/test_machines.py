"""The scripts that try kws on other processors and other versions of Python."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.arm import __main__ as arm
from benchmarks.arm import wheels
from benchmarks.environments import EnvironmentFailed
from benchmarks.product import matrix

KEY = "stream.int8.tflite"


def outcome(difference: float = 0.0, found: object = ()) -> dict[str, object]:
    rows = np.full((2, 12), 0.5 + difference, np.float32)
    return {
        f"{KEY}/a": rows,
        f"{KEY}/a/features": rows,
        "found": {KEY: {"a": list(found)}},
        "problems": {},
    }


def test_equal_posteriors_and_detections_are_alike() -> None:
    figures = arm.compared(outcome(), outcome(), [KEY])
    assert figures["alike"]
    assert {"recordings": 1, "same_detections": 1} == {
        name: figures["artefacts"][KEY][name] for name in ("recordings", "same_detections")
    }


@pytest.mark.parametrize(
    "there",
    [outcome(difference=2.0**-7), outcome(found=[["yes", 0.1, 0.5]])],
    ids=["two steps of 8 bits", "another detection"],
)
def test_what_differs_is_not_alike(there: dict[str, object]) -> None:
    assert not arm.compared(outcome(), there, [KEY])["alike"]


def test_a_machine_on_which_nothing_runs_is_not_alike() -> None:
    nothing = {"found": {}, "problems": {KEY: "no runtime"}}
    assert not arm.compared(outcome(), nothing, [KEY])["alike"]


def test_requirements_follow_the_version_of_python() -> None:
    """tflite-runtime and NumPy 1 up to Python 3.11, ai-edge-litert after it; nothing to train."""
    old, new = (arm.requirements(version) for version in ("3.11", "3.13"))
    assert any(each.startswith("tflite-runtime") for each in old)
    assert any(each.startswith("ai-edge-litert") for each in new)
    assert not [each for each in old + new if each.startswith("torch")]


def test_platforms_are_of_one_processor() -> None:
    tags = wheels.platforms("aarch64")
    assert "manylinux_2_28_aarch64" in tags
    assert all(tag.endswith("_aarch64") for tag in tags)


def test_a_missing_emulator_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="no-such-emulator is not installed; on Debian"):
        arm.run(["no-such-emulator"], {})


def test_the_table_is_written_between_its_marks() -> None:
    """What stands around it stays, and writing twice gives the same page."""
    row = {
        "python": "3.12.1",
        "extra": "tflite",
        "resolution": "oldest",
        "installed": {"numpy": "1.26.4"},
        "problem": None,
    }
    page = f"before\n\n{matrix.BEGIN}\n{matrix.END}\n\nafter\n"
    once = matrix.with_table(page, [row])
    assert once == matrix.with_table(once, [row])
    assert "| 3.12.1 | `tflite` | oldest | numpy 1.26.4 | works |" in once
    assert once.startswith("before\n")
    assert once.endswith("\n\nafter\n")


def test_the_page_has_the_marks() -> None:
    page = matrix.PAGE.read_text(encoding="utf-8")
    assert page.index(matrix.BEGIN) < page.index(matrix.END)
