"""`make matrix`, or `python -m benchmarks.product.matrix`: the wheel on each version of Python.

For each Python that is found, once with the newest and once with the oldest allowed version of
every dependency: a fresh environment, the wheel, the demonstration recording, and the quick tests
of the listening path beside the installed package. A row says what was installed, what it takes
without pip and bytecode, and the result. The versions of Python are tried at the same time.

uv resolves the oldest versions; it is taken from an environment of its own. The table in
docs/install.md is written from the result.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.environments import EnvironmentFailed, environment
from benchmarks.product.footprint import bytes_below
from benchmarks.results import FOLDER, ROOT, write_result
from benchmarks.text import megabytes, table, write_between

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
RESOLUTIONS = {"newest": "highest", "oldest": "lowest-direct"}
SHOWN = ("numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime")
EXTRAS = ("", "tflite")
TESTS = ("test_decision.py", "test_frontend.py", "test_vad.py", "test_detector.py")
FOR_TESTS = ("--only-binary", ":all:", "pytest", "hypothesis", "flatbuffers", "onnx")
HELPERS = ("conftest.py", "tone_model.py", "tflite_model.py")
PAGE = ROOT / "docs" / "install.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 1 where a row failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.product.matrix", description=__doc__
    )
    parser.add_argument(
        "--python",
        metavar="PATH",
        action="append",
        help="an interpreter to try (default: each python3.10 to python3.14 that is found)",
    )
    parser.add_argument(
        "--extra", choices=EXTRAS, action="append", help="default: none, and tflite"
    )
    parser.add_argument("--out", type=Path, default=FOLDER / "matrix.json")
    options = parser.parse_args(arguments)
    found = options.python or interpreters()
    try:
        uv = environment("uv", ("uv", "build")).with_name("uv")
        wheel = build_wheel(uv)
        tried = partial(try_python, uv, wheel, options.extra or EXTRAS)
        with ThreadPoolExecutor(len(found) or 1) as pool:
            rows = [row for some in pool.map(tried, found) for row in some]
    except EnvironmentFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_result(options.out, "make matrix", {"rows": rows})
    write_between(PAGE, "make matrix", table_of(rows))
    return 0 if all(row["problem"] is None for row in rows) else 1


def interpreters() -> list[str]:
    """Each python3.10 to python3.14 that is found and runs, which not every shim of pyenv does."""
    paths = [path for path in (shutil.which(f"python{version}") for version in VERSIONS) if path]
    return [
        path for path in paths if subprocess.run([path, "-V"], capture_output=True).returncode == 0
    ]


def build_wheel(uv: Path) -> Path:
    """The wheel of this checkout."""
    folder = ROOT / "build" / "matrix"
    shutil.rmtree(folder, ignore_errors=True)
    _run(
        [str(uv.with_name("python")), "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    )
    return next(folder.glob("*.whl"))


def try_python(uv: Path, wheel: Path, extras: Sequence[str], python: str) -> list[dict[str, Any]]:
    """Each environment of one interpreter, one after the other."""
    return [
        try_one(uv, wheel, python, extra, resolution)
        for extra in extras
        for resolution in RESOLUTIONS
    ]


def try_one(uv: Path, wheel: Path, python: str, extra: str, resolution: str) -> dict[str, Any]:
    """One environment: what was installed, and what did not work (None where all did)."""
    row: dict[str, Any] = {
        "python": _run([python, "-c", "import platform; print(platform.python_version())"]).strip(),
        "extra": extra,
        "resolution": resolution,
        "installed": {},
        "installed_bytes": 0,
        "problem": None,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            inside = install(uv, wheel, python, extra, resolution, folder / "environment")
            row["installed"] = versions(uv, inside)
            row["installed_bytes"] = bytes_below(folder / "environment")
            _run([str(uv), "pip", "install", "--quiet", "--python", str(inside), *FOR_TESTS])
            listen_to_demonstration(inside, "tflite" if extra else "onnx")
            quick_tests(inside, folder)
        except EnvironmentFailed as error:
            row["problem"] = str(error)
    print(json.dumps(row), flush=True)
    return row


def install(uv: Path, wheel: Path, python: str, extra: str, resolution: str, folder: Path) -> Path:
    """A fresh environment with the wheel; returns its Python."""
    _run([str(uv), "venv", "--quiet", "--python", python, str(folder)])
    inside = folder / "bin" / "python"
    common = [
        str(uv),
        "pip",
        "install",
        "--quiet",
        "--python",
        str(inside),
        "--only-binary",
        ":all:",
    ]
    # From pyproject.toml, since of what a wheel requires uv takes the newest in any case.
    wanted = ["--requirement", str(ROOT / "pyproject.toml"), *(["--extra", extra] if extra else [])]
    _run([*common, "--resolution", RESOLUTIONS[resolution], *wanted])
    _run([*common, "--no-deps", str(wheel)])
    return inside


def versions(uv: Path, python: Path) -> dict[str, str]:
    """The versions of the packages that a row shows."""
    listed = _run([str(uv), "pip", "list", "--quiet", "--format", "json", "--python", str(python)])
    found = {each["name"]: each["version"] for each in json.loads(listed)}
    return {name: found[name] for name in SHOWN if name in found}


def listen_to_demonstration(python: Path, backend: str) -> None:
    """Raises EnvironmentFailed where the words of the demonstration are not detected, in order.

    TFLite's files do without the verifier and may miss two.
    """
    program = f"""
import json
from kws import AudioFile, Detector
from kws.config import KEYWORDS
from kws.demo import RECORDING, SPOKEN

found = [each.keyword for each in Detector(backend={backend!r}).listen(AudioFile(RECORDING))]
words = [each["word"] for each in json.loads(SPOKEN.read_text(encoding="utf-8"))]
spoken = [word for word in words if word in KEYWORDS]
assert len(found) >= len(spoken) - {2 if backend == "tflite" else 0}, found
assert found == [word for word in spoken if word in found], found
"""
    _run([str(python), "-I", "-c", program])


def quick_tests(python: Path, folder: Path) -> None:
    """The tests of the listening path, copied away from the checkout, on the installed package."""
    tests = folder / "tests"
    tests.mkdir()
    for name in (*HELPERS, *TESTS):
        shutil.copy(ROOT / "tests" / name, tests / name)
    _run([str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)], folder)


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table of docs/install.md."""
    lines = [
        (
            row["python"],
            f"`{row['extra']}`" if row["extra"] else "none",
            row["resolution"],
            ", ".join(f"{name} {version}" for name, version in row["installed"].items()),
            megabytes(row["installed_bytes"]),
            row["problem"] or "works",
        )
        for row in rows
    ]
    return table(("Python", "extra", "versions", "installed", "size", "result"), lines)


def _run(command: Sequence[str], folder: Path = ROOT) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        lines = (done.stdout.strip() + "\n" + done.stderr.strip()).strip().splitlines()
        raise EnvironmentFailed(lines[-1] if lines else f"{command[0]} failed")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
