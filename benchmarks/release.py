"""`make release-check`, or `python -m benchmarks.release`: walk the checklist of a release.

Every step that a program can check is checked, in the order of CONTRIBUTING.md, and all of them
even where one fails. What is left in dist/ is what is to be published: wheel and source, built from
the files of the commit and nothing else, the list of what an installation holds (SBOM, CycloneDX),
and the hashes of all three. The tools come from an environment of their own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.environments import EnvironmentFailed, environment, python_of
from benchmarks.results import ROOT, read_results, uncommitted
from kws import __version__
from kws.demo import RECORDING

DIST = ROOT / "dist"
# The tools by version, flit-core too: other versions may write other bytes.
TOOLS = (
    "build==1.6.1",
    "cyclonedx-bom==7.5.0",
    "flit-core==4.2.0",
    "pipx==1.18.4",
    "twine==7.0.0",
    "uv==0.13.9",
)
NEEDED = ("kws/models/commands.json", "kws/demo/commands.opus", "kws/py.typed")
BY_HAND = (
    f"git tag --sign v{__version__} && git push origin v{__version__}",
    "twine upload dist/*.whl dist/*.tar.gz",
    "the same of the wheels for each system, artifacts of the workflow on that tag",
    "attach all of dist/ to the release's page, with its part of CHANGELOG.md",
)


class StepFailed(Exception):
    """A step of the checklist is not met; the message says what to do."""


@dataclass(frozen=True)
class Step:
    """One line of the checklist."""

    title: str
    check: Callable[[Path], str]  # takes the folder of the tools' programs; what it found


def committed(tools: Path) -> str:
    """Nothing differs from the commit, published figures included."""
    if changed := uncommitted(()):
        raise StepFailed(f"{len(changed)} files differ from the commit, first {changed[0]}")
    return _git("rev-parse", "--short", "HEAD")


def described(tools: Path) -> str:
    """The changes begin with this version, and no tag of it is on another commit."""
    first = first_version((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if first != __version__:
        raise StepFailed(
            f"CHANGELOG.md begins with {first}, expected {__version__}: name the version there and "
            "in kws/__init__.py"
        )
    tagged = _git("tag", "--list", f"v{__version__}", "--no-contains", "HEAD")
    if tagged:
        raise StepFailed(f"{tagged} was released from another commit; choose the next version")
    return __version__


def first_version(changes: str) -> str:
    """The first heading of a list of changes; empty where there is none."""
    heading = re.search(r"^## (\S+)", changes, re.M)
    return heading[1] if heading else ""


def figures(tools: Path) -> str:
    """The published figures are those of the models that ship."""
    documents = (path.read_text(encoding="utf-8") for path in (report.README, report.CARD))
    made = report.texts(read_results(), *documents)
    old = [path.name for path, text in made.items() if text != path.read_text(encoding="utf-8")]
    if old:
        raise StepFailed(f"{', '.join(old)}: run python -m benchmarks.report")
    return f"{len(made)} pages"


def built(tools: Path) -> str:
    """Two builds, in different folders, give the same bytes; they lie in dist/ then."""
    with tempfile.TemporaryDirectory() as scratch:
        builds = [build(tools, Path(scratch) / name) for name in ("first", "second")]
        first, second = ({path.name: digest(path) for path in each} for each in builds)
        if first != second:
            raise StepFailed(f"two builds differ: {first} and {second}")
        shutil.rmtree(DIST, ignore_errors=True)
        DIST.mkdir()
        for path in builds[0]:
            shutil.copy(path, DIST)
    return ", ".join(sorted(first))


def build(tools: Path, folder: Path) -> list[Path]:
    """The wheel for all machines and the source, built in a folder from the files of the commit."""
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    _run(
        [tools / "python", "-m", "build", "--no-isolation", folder],
        {"SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct"), "KWS_NATIVE": "0"},
    )
    return sorted((folder / "dist").iterdir())


def content(tools: Path) -> str:
    """The wheel has the package and nothing else, and its metadata is valid."""
    names = zipfile.ZipFile(_wheel()).namelist()
    if problem := wrong_content(names):
        raise StepFailed(problem)
    _run([tools / "twine", "--no-color", "check", "--strict", *_packages()])
    return f"{len(names)} files"


def wrong_content(names: Iterable[str]) -> str:
    """What is missing in a wheel or should not be there; empty where all is well."""
    packed = set(names)
    if missing := [name for name in NEEDED if name not in packed]:
        return f"the wheel lacks {', '.join(missing)}"
    inside = ("kws/", f"kws-{__version__}.dist-info/")
    if foreign := sorted(name for name in packed if not name.startswith(inside)):
        return f"the wheel has {foreign[0]}, which is none of kws"
    caches = sorted(name for name in packed if "__pycache__" in name)
    return f"the wheel has {caches[0]}" if caches else ""


def listed(tools: Path) -> str:
    """dist/ has a list of all that an installation of the wheel holds, in CycloneDX's form."""
    out = DIST / f"kws-{__version__}.cdx.json"
    with tempfile.TemporaryDirectory() as scratch:
        python = python_of(Path(scratch))
        _run([tools / "uv", "venv", "--quiet", "--clear", "--python", sys.executable, scratch])
        _run([tools / "uv", "pip", "install", "--quiet", "--python", python, _wheel()])
        command = [tools / "cyclonedx-py", "environment", "--output-reproducible"]
        files = ["--pyproject", ROOT / "pyproject.toml", "--output-file", out]
        _run([*command, *files, python])
    found = json.loads(out.read_text(encoding="utf-8"))
    found["metadata"]["component"]["version"] = __version__  # which pyproject.toml does not say
    out.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return ", ".join(f"{each['name']} {each['version']}" for each in found["components"])


def installs(tools: Path) -> str:
    """pipx and uv install the wheel as a program, which detects the demonstration's words."""
    for tool, command in (
        ("pipx", [tools / "pipx", "install", "--quiet", _wheel()]),
        ("uv", [tools / "uv", "tool", "install", "--quiet", _wheel()]),
    ):
        with tempfile.TemporaryDirectory() as scratch:
            _run([*command, "--python", sys.executable], homes(Path(scratch)))
            program = Path(scratch) / "bin" / "kws"
            _run([program, "--version"])
            said = _run([program, "listen", "--json-plain", "--input", RECORDING])
            if len(said.splitlines()) < 8:
                raise StepFailed(f"installed by {tool}, kws misses words of the demonstration")
    return "pipx install, uv tool install"


def homes(folder: Path) -> dict[str, str]:
    """Variables that keep what pipx and uv install below a folder, programs in its `bin`."""
    return {
        "PIPX_HOME": str(folder / "pipx"),
        "PIPX_BIN_DIR": str(folder / "bin"),
        "PIPX_MAN_DIR": str(folder / "man"),
        "UV_TOOL_DIR": str(folder / "uv"),
        "UV_TOOL_BIN_DIR": str(folder / "bin"),
    }


def hashed(tools: Path) -> str:
    """dist/SHA256SUMS has the hash of each file, in the form of sha256sum."""
    files = sorted(path for path in DIST.iterdir() if path.name != "SHA256SUMS")
    text = "".join(f"{digest(path)}  {path.name}\n" for path in files)
    (DIST / "SHA256SUMS").write_text(text, encoding="ascii")
    return f"{len(files)} files"


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


STEPS = (
    Step("all is committed", committed),
    Step("CHANGELOG.md begins with the version", described),
    Step("the published figures are current", figures),
    Step("two builds of the commit give the same bytes", built),
    Step("content and metadata of the wheel", content),
    Step("list of what an installation holds", listed),
    Step("pipx and uv install it, and it listens", installs),
    Step("hashes of what is to be published", hashed),
)


def main() -> int:
    """Walk the list; returns the exit code: 1 where a step failed."""
    try:
        tools = environment("release", TOOLS).parent
    except EnvironmentFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    failed = 0
    for step in STEPS:
        try:
            print(f"ok      {step.title}: {step.check(tools)}", flush=True)
        except (StepFailed, EnvironmentFailed, OSError) as error:
            print(f"FAILED  {step.title}: {error}", flush=True)
            failed += 1
    if failed:
        print(f"{failed} of {len(STEPS)} steps failed: this is no release")
        return 1
    for each in BY_HAND:
        print(f"by hand {each}")
    return 0


def _packages() -> list[Path]:
    found = [*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")]
    if not found:
        raise StepFailed("nothing was built")
    return found


def _wheel() -> Path:
    return next(path for path in _packages() if path.suffix == ".whl")


def _git(*arguments: str) -> str:
    return _run(["git", *arguments]).strip()


def _run(command: Iterable[str | Path], variables: Mapping[str, str] | None = None) -> str:
    """What a command prints; raises StepFailed with its last line."""
    words = [str(word) for word in command]
    # Installed programs must not find the package of this checkout.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    folder = ROOT if words[0] == "git" else Path(tempfile.gettempdir())
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=folder, env=own | dict(variables or {})
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise StepFailed(f"{Path(words[0]).name}: {last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
