"""Recordings of every kind become 16 kHz mono WAV files."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.cli import main
from kws.errors import DataError
from kws.recordings.convert import convert
from kws.recordings.data import read_recording


def write(path: Path, rate: int, channels: int = 1, seconds: float = 0.5) -> Path:
    """A tone of 440 Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(path, np.stack([tone] * channels, axis=1), rate)
    return path


def test_everything_becomes_16_khz_mono(tmp_path: Path) -> None:
    """48 kHz stereo, 44.1 kHz FLAC and MP3; folders, spaces and umlauts in names are kept."""
    write(tmp_path / "in" / "süß e" / "a b.wav", 48_000, channels=2)
    write(tmp_path / "in" / "x" / "b.flac", 44_100)
    write(tmp_path / "in" / "x" / "c.mp3", 44_100)
    (tmp_path / "in" / "validation_list.txt").write_text("x/b.wav\n")
    written, problems = convert(tmp_path / "in", tmp_path / "out")
    assert (3, []) == (written, problems)
    for name in ("süß e/a b.wav", "x/b.wav", "x/c.wav"):
        assert 8000 == pytest.approx(len(read_recording(tmp_path / "out" / name)), abs=1200)
    assert "x/b.wav\n" == (tmp_path / "out" / "validation_list.txt").read_text()


def test_channels_that_cancel(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One channel inverted: the copy is as loud as each of them, and it is said."""
    sound, rate = soundfile.read(write(tmp_path / "mono.wav", 16_000))
    (tmp_path / "in" / "x").mkdir(parents=True)
    soundfile.write(tmp_path / "in" / "x" / "a.wav", np.stack([sound, -sound], axis=1), rate)
    with caplog.at_level(logging.WARNING):
        convert(tmp_path / "in", tmp_path / "out")
    mono, copy = read_recording(tmp_path / "mono.wav"), read_recording(tmp_path / "out/x/a.wav")
    np.testing.assert_allclose(copy[640:], mono[640:], atol=1)  # after a fade from the mean
    assert "cancel each other out" in caplog.text


def test_narrow_recordings_are_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """8 kHz can be converted, but not made whole."""
    write(tmp_path / "in" / "x" / "a.wav", 8_000)
    with caplog.at_level(logging.WARNING):
        convert(tmp_path / "in", tmp_path / "out")
    assert "less than 16 kHz" in caplog.text


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    """Text with a WAV name, and a second recording for the same copy; the rest is written."""
    write(tmp_path / "in" / "x" / "a.flac", 16_000)
    write(tmp_path / "in" / "x" / "a.wav", 16_000)
    (tmp_path / "in" / "x" / "b.wav").write_text("text")
    written, problems = convert(tmp_path / "in", tmp_path / "out")
    assert 1 == written
    assert ["a.wav", "b.wav"] == [problem.path.name for problem in problems]
    assert "already called" in problems[0].reason


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that exists is left alone, and one without recordings is an error."""
    write(tmp_path / "in" / "x" / "a.wav", 8_000)
    with pytest.raises(DataError, match="already exists"):
        convert(tmp_path / "in", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no recordings"):
        convert(tmp_path / "empty", tmp_path / "out")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints how many; a place that cannot be written is one line and exit code 1."""
    write(tmp_path / "in" / "x" / "a.wav", 48_000, channels=2)
    arguments = ["data", "convert", str(tmp_path / "in"), "--out"]
    assert 0 == main([*arguments, str(tmp_path / "out")])
    assert "1 recordings in" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert 1 == main([*arguments, str(tmp_path / "file" / "out")])
    assert "cannot write" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(arguments[:-1])
