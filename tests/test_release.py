"""The checklist of a release: what it refuses, and that the document tells the same list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import release
from kws import __version__

ROOT = Path(__file__).parent.parent
GOOD = [*release.NEEDED, "kws/__init__.py", f"kws-{__version__}.dist-info/METADATA"]


def test_the_document_has_every_step() -> None:
    """CONTRIBUTING.md numbers as many steps as the script walks."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", page, re.M)]
    assert list(range(1, len(release.STEPS) + 1)) == numbers


def test_first_version() -> None:
    """Changes that are not released yet are no version."""
    assert "Unreleased" == release.first_version("# Changes\n\n## Unreleased\n\n## 0.1.0\n")
    assert "0.2.0" == release.first_version("# Changes\n\n## 0.2.0\n\n* x\n\n## 0.1.0\n")
    assert "" == release.first_version("# Changes\n")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (GOOD, ""),
        (GOOD[1:], "the wheel lacks kws/models/commands.json"),
        ([*GOOD, "tests/conftest.py"], "the wheel has tests/conftest.py, which is none of kws"),
        ([*GOOD, "kws/__pycache__/a.pyc"], "the wheel has kws/__pycache__/a.pyc"),
    ],
    ids=["good", "missing", "foreign", "cache"],
)
def test_content_of_a_wheel(names: list[str], problem: str) -> None:
    assert problem == release.wrong_content(names)


def test_a_failing_step_does_not_end_the_walk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each step is tried, the exit code tells of the failure, and nothing is left by hand."""

    def fails(tools: Path) -> str:
        raise release.StepFailed("what to do")

    steps = (release.Step("one", fails), release.Step("two", lambda tools: "fine"))
    monkeypatch.setattr(release, "STEPS", steps)
    monkeypatch.setattr(release, "environment", lambda name, packages: tmp_path / "python")
    assert 1 == release.main()
    told = capsys.readouterr().out.splitlines()
    assert ["FAILED  one: what to do", "ok      two: fine"] == told[:2]
    assert "by hand" not in "".join(told)
    monkeypatch.setattr(release, "STEPS", steps[1:])
    assert 0 == release.main()
    assert "by hand" in capsys.readouterr().out


def test_published_figures_are_compared() -> None:
    """Every page that the report writes, README and the model card among them."""
    pages = list((release.ROOT / "benchmarks" / "pages").glob("*.md"))
    assert f"{len(pages) + 3} pages" == release.figures(Path())
