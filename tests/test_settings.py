"""Options from a file: which keys it may have, what wins, and what a wrong one is told."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tone_model import tone

from kws.cli import config, listen, main
from kws.cli.settings import Options, add_config, as_toml, keys, parse
from kws.config import SAMPLE_RATE


def parser() -> argparse.ArgumentParser:
    """Of `kws config`, and so of `kws serve`."""
    own = argparse.ArgumentParser(prog="kws config", allow_abbrev=False)
    config.add_arguments(own)
    return own


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its file."""
    return tmp_path / "kws.toml"


def options(file: Path, text: str, *flags: str) -> Options:
    file.write_text(text, encoding="utf-8")
    return parse(parser(), ["--config", str(file), *flags])


def values(found: Options) -> dict[str, Any]:
    """The options by key."""
    return {key: getattr(found, action.dest) for key, action in keys(parser()).items()}


FILE = """\
keywords = ["stop", "go"]
cool-down = 2
device = 3
exec-timeout = 5  # seconds
monitor = "records"
json = true

[threshold]
stop = 0.5
"two words" = 1
"""


def test_the_file_says_what_flags_say(file: Path) -> None:
    flags = ["--keywords", "stop,go", "--cool-down", "2", "--device", "3", "--exec-timeout", "5"]
    flags += ["--monitor", "records", "--json", "--threshold", "stop=0.5,two words=1"]
    assert values(parse(parser(), flags)) == values(options(file, FILE))


def test_flags_win(file: Path) -> None:
    """Also over another key of which only one may be given, and a table is not mixed."""
    found = options(file, FILE, "--quiet", "--threshold", "go=0.6", "--cool-down", "1")
    assert (True, False) == (found.quiet, found.json)
    assert ({"go": 0.6}, 1.0, ("stop", "go")) == (found.threshold, found.cool_down, found.keywords)
    origins = [found.origins[key] for key in ("quiet", "json", "threshold", "keywords", "after")]
    assert ["flag", "default", "flag", "file", "default"] == origins


@pytest.mark.parametrize("default", [None, [7]], ids=["no default", "a default"])
@pytest.mark.parametrize(
    "kind",
    [{"action": "append"}, {"action": "extend", "nargs": "+"}],
    ids=["append", "extend"],
)
def test_options_that_are_given_several_times(
    file: Path, kind: dict[str, Any], default: list[int] | None
) -> None:
    """By flags, by the file, by both, where flags win, and by neither."""
    own = argparse.ArgumentParser()
    add_config(own)
    own.add_argument("--number", type=int, default=default, **kind)
    file.write_text("number = [3, 4]", encoding="utf-8")
    flags, config = ["--number", "1", "--number", "2"], ["--config", str(file)]
    by_flags = [*(default or []), 1, 2]
    for arguments, numbers, origin in (
        (flags, by_flags, "flag"),
        (config, [3, 4], "file"),
        ([*config, *flags], by_flags, "flag"),
        ([], default, "default"),
    ):
        found = parse(own, arguments)
        assert (numbers, origin) == (found.number, found.origins["number"]), arguments
        assert vars(found.reread()) == vars(found)


def test_wake_words_of_several_models(file: Path) -> None:
    """One flag for each, one for all, or the file."""
    for some in (["a", "--wyoming-model", "b"], ["a", "b"]):
        assert ["a", "b"] == options(file, "", "--wyoming-model", *some).wyoming_model
    text = 'wyoming-model = ["a", "b"]'
    assert ["a", "b"] == options(file, text).wyoming_model
    assert ["c"] == options(file, text, "--wyoming-model", "c").wyoming_model


def test_what_is_printed_is_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the values hold, reading it again gives the same, now from the file."""
    flags = ["--keywords", "stop,Größe", "--threshold", "stop=0.5,a=b=1e-05", "--connected"]
    flags += ["--exec", "say '\"{keyword}\"' \\ \t\x7f\x01", "--mqtt-name", "Küche", "--json"]
    assert 0 == main(["config", *flags])
    printed = capsys.readouterr().out
    assert "connected = true" in printed
    line = next(line for line in printed.splitlines() if line.startswith("keywords"))
    assert line.endswith("# flag")
    again = options(file, printed)
    assert values(parse(parser(), flags)) == values(again)
    assert "file" == again.origins["exec"]


def test_one_file_for_listening_and_serving(
    file: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What only the other command has is checked, and left to it."""
    flags = ["--wyoming", "tcp://127.0.0.1:10400", "--wyoming-allow", "10.0.0.0/8,::1"]
    assert 0 == main(["config", *flags, "--model", str(tones)])
    printed = capsys.readouterr().out
    assert values(options(file, printed)) == values(
        parse(parser(), [*flags, "--model", str(tones)])
    )
    own = argparse.ArgumentParser()
    listen.add_arguments(own)
    found = parse(own, ["--config", str(file)], lambda: [parser()])
    assert (str(tones), False) == (found.model, hasattr(found, "wyoming"))
    file.write_text("wyoming = 5", encoding="utf-8")
    assert 2 == main(["listen", "--config", str(file)])
    assert "wyoming: expected a string, got 5" in capsys.readouterr().err


def test_every_option_has_a_place_when_the_file_is_read_again() -> None:
    """It opens source or action anew, waits for the next start, or is read with the model."""
    read = {"model", "threshold", "keywords", "sensitivity", "connected", "no_verifier", "monitor"}
    read |= {"after", "after_model", "within", "cool_down", "pause_on", "pause_for"}
    elsewhere = (*listen.SOURCE, *listen.ACTIONS, *listen.LASTING)
    names = {action.dest for action in keys(parser()).values()}
    assert read == {name for name in names if not name.startswith(elsewhere)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# x\nmqqt = 'a'", "kws.toml, line 2: mqqt: unknown key; did you mean mqtt?"),
        ("mqtt-password = 'x'", "line 1: mqtt-password: unknown key; did you mean mqtt-password-f"),
        ("config = 'x'", "line 1: config: unknown key"),
        ("[listen]\njson = true", "line 1: listen: unknown key"),
        ("json = 'yes'", 'line 1: json: expected true or false, got "yes"'),
        ("exec-timeout = true", "line 1: exec-timeout: expected a number, got true"),
        ("exec-timeout = -1", "exec-timeout: expected seconds above 0, got '-1'"),
        ("raw-rate = 0.5", "raw-rate: expected a whole number, got 0.5"),
        ("monitor = 5", "monitor: expected a string, got 5"),
        ("after = 2026-11-29", "after: expected a string, got the time 2026-11-29"),
        ("keywords = 'stop,go'", 'keywords: expected an array of strings, got "stop,go"'),
        ("keywords = ['stop,go']", "keywords: expected an array of strings, got ["),
        ("threshold.stop = '1'", "line 1: threshold: expected a number or a table of numbers, got"),
        ("sensitivity = 'hi'", 'sensitivity: expected one of low, medium, high, got "hi"'),
        ("json = true\nquiet = true", "expected one of json, quiet, got them together"),
        ("json = ", "kws.toml: expected TOML: Invalid value (at"),
        ("x = " + "[" * 9999, "kws.toml: expected TOML: "),
        ("json = true\njson = true", "kws.toml: expected TOML: "),
    ],
)
def test_wrong_files_are_one_line(
    file: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text, encoding="utf-8")
    assert 2 == main(["config", "--config", str(file)])
    error = capsys.readouterr().err
    assert 1 == len(error.splitlines())
    assert message in error


def test_files_that_cannot_be_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is missing, a folder, and what does not end."""
    for path, code in ((file, 1), (file.parent, 1), (Path("/dev/zero"), 2)):
        if path.name != "zero" or os.path.exists(path):
            assert code == main(["config", "--config", str(path)])
            assert str(path) in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_pipe_is_no_configuration(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody writes into it, and it could not be read again."""
    os.mkfifo(file)
    assert 2 == main(["config", "--config", str(file)])
    assert "kws.toml: expected a file, got a pipe" in capsys.readouterr().err


def test_listening_by_a_file(
    file: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command."""
    pause, audio = np.zeros(SAMPLE_RATE, np.int16), tmp_path / "words.wav"
    words = [pause, tone("low"), pause, tone("high"), pause]
    soundfile.write(audio, np.concatenate(words), SAMPLE_RATE)
    text = {"input": audio, "model": tones, "after": "low"}
    lines = [f"{key} = {as_toml(value)}" for key, value in text.items()]
    file.write_text("\n".join([*lines, "quiet = true"]), encoding="utf-8")
    assert 0 == main(["listen", "--config", str(file)])
    assert ["high"] == [line.split()[2] for line in capsys.readouterr().out.splitlines()]
