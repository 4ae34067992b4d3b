"""The pages for one task each: the files that they show are written, and their commands run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import soundfile
from test_actions import Server

from kws.cli import main
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.recordings.data import read_recording

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = ("light-switch", "node-red", "game", "raspberry-pi", "configuration")
# What begins a command that cannot run here, since it changes the system, needs a microphone or
# another machine, or is run by another test.
ELSEWHERE = (
    "sudo ",
    "journalctl ",
    "/opt/kws/bin/kws devices",
    "/opt/kws/bin/kws doctor",
    "python docs/examples/",  # tests/test_examples.py
    "kws listen --webhook https://automation.example/",
)


def commands(page: str, address: str) -> Iterator[str]:
    """The lines of a page that can run here, with `address` for that of Node-RED.

    A file that the page shows is written when its turn comes.
    """
    content = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", content, re.DOTALL | re.MULTILINE):
        if named := re.match(r"# file: (\S+)\n", text):
            Path(named.group(1)).write_text(text, encoding="utf-8")
        elif not language:
            lines = text.replace("http://localhost:1880/kws", address).splitlines()
            skipped = (*ELSEWHERE, "kws listen") if page == "configuration" else ELSEWHERE
            yield from (line for line in lines if not line.startswith(skipped))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From "on" to "stop" of the demonstration."""
    path = tmp_path_factory.mktemp("audio") / "on off stop.wav"
    audio = read_recording(RECORDING)
    soundfile.write(path, audio[14 * SAMPLE_RATE : 19 * SAMPLE_RATE], SAMPLE_RATE)
    return path


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_run(
    page: str,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each that can, in order and in one folder, on the demonstration recording."""
    if page == "light-switch" and shutil.which("sh") is None:
        pytest.skip("its script needs sh")
    monkeypatch.chdir(tmp_path)
    detected = 0
    with closing(Server()) as server:
        for line in commands(page, server.url):
            program, *arguments = shlex.split(line, comments=True)
            assert "kws" == program
            if arguments[0] == "listen":
                arguments += ["--input", str(recording), "--no-verifier"]
            assert 0 == main(arguments), line
            output = capsys.readouterr()
            assert "warning" not in output.err
            detected += "off" in output.out or "stop" in output.out
        if page == "node-red":
            assert b'"keyword": "stop"' in server.received[0][1]
    if page == "light-switch":
        lines = Path("light.log").read_text(encoding="utf-8").splitlines()
        assert {"the light is on", "the light is off"} == set(lines)
    assert detected or page in ("game", "configuration")
