"""The scripts that try kws on other processors and other versions of Python."""

import dataclasses
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import pages
from benchmarks.arm import __main__ as arm
from benchmarks.arm import kernel, wheels
from benchmarks.environments import EnvironmentFailed
from benchmarks.product import installations, matrix
from benchmarks.results import read_results
from benchmarks.text import between

KEY = "stream.int8.tflite"
MACHINE = dataclasses.replace(arm.MACHINES[1], files=(KEY,), reference=False)


def outcome(difference: float = 0.0, found: object = ()) -> dict[str, object]:
    rows = np.full((2, 12), 0.5 + difference, np.float32)
    return {
        f"{KEY}/a": rows,
        f"{KEY}/a/features": rows,
        "found": {KEY: {"a": list(found)}},
        "problems": {},
    }


def test_equal_posteriors_and_detections_are_alike() -> None:
    figures = arm.compared(outcome(), outcome(), MACHINE)
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
    assert not arm.compared(outcome(), there, MACHINE)["alike"]


def test_reference_kernels_agree_bit_for_bit() -> None:
    """A step of 8 bits is what other kernels may differ by."""
    off = outcome(difference=2.0**-8)
    assert arm.compared(outcome(), off, MACHINE)["alike"]
    exact = dataclasses.replace(MACHINE, reference=True)
    assert not arm.compared(outcome(), off, exact)["alike"]
    assert arm.compared(outcome(), outcome(), exact)["alike"]


def test_detections_of_int8_onnx_may_end_a_row_apart() -> None:
    """Not of another file, not two rows, and not of another word."""
    there = [["yes", 0.1, 0.52]]
    assert arm.equal_detections([["yes", 0.1, 0.5]], there, apart=0.02)
    assert not arm.equal_detections([["yes", 0.1, 0.5]], there, apart=0.0)
    assert not arm.equal_detections([["yes", 0.1, 0.48]], there, apart=0.02)
    assert not arm.equal_detections([["no", 0.1, 0.5]], there, apart=0.02)
    assert not arm.equal_detections([], there, apart=0.02)
    assert not arm.compared(outcome(found=[["yes", 0.1, 0.5]]), outcome(found=there), MACHINE)[
        "alike"
    ]


def test_a_machine_on_which_nothing_runs_is_not_alike() -> None:
    nothing = {"found": {}, "problems": {KEY: "no runtime"}}
    assert not arm.compared(outcome(), nothing, MACHINE)["alike"]


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


def test_wheels_of_other_packages_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched is kept for the same packages; for others nothing of it is left."""
    calls = []

    def download(command: list[str], **_: object) -> SimpleNamespace:
        calls.append(command[-1])
        wheel = Path(command[command.index("--dest") + 1]) / f"{command[-1]}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"{command[-1]}.py", "")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(wheels.subprocess, "run", download)
    for package in ("newer", "newer", "older"):
        site = wheels.fetch([package], "3.13", "aarch64", tmp_path)
        assert [f"{package}.py"] == [each.name for each in site.iterdir()]
    assert ["newer", "older"] == calls


def test_a_missing_emulator_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="no-such-emulator is not installed; on Debian"):
        arm.run(["no-such-emulator"], {})


@pytest.mark.skipif(
    shutil.which(kernel.COMPILER) is None,
    reason="on Debian: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
)
def test_a_package_with_the_kernel_for_another_processor(tmp_path: Path) -> None:
    """All of kws, and the kernel as ELF for AArch64 (183) in the place of this machine's."""
    folder = kernel.make_package(tmp_path / "package")
    content = (folder / "kws" / "native" / kernel.LIBRARY).read_bytes()
    assert content[:4] == b"\x7fELF"
    assert 183 == int.from_bytes(content[18:20], "little")
    assert (folder / "kws" / "models" / "commands.json").is_file()


def test_a_kernel_that_does_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing compiler is named with what installs it, one that fails by what it says."""
    monkeypatch.setattr(kernel, "COMPILER", "no-such-compiler")
    with pytest.raises(EnvironmentFailed, match=r"not installed; on Debian: .*gcc-aarch64"):
        kernel.make_package(tmp_path / "package")
    monkeypatch.setattr(kernel, "COMPILER", sys.executable)
    with pytest.raises(EnvironmentFailed, match=sys.executable):
        kernel.make_package(tmp_path / "package")


def test_a_table_is_written_between_its_marks() -> None:
    """What stands around it stays, and writing twice gives the same page."""
    row = {
        "python": "3.12.1",
        "extra": "tflite",
        "resolution": "oldest",
        "installed": {"numpy": "1.26.4"},
        "installed_bytes": 150_400_000,
        "problem": None,
    }
    page = "before\n\n<!-- written by: x -->\n<!-- end of: x -->\n\nafter\n"
    once = between(page, "x", matrix.table_of([row]))
    assert once == between(once, "x", matrix.table_of([row]))
    assert "| 3.12.1 | `tflite` | oldest | numpy 1.26.4 | 150.4 MB | works |" in once
    assert once.startswith("before\n")
    assert once.endswith("\n\nafter\n")
    with pytest.raises(ValueError, match="expected the marks"):
        between(once, "another", "")


def test_the_page_of_the_matrix_is_a_table() -> None:
    """Of rows, and not of one cell that holds them all."""
    row = {"python": "3.12.1", "extra": "", "resolution": "newest", "installed": {}}
    figures = {"rows": [{**row, "installed_bytes": 1_000_000, "problem": None}]}
    (made,) = pages.RENDERERS["matrix"](figures)
    assert "| 3.12.1 | none | newest |  | 1.0 MB | works |" in made


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    """docs/install.md has what was measured last, of each that was."""
    page = matrix.PAGE.read_text(encoding="utf-8")
    found = read_results()
    for name, command, made in (
        ("matrix", "make matrix", lambda figures: matrix.table_of(figures["rows"])),
        (
            "installations",
            "python -m benchmarks.product.installations",
            lambda figures: installations.rows_of(figures["ways"]),
        ),
    ):
        text = made(found[name]["figures"]) if name in found else ""
        expected = between(page, command, text) if text else page
        assert expected == page
        assert f"<!-- written by: {command} -->" in page


def test_ways_to_install_are_those_of_the_page() -> None:
    """Each command that is measured is one that a reader can type, and listens at once."""
    for command, given in installations.WAYS.items():
        assert command.startswith("pip install ")
        assert "." in given
    assert installations.WAYS.keys() >= {installations.BASE, installations.TFLITE_ALONE}
