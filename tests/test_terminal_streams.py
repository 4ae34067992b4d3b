"""Standard streams of any encoding, full, closed or gone: one line or quiet success."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_model import tone

from kws.cli import main

pytestmark = pytest.mark.skipif(os.name == "nt", reason="descriptors of a POSIX shell")


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three words of the tone model with pauses."""
    pause = np.zeros(12_000, np.int16)
    words = [part for word in ("low", "high", "low") for part in (pause, tone(word))]
    path = tmp_path_factory.mktemp("wave") / "a.wav"
    soundfile.write(path, np.concatenate([*words, pause]), 16_000)
    return path


def shell(
    redirection: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`kws ARGUMENTS REDIRECTION` in a shell."""
    program = f'"$0" -m kws "$@" {redirection}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", program, sys.executable, *arguments],
        capture_output=True,
        check=False,
        timeout=120,
        encoding="latin-1",
        env=os.environ | environment,
    )


FULL = "kws: error: cannot write to standard output (No space left on device)"


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">&-", 0, ""),
        (">/dev/full", 1, FULL),
        ("2>&-", 0, ""),
        (">&- 2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full 2>/dev/full", 1, ""),
        ("2>/dev/null | head -c 10", 0, ""),
        ("2>/dev/null | true", 0, ""),
    ],
)
def test_streams_of_any_state(
    redirection: str, code: int, said: str, tones: Path, wave: Path
) -> None:
    """Closed, full, and read by somebody who goes away."""
    if "/dev/full" in redirection and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = shell(redirection, "listen", "--quiet", "--model", str(tones), "--input", str(wave))
    assert code == done.returncode
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") <= 3


@pytest.mark.parametrize("arguments", [("--help",), ("info",), ("listen", "--help")])
def test_a_reader_that_goes_away(arguments: tuple[str, ...]) -> None:
    """Whatever the command is."""
    done = shell("| true", *arguments)
    assert (0, "") == (done.returncode, done.stderr)


def test_what_cannot_be_encoded(tones: Path, wave: Path, tmp_path: Path) -> None:
    """A label is escaped, in JSON as JSON does; nothing fails at the moment of a detection."""
    text = (tones / "tones.json").read_text(encoding="utf-8")
    (tmp_path / "m").mkdir()
    for path in tones.iterdir():
        (tmp_path / "m" / path.name).write_bytes(path.read_bytes())
    changed = text.replace('"low"', '"h\u00f6h\u3044"')
    (tmp_path / "m" / "tones.json").write_text(changed, encoding="utf-8")
    command = ("listen", "--model", str(tmp_path / "m"), "--input", str(wave))
    plain = shell("", *command, "--quiet", PYTHONIOENCODING="latin-1")
    assert (0, "h\u00f6h\\u3044") == (plain.returncode, plain.stdout.split()[2])
    lines = shell("", *command, "--json", PYTHONIOENCODING="ascii")
    words = [json.loads(line).get("keyword") for line in lines.stdout.splitlines()]
    assert words.count("h\u00f6h\u3044") == 2


def test_names_that_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, line breaks and bytes that are no text, in names of files."""
    word = tmp_path / "yes"
    word.mkdir()
    names = ["\x1b[2J.wav", "a\nkws: error: b.wav", os.fsdecode(b"gr\xf6\xdfer.wav"), "\u202eb.wav"]
    for name in names:
        (word / name).write_text("no audio")
    assert 1 == main(["data", "check", str(tmp_path), "--csv", str(tmp_path / "found.csv")])
    assert 1 == main(["listen", "--input", str(word / names[0])])
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not [each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs")
                    and each != "\n"]  # fmt: skip
    assert r"\x1b[2J.wav" in captured.err
    assert b"gr\xf6\xdfer.wav" in (tmp_path / "found.csv").read_bytes()
    assert 1 == main(["data", "check", str(tmp_path), "--json"])
    assert str(word / names[2]) in capsys.readouterr().out.encode().decode("unicode_escape")
