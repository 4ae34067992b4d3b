"""Documents, workflow and Makefile agree with the files that they speak of."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PAGES = [
    *ROOT.glob("*.md"),
    *(path for name in ("docs", "benchmarks") for path in (ROOT / name).rglob("*.md")),
    ROOT / "firmware_demo" / "README.md",
    ROOT / "kws" / "models" / "README.md",
]


def script(name: str) -> Any:
    """A program of docs/tools as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "tools" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_code_names_lead_to_files(page: Path) -> None:
    """Every relative link, and every path of the project in backticks, is there."""
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    gone = [link for link in links if not (page.parent / link).exists()]
    paths = re.findall(r"`((?:kws|export|firmware_demo|benchmarks|docs|tests)/[\w./-]+)`", text)
    if page.name not in ("CHANGELOG.md", "lab-notes.md"):  # which tell of the past
        gone += [path for path in paths if not (ROOT / path).exists()]
    assert not gone


def test_workflow_is_valid() -> None:
    """The workflow of the public host passes the linter of its schema."""
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.github-workflows", str(WORKFLOW)], capture_output=True, text=True
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def test_workflow_covers_what_is_promised() -> None:
    """Every Python of pyproject.toml, three systems, two architectures; and files that exist."""
    text = WORKFLOW.read_text(encoding="utf-8")
    for version in re.findall(r"Python :: (3\.\d+)", PROJECT):
        assert f'"{version}"' in text
    for system in ("ubuntu-24.04,", "ubuntu-24.04-arm", "macos-", "macos-15-intel", "windows-"):
        assert system in text
    for name in re.findall(r"tests/\w+\.py", text):
        assert (ROOT / name).is_file(), name


def test_hooks_use_the_linter_of_the_project() -> None:
    """The version of ruff in the hooks is the one that pyproject.toml pins."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (pinned,) = re.findall(r'"ruff==(\d+\.\d+)\.\*"', PROJECT)
    assert f"rev: v{pinned}." in hooks


def test_quick_tests_exist() -> None:
    """`make quick` names files of tests that are there."""
    done = subprocess.run(
        ["make", "-n", "quick", "DEV=."], cwd=ROOT, capture_output=True, text=True
    )
    names = re.findall(r"tests/test_\w+\.py", done.stdout)
    assert len(names) > 10
    assert [] == [name for name in names if not (ROOT / name).is_file()]


def test_the_api_page_is_written_from_the_docstrings() -> None:
    """docs/api.md is what its script writes now, and has every public name."""
    api = script("api")
    assert api.page() == api.PAGE.read_text(encoding="utf-8"), "run: python docs/tools/api.py"


def test_the_picture_is_what_its_script_draws() -> None:
    """docs/pictures/architecture.svg is current, and each file that it names is there."""
    architecture = script("architecture")
    assert architecture.picture() == architecture.PICTURE.read_text(encoding="utf-8")
    for box in architecture.BOXES:
        for name in box.file.split(", "):
            assert (ROOT / name).exists(), name
