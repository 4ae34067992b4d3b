"""What the metadata promises: a small base install, extras that stay apart, one pinned torch."""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from kws import __version__, cli

ROOT = Path(__file__).parent.parent
BASE = {"numpy", "onnxruntime", "rich", "sounddevice", "soundfile", "soxr", "webrtcvad-wheels"}
BACKPORTS = {"tomli"}  # for Python 3.10 alone


def requirements(extra: str | None = None) -> dict[str, str]:
    """Requirement strings by name; those of the base install, or of one extra."""
    marker = re.compile(r"extra == ['\"]([\w-]+)['\"]")
    found = {}
    for requirement in metadata.requires("kws") or []:
        belongs = marker.search(requirement)
        if (belongs.group(1) if belongs else None) == extra:
            found[re.split(r"[^\w.-]", requirement)[0]] = requirement
    return found


def test_base_install_is_what_listening_needs() -> None:
    """A dependency more is a decision, and torch never is one."""
    assert requirements().keys() == BASE | BACKPORTS
    assert all(re.search("python_version < .3.11", requirements()[name]) for name in BACKPORTS)


def test_bounds_of_onnx_runtime() -> None:
    """Each version of Python has one range, which ends before telemetry begins."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    base = project.partition("dependencies = [")[2].partition("\n]")[0]
    ranges = [Requirement(each) for each in re.findall(r'"(onnxruntime\b.*?)"', base)]
    for minor in range(10, 15):
        python = {"python_version": f"3.{minor}"}
        (chosen,) = (each for each in ranges if each.marker and each.marker.evaluate(python))
        assert chosen.specifier.contains("1.20.1")
        assert not chosen.specifier.contains("1.21.0" if minor == 10 else "1.29.0")


def test_extras() -> None:
    """The extras exist, and only training and export bring torch."""
    extras = set(metadata.metadata("kws").get_all("Provides-Extra") or [])
    assert extras >= {"gpu", "tflite", "train", "export", "dev"}
    assert {extra for extra in extras if "torch" in requirements(extra)} == {"train", "export"}


def test_torch_is_one_version_everywhere() -> None:
    """The pins of the extras and of the Makefile agree, or pip would install it twice."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pins = [requirements(extra)["torch"].partition(";")[0].strip() for extra in ("train", "export")]
    pins += re.findall(r"torch==[\d.]+", makefile)
    assert len(set(pins)) == 1


def test_every_dependency_is_described() -> None:
    """docs/dependencies.md says of each package what it may do."""
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    described = {
        name.strip()
        for row in page.splitlines()
        if row.startswith("| ")
        for name in re.split(r", (?:with \w+)?", row.split("|")[1])
    }
    extras = metadata.metadata("kws").get_all("Provides-Extra") or []
    for extra in (None, *extras):
        assert requirements(extra).keys() <= described


def test_the_lock_holds_every_requirement() -> None:
    """What the tests need is locked with hashes; torch alone is not. Else: make lock."""
    lock = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    entries = re.findall(
        r"^([\w.-]+)==\S+(?: ;[^\\\n]*)? \\\n +--hash=sha256:[0-9a-f]{64}", lock, re.M
    )
    assert len(entries) > 50
    needed = {**requirements(), **requirements("dev"), **requirements("train")}.keys()
    assert {"torch"} == needed - set(entries)
    for pinned in re.findall(r"^[\w.-]+==.*", lock, re.M):
        assert pinned.endswith(" \\"), f"{pinned} has no hash"


def test_the_list_without_onnx_runtime_is_complete() -> None:
    """docs/tflite-only.txt has every requirement, within the same bounds, and what those need."""
    text = (ROOT / "docs" / "tflite-only.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    listed = {re.split(r"[^\w.-]", line)[0].lower().replace(".", "-") for line in lines}
    needed, found = {*requirements(), *requirements("tflite")} - {"onnxruntime"}, set[str]()
    while new := needed - found:
        found |= new
        for name in new - {"ai-edge-litert", "tflite-runtime"}:  # not installed in these versions
            try:
                wanted = [Requirement(each) for each in metadata.requires(name) or []]
            except metadata.PackageNotFoundError:  # of other versions of Python or systems
                continue
            kept = [each for each in wanted if "extra" not in str(each.marker)]
            needed |= {each.name.lower().replace(".", "-").replace("_", "-") for each in kept}
    assert not needed - listed
    for name, requirement in requirements().items():
        if name != "onnxruntime":
            assert requirement.partition(";")[0].strip() in text


def test_version_and_command() -> None:
    """The metadata's version is the package's, and `kws` starts the command line."""
    assert metadata.version("kws") == __version__
    (script,) = (e for e in metadata.distribution("kws").entry_points if e.name == "kws")
    assert script.load() is cli.script


def test_changelog_names_the_version() -> None:
    """A release is described before it is made."""
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_ci_entry_can_be_run() -> None:
    """It is called by its path."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
