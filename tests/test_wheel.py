"""What users install: the wheel, in an environment that has never seen the source tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from kws import __version__
from kws.demo import SPOKEN
from kws.native import NAME, library

ROOT = Path(__file__).parent.parent
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "kws")


def build(folder: Path, native: str = "0") -> Path:
    """The folder of wheel and source, built from a copy so that no leftover gets in.

    `native` is KWS_NATIVE: "0" for the wheel without the native kernel, which runs everywhere.
    """
    source = folder / "source"
    source.mkdir()
    for name in BUILT_FROM:
        path = ROOT / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", NAME)
            shutil.copytree(path, source / name, ignore=ignored)
        else:
            shutil.copy(path, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", source],
        check=True,
        capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1800000000", "KWS_NATIVE": native},
    )
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    (built,) = build(tmp_path_factory.mktemp("wheel")).glob("*.whl")
    return built


def install(folder: Path, *arguments: str | Path) -> Path:
    """The bin folder of a fresh environment after `pip install` with these arguments."""
    environment = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run(
        [binaries / "python", "-m", "pip", "install", "--quiet", *arguments],
        check=True,
        capture_output=True,
    )
    return binaries


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel and what it requires."""
    return install(tmp_path_factory.mktemp("fresh"), wheel)


@pytest.fixture(scope="module")
def without_onnx(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, installed as docs/install.md tells where TFLite is to be the only runtime."""
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    flags = "--no-compile --no-deps --requirement"
    assert f"pip install {flags} docs/tflite-only.txt ." in page
    listed = ROOT / "docs" / "tflite-only.txt"
    return install(tmp_path_factory.mktemp("tflite"), *flags.split(), listed, wheel)


def run(*command: str | Path, folder: Path) -> str:
    """Run an installed program in `folder`, with nothing of the source tree in its way."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    ).stdout


def test_content(wheel: Path) -> None:
    """Every tracked file of the package is in the wheel, and nothing of the other folders."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    kept = (path for path in (ROOT / "kws").rglob("*") if path.is_file())
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in kept
        if "__pycache__" not in path.parts and path.name != NAME
    }
    assert expected - packed == set()
    assert {name.split("/")[0] for name in packed} == {"kws", f"kws-{__version__}.dist-info"}
    assert wheel.stat().st_size < 9_000_000


def test_the_same_bytes_twice(wheel: Path, tmp_path: Path) -> None:
    """Wheel and source do not depend on the folder, nor on when the files were written."""
    first, second = wheel.parent, build(tmp_path)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert [f"kws-{__version__}-py3-none-any.whl", f"kws-{__version__}.tar.gz"] == names
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.skipif(library() is None, reason="the native kernel was not compiled here")
def test_the_same_bytes_with_the_kernel(tmp_path: Path) -> None:
    """What the compiler makes does not depend on the folder either."""
    built = []
    for name in ("first", "in another folder"):
        (tmp_path / name).mkdir()
        built.append(build(tmp_path / name, native="1"))
    first, second = ({path.name: path.read_bytes() for path in each.iterdir()} for each in built)
    assert first == second
    assert not any(name.endswith("-any.whl") for name in first)


def test_no_torch(installed: Path, tmp_path: Path) -> None:
    """A listener's environment gets no torch, and kws comes from it, not from the source tree."""
    program = (
        "import importlib.util as u, kws, kws.detector, kws.audio\n"
        "print(u.find_spec('torch'), kws.__file__)"
    )
    torch, file = run(installed / "python", "-c", program, folder=tmp_path).split(maxsplit=1)
    assert torch == "None"
    assert Path(file.strip()).is_relative_to(installed.parent)
    training = subprocess.run(
        [installed / "python", "-I", "-m", "kws.train", "--out", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (1, "") == (training.returncode, training.stdout)
    assert "error: training needs torch; pip install 'kws[train]'\n" == training.stderr


def test_demo(installed: Path, without_onnx: Path, tmp_path: Path) -> None:
    """`kws listen --demo` shows commands that are really spoken, without ONNX Runtime too."""
    assert f"kws {__version__}\n" == run(installed / "kws", "--version", folder=tmp_path)
    assert not list(without_onnx.parent.rglob("onnxruntime"))
    spoken = [entry["word"] for entry in json.loads(SPOKEN.read_text(encoding="utf-8"))]
    demo = partial(run, folder=tmp_path)
    with ThreadPoolExecutor() as both:  # it plays at its own pace
        outputs = both.map(
            lambda binaries: demo(binaries / "kws", "listen", "--demo", "--json-plain"),
            (installed, without_onnx),
        )
    for output in outputs:
        detected = [json.loads(line)["keyword"] for line in output.splitlines()]
        assert len(detected) >= 8
        assert detected == [word for word in spoken if word in detected]


def test_info(installed: Path, tmp_path: Path) -> None:
    """`kws info` finds the shipped model, and it runs."""
    facts = json.loads(run(installed / "kws", "info", "--json", folder=tmp_path))
    assert "commands" in [model["name"] for model in facts["models"]]
    assert all("error" not in model for model in facts["models"])
