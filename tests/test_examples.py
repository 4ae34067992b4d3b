"""The programs in docs/examples run as they stand there, on the demonstration recording."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kws import AudioFile, Detector
from kws.demo import RECORDING
from kws.recordings.data import read_recording

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
# In tests/test_listener.py and tests/test_wyoming.py.
ELSEWHERE = {"asyncio_loop.py", "callbacks.py", "feed.py", "loop.py", "wyoming_client.py"}


def run(*command: str | Path, audio: bytes = b"") -> list[str]:
    """The lines that a program prints; it ends well and complains of nothing."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        list(map(str, command)), input=audio, capture_output=True, cwd=ROOT, env=environment
    )
    assert (0, "") == (done.returncode, done.stderr.decode())
    return done.stdout.decode().splitlines()


@pytest.fixture(scope="module")
def spoken() -> list[str]:
    """What a detector finds in the recording."""
    with Detector() as detector, AudioFile(RECORDING) as source:
        return [detection.keyword for detection in detector.listen(source)]


def test_every_example_is_run() -> None:
    """A new example needs a test."""
    here = {"detect.c", "file.py", "game.py", "many_streams.py"}
    assert here | ELSEWHERE == {path.name for path in EXAMPLES.iterdir() if path.is_file()}


def test_file(spoken: list[str]) -> None:
    """The words of a file, in order."""
    lines = run(sys.executable, EXAMPLES / "file.py", RECORDING)
    assert spoken == [line.split()[-1] for line in lines]


def test_game() -> None:
    """Four words move, stop ends."""
    lines = run(sys.executable, EXAMPLES / "game.py", RECORDING)
    assert any("moves: 4  right" in line for line in lines), lines


def test_many_streams(spoken: list[str]) -> None:
    """Each stream has the words that it would have alone."""
    lines = run(sys.executable, EXAMPLES / "many_streams.py", *[RECORDING] * 3)
    for number in range(3):
        own = [line for line in lines if line.startswith(f"stream {number}: ")]
        assert spoken == [line.split()[-1] for line in own]


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_c(tmp_path: Path, spoken: list[str]) -> None:
    """It compiles as its comment tells, without a warning, and spots the same words."""
    firmware = ROOT / "firmware_demo"
    folders = [f"-I{firmware / name}" for name in ("include", "src", "generated")]
    sources = [*sorted(firmware.glob("src/*.c")), *sorted(firmware.glob("generated/*.c"))]
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", *folders]
    program = tmp_path / "detect"
    assert [] == run("cc", *flags, EXAMPLES / "detect.c", *sources, "-o", program)
    lines = run(program, audio=read_recording(RECORDING).tobytes())
    words = [line.split()[-1] for line in lines]
    assert len(words) >= 6  # without the verifier some are missed
    assert set(words) <= set(spoken)
