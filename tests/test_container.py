"""The container file: it runs as nobody of importance, copies what a build needs, and no more."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.environments import EnvironmentFailed
from benchmarks.product import container

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "service" / "Containerfile").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n\s*", "", TEXT).splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def test_it_ends_as_a_user_without_rights() -> None:
    """No instruction after USER needs root, and the user may open sound devices."""
    names = [name for name, _ in INSTRUCTIONS]
    assert ["USER", "ENTRYPOINT", "CMD"] == names[-3:]
    assert ["USER", "kws"] == INSTRUCTIONS[-3]
    assert re.search(r"useradd .*--groups audio kws", TEXT)


def test_what_is_copied_is_there_and_tracked() -> None:
    """Every source of COPY is a file of the repository."""
    sources = [
        source
        for name, rest in INSTRUCTIONS
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {"pyproject.toml", "kws"} < set(sources)
    assert [] == [source for source in sources if not (ROOT / source).exists()]


def test_layers_keep_no_caches() -> None:
    """What ships has no lists of packages, no pip and no wheels."""
    (last,) = [place for place, each in enumerate(INSTRUCTIONS) if each[0] == "FROM"][1:]
    shipped = INSTRUCTIONS[last:]
    for name, rest in shipped:
        if name == "RUN":
            assert ("apt-get install" in rest) <= ("rm -rf /var/lib/apt/lists/*" in rest)
            assert ("apt-get install" in rest) <= ("--no-install-recommends" in rest)
    assert "--no-cache-dir" in TEXT
    assert "pip uninstall --yes pip" in TEXT
    assert len({rest.split()[0] for name, rest in INSTRUCTIONS if name == "FROM"}) == 1


def test_no_builder_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(container.shutil, "which", lambda name: None)
    assert 1 == container.main([])
    assert "error: none of docker, podman is installed\n" == capsys.readouterr().err


def test_a_build_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container.shutil, "which", lambda name: name)
    failed = subprocess.CompletedProcess([], 125, stdout="", stderr="STEP 1\nno such image\n")
    monkeypatch.setattr(container.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(EnvironmentFailed, match="docker build: no such image"):
        container.measure(None)
