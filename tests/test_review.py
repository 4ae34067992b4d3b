"""Recordings of detections: what is kept and for how long, and what `kws review` makes of them."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_model import tone

from kws import Detection
from kws.app.events import End, Paused
from kws.app.outputs.recordings import Recordings
from kws.app.review import Review, check_word
from kws.cli import main, review
from kws.config import SAMPLE_RATE
from kws.errors import DataError, KwsError, SettingError

HOP = np.full(1280, 5, np.int16)


def words(count: int) -> np.ndarray:
    """So many times "low", and once "high", with quiet between them, (samples,) int16."""
    pause = np.zeros(2 * SAMPLE_RATE, np.int16)
    spoken = [part for _ in range(count) for part in (pause, tone("low"))]
    return np.concatenate([*spoken, pause, tone("high"), pause])


@pytest.fixture(scope="module")
def listened(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of recordings that listening has made: six of "low" and one of "high"."""
    folder = tmp_path_factory.mktemp("listened")
    soundfile.write(folder / "words.wav", words(6), SAMPLE_RATE)
    arguments = ["--input", str(folder / "words.wav"), "--model", str(tones), "--quiet"]
    assert 0 == main(["listen", *arguments, "--record-detections", str(folder / "recorded")])
    return folder / "recorded"


@pytest.fixture
def recorded(listened: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(listened, tmp_path / "recorded"))


def test_the_seconds_around_each_word(recorded: Path) -> None:
    """Names sort by time; the JSON is the event, and says where in the FLAC the word is."""
    names = [path.stem for path in sorted(recorded.glob("*.flac"))]
    assert names == [path.stem for path in sorted(recorded.glob("*.json"))]
    assert ["low"] * 6 + ["high"] == [name.partition("Z_")[2] for name in names]
    assert 0o700 == recorded.stat().st_mode & 0o777 or os.name == "nt"
    for name in names[1:-1]:
        event = json.loads((recorded / f"{name}.json").read_bytes())
        assert ("detection", 1) == (event["event"], event["v"])
        audio, _ = soundfile.read(recorded / f"{name}.flac", dtype="int16")
        start, end = (round(event["recording"][key] * SAMPLE_RATE) for key in ("start", "end"))
        assert abs(1.5 * SAMPLE_RATE - start) <= 1
        assert abs(1.0 * SAMPLE_RATE - (len(audio) - end)) <= 1
        loud = np.flatnonzero(np.abs(audio) > 1000)
        assert start - 0.1 * SAMPLE_RATE < loud[0] < loud[-1] < end + 0.5 * SAMPLE_RATE


def record(output: Recordings, hops: int) -> Detection:
    """So much audio passes, and a word is detected at its end."""
    detection = Detection("go", 0.5, 0.0, 0.5, time=1_000_000.0 + hops / 1000)
    for index in range(hops):
        output.observe(HOP, [], [detection] if index == hops - 1 else [])
    output.put(detection)
    output.put(End(0.0, "end", 1.0, 1))
    return detection


def test_the_oldest_go_and_other_files_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By number and by size; two of one time have two names."""
    own = tmp_path / "0000-my-own.flac"
    own.write_bytes(b"x")
    (tmp_path / "reviewed").mkdir()
    output = Recordings(tmp_path, 3, 10_000_000)
    told = f"are recorded in {tmp_path}, at most 3 recordings and 10 MB; the oldest go"
    assert told in capsys.readouterr().err
    for hops in (20, 20, 21, 22, 23):
        record(output, hops)
    output.close()
    left = sorted(path.name for path in tmp_path.glob("*.json"))
    assert 3 == len(left)
    assert "021Z" in left[0]
    assert own.exists()
    output = Recordings(tmp_path, 1000, 1)
    record(output, 24)
    output.close()
    assert 1 == len(list(tmp_path.glob("*.json")))


def test_a_folder_that_is_gone_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, and recording goes on when the folder can be made again."""
    folder = tmp_path / "recorded"
    output = Recordings(folder, 10, 10_000_000)
    folder.rmdir()
    folder.write_bytes(b"in the way")
    record(output, 20)
    record(output, 21)
    output._recordings.put(None)
    output._thread.join()
    assert 1 == caplog.text.count("a detection was not recorded: File exists")
    with pytest.raises(KwsError, match="cannot write"):
        Recordings(folder, 10, 10_000_000)
    folder.unlink()
    output = Recordings(folder, 10, 10_000_000)
    folder.rmdir()
    record(output, 22)
    output.close()
    assert 1 == len(list(folder.glob("*.flac")))


def test_what_was_said_before_a_pause_is_forgotten(tmp_path: Path) -> None:
    output = Recordings(tmp_path, 10, 10_000_000)
    for _ in range(30):
        output.observe(HOP, [], [])
    output.put(Paused(0.0))
    record(output, 5)
    output.close()
    (path,) = tmp_path.glob("*.flac")
    assert 5 * len(HOP) == soundfile.info(path).frames


def answer(folder: Path, keys: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(keys))
    return main(["review", str(folder)])


def test_marks_become_folders_that_calibrate_and_finetune_take(
    recorded: Path,
    tones: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Right, wrong, another word, skipped and undone; the next time begins where it ended."""
    assert 0 == answer(recorded, "rxrw", monkeypatch)
    assert "7 of 7 recordings are left" in capsys.readouterr().out
    assert 0 == answer(recorded, "wus o../x\nolow\nr" + "osecond word\nq", monkeypatch)
    output = capsys.readouterr().out
    assert "4 of 7 recordings are left" in output
    assert "undone: low" in output
    assert "expected a word that can be a folder's name, got '../x'" in output
    out = recorded / "reviewed"
    assert {"low": 4, "second word": 1, "_unknown_": 1} == {
        folder.name: len(list(folder.glob("*.flac"))) for folder in (out / "words").iterdir()
    }
    background = out / "background"
    assert 1 == len(list(background.iterdir()))

    arguments = ["--model", str(tones), "--background", str(background), "--target-fa", "0"]
    assert 0 == main(["calibrate", *arguments])
    assert "false accepts 1 before" in capsys.readouterr().out

    assert 0 == answer(recorded, "r", monkeypatch)
    own_words = pytest.importorskip("kws.train.own_words", reason="torch is not installed")
    assert {"low": (4, 1)} == own_words.load_own_words(out / "words", ["low"]).clips


def test_without_an_output_device_the_path_is_told(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise KwsError("no PortAudio")

    monkeypatch.setattr("kws.audio.portaudio.load_sounddevice", missing)
    assert 0 == answer(recorded, "pq", monkeypatch)
    first = min(recorded.glob("*.flac"))
    assert f"cannot play it (no PortAudio): {first}" in capsys.readouterr().out


def test_the_picture_marks_the_word(recorded: Path) -> None:
    """In ASCII too."""
    levels, word = review.picture(Review(recorded).recordings[1], "ascii").splitlines()
    assert levels.isascii()
    first = len(word) - len(word.lstrip())
    assert "low" in word
    assert levels[first:].strip()[0] in "+*#%"


@pytest.mark.parametrize("word", ["", " a", "a/b", "a\\b", "..", "_x_", "a\n", "x" * 99, "a."])
def test_words_that_are_none(word: str) -> None:
    with pytest.raises(SettingError):
        check_word(word)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"keyword": "../x", "score": 1, "time": null, "recording": {}}']
)
def test_files_that_are_none(recorded: Path, text: str) -> None:
    """Descriptions and marks; and folders without any."""
    (recorded / "review.json").write_text(text, encoding="ascii")
    with pytest.raises(DataError, match=r"review\.json does not hold marks"):
        Review(recorded)
    (recorded / "review.json").unlink()
    next(recorded.glob("*low.json")).write_text(text, encoding="ascii")
    with pytest.raises(DataError, match="does not describe a detection"):
        Review(recorded)
    for folder in (recorded / "none", recorded.parent):
        with pytest.raises(DataError, match="kws listen --record-detections"):
            Review(folder)


def test_keys_of_a_terminal(recorded: Path) -> None:
    """A key counts at once, a word is typed as a line, and the terminal is as it was afterwards."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with subprocess.Popen(
        [sys.executable, "-m", "kws", "review", str(recorded)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout
        for keys, shown in ((b"r", b"1/7"), (b"o", b"2/7"), (b"new\n", b"which"), (b"q", b"3/7")):
            read = b""
            while shown not in read:
                assert select.select([process.stdout], [], [], 30)[0], read
                more = os.read(process.stdout.fileno(), 4096)
                assert more, read
                read += more
            os.write(ours, keys)
        assert 0 == process.wait(30)
    assert before == termios.tcgetattr(theirs)
    os.close(ours)
    os.close(theirs)
    found = Review(recorded)
    assert ["low", "new", None] == [found.word(each) for each in found.recordings[:3]]
