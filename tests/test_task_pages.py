"""The pages for one task each: the files that they show are written, and their commands run.

Those of home-assistant.md, web.md and wyoming.md are run by the tests of those servers.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_actions import Server

from kws import load_model
from kws.cli import config, main
from kws.cli.settings import parse
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING, SPOKEN
from kws.recordings.data import read_recording

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EVERY_PAGE = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
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
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(page: str, address: str) -> Iterator[str]:
    """The lines of a page that can run here, with `address` for that of Node-RED.

    A file that the page shows is written when its turn comes.
    """
    content = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for language, text in BLOCK.findall(content):
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


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda path: path.stem)
def test_options_are_those_of_the_command(page: Path) -> None:
    """Each line with `kws listen`, `serve` or `config` can be copied: its options are taken."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config.add_arguments(parser)
    text = "".join(block for _, block in BLOCK.findall(page.read_text(encoding="utf-8")))
    text = re.sub(r"<\(.*?\)", "FILE", text)
    for line in re.findall(r"\bkws (?:listen|serve|config) ([^<>|\n]*)", text):
        line = re.sub(r"--config \S+", "", line)  # its file is not here
        parse(parser, shlex.split(line, comments=True))


def test_every_page_has_a_picture_and_every_picture_a_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(DOCS / "tools")
    sessions = importlib.import_module("task_pictures").SESSIONS
    pages = {*PAGES, *sessions, "web"}
    shown = {
        name
        for page in pages
        for name in re.findall(r"\(pictures/(.*?)\)", (DOCS / f"{page}.md").read_text("utf-8"))
    }
    assert pages == {name.partition(".")[0] for name in shown}
    programs = "".join(path.read_text("utf-8") for path in (DOCS / "tools").glob("*.py"))
    drawn = {f"{page}.svg" for page in sessions}
    for picture in (DOCS / "pictures").iterdir():
        assert picture.name in drawn or picture.name in programs, picture.name


def test_from_listening_to_a_model_that_has_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of review.md in order, with the keys that a person would press."""
    for package in ("torch", "onnx"):
        pytest.importorskip(package, reason=f"kws finetune needs {package}")
    monkeypatch.chdir(tmp_path)
    audio = read_recording(RECORDING)
    words = {each["word"]: each for each in json.loads(SPOKEN.read_text(encoding="utf-8"))}
    stop, go, up = (
        audio[int((words[word]["start"] - 0.8) * SAMPLE_RATE) :][: 2 * SAMPLE_RATE]
        for word in ("stop", "go", "up")
    )
    soundfile.write("words.wav", np.concatenate([stop, go] * 5 + [up]), SAMPLE_RATE)
    soundfile.write("room.wav", audio[: SAMPLE_RATE // 2], SAMPLE_RATE)
    added = {
        "listen": ["--input", "words.wav"],
        "finetune": ["--epochs", "1", "--threads", "1"],
    }
    for line in commands("review", ""):
        _, command, *arguments = shlex.split(line, comments=True)
        monkeypatch.setattr("sys.stdin", io.StringIO("r" * 10 + "w"))
        assert 0 == main([command, *arguments, *added.get(command, [])]), line
    output = capsys.readouterr().out
    assert "11 of 11 recordings are left" in output
    assert "1  recordings/reviewed/background" in output
    assert {"stop", "go"} < {*load_model("my-model").manifest.labels}
    assert load_model("calibrated").manifest.verifier != load_model().manifest.verifier
