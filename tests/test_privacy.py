"""Nothing reaches out: no internet socket, and no file outside the folders that a command is given.

Every system call of the commands is traced, those of worker processes included.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the test model is made with onnx")

from tone_model import LABELS, write_model, write_tone

ROOT = Path(__file__).parent.parent
# Each silences telemetry, so that a test would see nothing where a user is seen.
SILENCERS = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI")
SOCKET = re.compile(r"\bsocket\((AF_\w+)")
CHANGED = re.compile(
    r"\b(?:open|openat|creat|mkdir|mkdirat|rename|renameat|renameat2|unlink|unlinkat|link|linkat|"
    r"symlink|symlinkat|truncate|mknod|mknodat)\((?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"
    r'"(?P<path>[^"]*)"(?P<rest>.*)'
)
READ_ONLY = re.compile(r"\bopen(at)?\((?!.*(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC))")
# Python's own, and what the libraries of sound servers keep where PortAudio looks for microphones.
ALLOWED = re.compile(r"/dev/(null|tty|snd/.*|shm/.*)|.*/[^/]*(pulse|jack|pipewire|alsa)[^/]*(/.*)?")
SOUND = re.compile(r".*/\.config|.*/[^/]*(pulse|jack|pipewire|alsa)[^/]*|/run/user/\d+")


@dataclass(frozen=True)
class Trace:
    """What a command did."""

    code: int
    output: str
    families: set[str]  # of its sockets, such as AF_UNIX
    written: set[Path]  # what it made, changed or removed


def traced(folder: Path, *arguments: str, telemetry: str | None = None) -> Trace:
    """Run Python under strace, at home in `folder`/home, and without a network where possible."""
    if not shutil.which("strace"):
        pytest.skip("no strace; on Debian: apt-get install strace")
    if subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    alone = ["unshare", "--net"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*alone, "true"], capture_output=True).returncode
    ):
        alone = []
    for name in ("home", "tmp", "here"):
        (folder / name).mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in SILENCERS}
    environment |= {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        environment.pop(name, None)
    if telemetry is not None:
        environment["ORT_DISABLE_TELEMETRY"] = telemetry
    record = folder / "calls"
    strace = ["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-e", "trace=%network,%file"]
    done = subprocess.run(
        [*alone, *strace, "-o", str(record), sys.executable, *arguments],
        env=environment,
        cwd=folder / "here",
        capture_output=True,
        text=True,
    )
    lines = record.read_text(errors="replace").splitlines()
    families = {found[1] for line in lines if (found := SOCKET.search(line))}
    written = {
        Path(found["folder"] or folder / "here") / found["path"]
        for line in lines
        if (found := CHANGED.search(line)) and not READ_ONLY.search(line) and " = -1 " not in line
    }
    return Trace(done.returncode, done.stdout + done.stderr, families, written)


def outside(trace: Trace, *allowed: Path) -> set[str]:
    """What was written elsewhere than in these folders and by others than the sound system."""
    return {
        str(path)
        for path in trace.written
        if not any(path == folder or folder in path.parents for folder in allowed)
        and not ALLOWED.match(str(path))
        and not SOUND.fullmatch(str(path))
    }


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that is not packaged, in model/, and recordings of it, in data/."""
    folder = tmp_path_factory.mktemp("material")
    write_model(folder / "model")
    for label in LABELS[:2]:
        for number in range(2):
            write_tone(folder / "data" / label / f"{number}_nohash_0.wav", label)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "info",
        "info --model {model}",
        "listen --demo",
        "listen --json --model {model} --input {data}/low/0_nohash_0.wav",
        "scan {data} --jobs 2 --out {out}/scan.jsonl --csv {out}/found.csv --model {model}",
        "bench --quick",
        "eval --data {data} --model {model}",
        "import {model}/m.onnx --labels low,high,silence,unknown --out {out}/taken",
    ],
)
def test_no_network_and_no_other_files(material: Path, tmp_path: Path, command: str) -> None:
    """A command works, opens no internet socket and writes into the folders given to it alone."""
    out = tmp_path / "out"
    out.mkdir()
    places = {"model": material / "model", "data": material / "data", "out": out}
    trace = traced(tmp_path, "-m", "kws", *command.format(**places).split())
    assert 0 == trace.code, trace.output
    assert trace.families <= {"AF_UNIX"}
    assert set() == outside(trace, out, tmp_path / "tmp")
    left = [p for p in (tmp_path / "tmp").iterdir() if not SOUND.fullmatch(str(p))]
    assert [] == left


# What ONNX Runtime does from 1.29 on as it is imported, but for the library itself.
TELEMETRY = """
import os, pathlib, socket

InferenceSession = None
if os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
    folder = pathlib.Path.home() / ".cache" / "Microsoft"
    folder.mkdir(parents=True)
    (folder / "identifier").write_text("")
    socket.socket(socket.AF_INET)
"""


@pytest.mark.parametrize("chosen", [None, "0"])
def test_telemetry_of_newer_versions(tmp_path: Path, chosen: str | None) -> None:
    """A stand-in for onnxruntime 1.29 does nothing, unless the user wants it; then it is seen.

    kws requires older versions, which have no telemetry for the tests above to see.
    """
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "onnxruntime.py").write_text(TELEMETRY, encoding="utf-8")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'newer')!r})\n"
        "from kws.model.runtimes import import_onnxruntime; import_onnxruntime()"
    )
    trace = traced(tmp_path, "-c", program, telemetry=chosen)
    assert 0 == trace.code, trace.output
    assert (chosen == "0") == ("AF_INET" in trace.families)
    assert (chosen == "0") == any("Microsoft" in path for path in outside(trace))


def test_the_users_setting_stays(tmp_path: Path) -> None:
    """With a real newer ONNX Runtime too, whose telemetry is then seen by the tests above."""
    from importlib import metadata

    version = tuple(map(int, metadata.version("onnxruntime").split(".")[:2]))
    if version < (1, 29) or sys.platform != "linux":
        pytest.skip("this onnxruntime has no telemetry; docs/install.md says how to try one")
    trace = traced(tmp_path, "-m", "kws", "info", telemetry="0")
    assert 0 == trace.code, trace.output
    assert any("Microsoft" in path for path in outside(trace))


def test_one_place_loads_the_runtime() -> None:
    """No file but kws/model/runtimes.py imports ONNX Runtime, or a package that does, by itself."""
    direct = re.compile(r"^\s*(import|from) (onnxruntime|piper|faster_whisper|kokoro\w*)\b", re.M)
    called = re.compile(r"(import_module|importorskip)\(\"(onnxruntime|piper|faster_whisper)\b")
    for top in ("kws", "export", "benchmarks", "firmware_demo"):
        for path in (ROOT / top).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if direct.search(text) or called.search(text):
                assert "disable_telemetry()" in text, f"{path} loads ONNX Runtime by itself"


def test_programs_that_are_started() -> None:
    """These files start programs and no others do; docs/dependencies.md names each program."""
    starts = {
        "app/outputs/command.py": ["--exec"],
        "audio/desktop.py": ["pactl"],
        "bench/startup.py": ["kws bench"],
        "model/trial.py": ["trial"],
        "train/voices.py": ["espeak-ng", "flite"],
        "web/bundle.py": ["npm"],
    }
    starting = re.compile(
        r"\b(subprocess\.(run|Popen|call|check_\w+)|os\.(system|popen|exec|spawn))"
    )
    package = ROOT / "kws"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if starting.search(path.read_text(encoding="utf-8"))
    }
    assert starts.keys() == found
    told = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert [] == [name for names in starts.values() for name in names if name not in told]
