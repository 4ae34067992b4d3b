"""Names as they come from disks: any bytes, case and normal form, lists of any system, side files.

Each test stands for a kind of folder that users have.
"""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from kws.cli import main
from kws.errors import DataError
from kws.recordings.convert import convert
from kws.recordings.data import find_corpus, label_of, read_clips
from kws.recordings.files import find_recordings, look_through

COMPOSED = "größer"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def clip(path: Path) -> Path:
    """A second of noise at `path`, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(path.name)).normal(0, 500, 16_000).astype(np.int16)
    soundfile.write(os.fsencode(path), samples, 16_000, format=path.suffix[1:].upper())
    return path


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Three clips each of yes and größer, by three speakers."""
    for word in ("yes", COMPOSED):
        for speaker in "abc":
            clip(tmp_path / word / f"{speaker}_nohash_0.wav")
    return tmp_path


def splits(root: Path) -> dict[str, str]:
    """Clip -> split."""
    clips = find_corpus(root).clips
    return {each.path.relative_to(root).as_posix(): each.split for each in clips}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lists_of_any_editor(words: Path, encoding: str, ending: str) -> None:
    """UTF-8 and UTF-16, with and without byte-order mark, with any end of line."""
    lines = ending.join(["yes/a_nohash_0.wav", f"{COMPOSED}/b_nohash_0.wav", ""])
    (words / "validation_list.txt").write_bytes(lines.encode(encoding))
    found = splits(words)
    assert ["yes/a_nohash_0.wav", f"{COMPOSED}/b_nohash_0.wav"] == sorted(
        (name for name, split in found.items() if split == "validation"), reverse=True
    )


@pytest.mark.parametrize(
    "line",
    [
        r"yes\a_nohash_0.wav",
        "./yes/a_nohash_0.wav",
        r"C:\data\speech_commands\yes\a_nohash_0.wav",
        "/mnt/data/yes/a_nohash_0.wav",
        "Yes/A_nohash_0.WAV",
        "yes/a_nohash_0",
        "  yes/a_nohash_0.flac  ",
    ],
)
def test_lines_that_mean_a_clip(words: Path, line: str) -> None:
    """Windows separators, absolute paths, other case and other suffixes name the same clip."""
    (words / "testing_list.txt").write_text(line)
    found = splits(words)
    assert ["yes/a_nohash_0.wav"] == [name for name, split in found.items() if split == "testing"]


def test_decomposed_line(words: Path) -> None:
    """A list written on macOS decomposes umlauts."""
    (words / "testing_list.txt").write_text(f"{DECOMPOSED}/a_nohash_0.wav", encoding="utf-8")
    assert "testing" == splits(words)[f"{COMPOSED}/a_nohash_0.wav"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["a_nohash_0.wav"], r"1 of its 1 lines name no clip .* first 'a_nohash_0\.wav'"),
        (["yes/a_nohash_0.wav", "no/a_nohash_0.wav"], "1 of its 2 lines"),
        (["yes/a_nohash_0.wav", "yes/a_nohash_1.wav", "no/x.wav"], "2 of its 3 lines"),
    ],
)
def test_lines_that_name_nothing_stop(words: Path, lines: list[str], says: str) -> None:
    """A list of which no line, or only some, match is not guessed at."""
    (words / "validation_list.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=says):
        find_corpus(words)


def test_a_list_in_another_encoding_stops(words: Path) -> None:
    """A Latin-1 list of names that are UTF-8 names nothing; the line is shown escaped."""
    (words / "validation_list.txt").write_bytes(f"{COMPOSED}/a_nohash_0.wav".encode("latin-1"))
    with pytest.raises(DataError, match=r"gr\\udcf6\\udcdfer"):
        find_corpus(words)


@pytest.mark.parametrize("name", ["Yes", "YES"])
def test_a_folder_in_capitals_is_the_keyword(tmp_path: Path, name: str) -> None:
    """What the name spells counts, for the word and for its class."""
    clip(tmp_path / name / "a.wav")
    (found,) = find_corpus(tmp_path).clips
    assert ("yes", "yes") == (found.word, label_of(found.word))
    assert "Yes" == label_of("yes", ("Yes",))


def test_a_decomposed_folder_is_the_word(tmp_path: Path) -> None:
    """macOS and zip files decompose umlauts; labels are composed."""
    clip(tmp_path / DECOMPOSED / "a.wav")
    (found,) = find_corpus(tmp_path).clips
    assert COMPOSED == found.word == label_of(DECOMPOSED, (COMPOSED,))


def test_folders_that_spell_the_same_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are one word, and it is said."""
    for name in ("Marvin", "marvin", "MARVIN"):
        clip(tmp_path / name / f"{name}.wav")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell case apart")
    assert ["marvin"] * 3 == [each.word for each in find_corpus(tmp_path).clips]
    assert "MARVIN and Marvin and marvin spell the same word" in caplog.text


def test_clips_in_sub_folders(tmp_path: Path) -> None:
    """They count as clips of the word; equal names in two of them are two speakers."""
    clip(tmp_path / "yes" / "1.wav")
    clip(tmp_path / "yes" / "alice" / "1.wav")
    clip(tmp_path / "yes" / "bob" / "x" / "1.wav")
    clip(tmp_path / "yes" / "bob" / "c_nohash_0.wav")
    (tmp_path / "testing_list.txt").write_text("yes/alice/1.wav\n")
    found = {each.speaker: each.split for each in find_corpus(tmp_path).clips}
    assert {"1", "alice/1", "bob/x/1", "c"} == found.keys()
    assert ["alice/1"] == [speaker for speaker, split in found.items() if split == "testing"]


@pytest.fixture
def mac(words: Path) -> Path:
    """The same folder from a USB stick that a Mac wrote, or out of its zip file."""
    (words / "yes" / "._a_nohash_0.wav").write_bytes(b"\0\5\x16\7" + bytes(100))
    (words / "yes" / ".DS_Store").write_bytes(bytes(10))
    (words / "__MACOSX" / "yes").mkdir(parents=True)
    (words / "__MACOSX" / "yes" / "._b_nohash_0.wav").write_bytes(bytes(100))
    (words / "yes" / "__MACOSX").mkdir()
    (words / "yes" / "__MACOSX" / "a.wav").write_bytes(bytes(100))
    (words / "._yes").write_bytes(bytes(100))
    return words


def test_side_files_of_macos_are_nothing(mac: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither clips, words nor speakers, in no command, and not worth a word."""
    clips = find_corpus(mac).clips
    assert {"yes", COMPOSED} == {each.word for each in clips}
    assert 6 == len(clips) == len(find_recordings(mac))
    assert {"a", "b", "c"} == {each.speaker for each in clips}
    assert (6, []) == convert(mac, mac.parent / (mac.name + " copy"))
    assert "" == caplog.text


def test_data_check_counts_real_clips_only(mac: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """16 kHz clips beside side files: nothing unusable, exit code 0."""
    assert 0 == main(["data", "check", str(mac)])
    assert "unusable" not in capsys.readouterr().out


def test_every_kind_of_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is no recording is counted by suffix, once, and other audio is named with what to do."""
    kinds = ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf"]
    for kind in kinds:
        clip(tmp_path / "yes" / f"{kind}.{kind}")
    for name in ("a.m4a", "b.M4A", "notes.txt", "none", "README.md"):
        (tmp_path / "yes" / name).write_text("x")
    assert len(kinds) == len(find_corpus(tmp_path).clips)
    (record,) = caplog.records
    expected = "4 files that are not WAV, FLAC, Ogg, Opus, MP3, AIFF, AU or CAF (2 .m4a, "
    assert expected in record.getMessage()
    assert "1 .txt" in record.getMessage()
    assert "1 without suffix" in record.getMessage()
    assert "ffmpeg" in record.getMessage()


def test_unusable_is_an_exit_code(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A clip that cannot be read is named, counted, and makes `kws data check` exit with 1."""
    (words / "yes" / "bad.wav").write_text("no audio")
    assert 1 == main(["data", "check", str(words)])
    assert "unusable: 1" in capsys.readouterr().out


@pytest.fixture
def locked(words: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below yes that may not be entered, also where the tests run as root."""
    place = words / "yes" / "private"
    place.mkdir()
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if os.fspath(path) == os.fspath(place):
            raise PermissionError(13, "Permission denied", os.fspath(place))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return place


def test_a_folder_that_cannot_be_entered(
    words: Path, locked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, and what would be learned from the rest is not learned in silence."""
    assert [locked] == [problem.path for problem in look_through(words).unreadable]
    for find in (find_recordings, find_corpus):
        with pytest.raises(DataError, match=r"1 of the places .*private: cannot be entered"):
            find(words)
    written, problems = convert(words, words.parent / (words.name + " copy"))
    assert (6, [locked]) == (written, [problem.path for problem in problems])
    assert 1 == main(["data", "check", str(words)])
    assert "private: cannot be entered (Permission denied)" in capsys.readouterr().err


def test_links(words: Path) -> None:
    """A link to a clip is that clip; links to nowhere and to folders are named; no circles."""
    os.symlink(words / "yes" / "a_nohash_0.wav", words / "yes" / "linked.wav")
    assert 7 == len(find_corpus(words).clips)
    os.symlink(words, words / "yes" / "circle")
    os.symlink(words / "nowhere", words / "yes" / "broken.wav")
    assert ["broken.wav", "circle"] == sorted(p.path.name for p in look_through(words).unreadable)


@pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
def test_names_that_are_no_utf8(words: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Names of files are bytes: read, split, listed, converted."""
    odd = clip(Path(os.fsdecode(os.fsencode(words / "yes") + b"/gr\xf6\xdfer_nohash_0.wav")))
    (words / "testing_list.txt").write_bytes(b"yes/gr\xf6\xdfer_nohash_0.wav\n")
    corpus = find_corpus(words)
    assert [odd] == [each.path for each in corpus.split("testing")]
    _, used, problems = read_clips(corpus.clips)
    assert (7, []) == (len(used), problems)
    (words / "testing_list.txt").unlink()
    assert 7 == len(find_corpus(words).clips)
    assert (7, []) == convert(words, words.parent / (words.name + " copy"))
    with caplog.at_level(logging.WARNING):
        assert 0 == main(["data", "check", str(words)])


def test_measurements_tell_what_they_lack(
    tmp_path: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that can be read is measured; what cannot is named, and makes the exit code 1."""
    for index in range(3):
        clip(tmp_path / "data" / "low" / f"{index}.wav")
    command = ["eval", "--model", str(tones), "--data", str(tmp_path / "data"), "--split", "all"]
    assert 0 == main(command)
    (tmp_path / "data" / "low" / "bad.wav").write_text("no audio")
    capsys.readouterr()
    assert 1 == main(command)
    assert "1 file not used:\n  " in (printed := capsys.readouterr().out)
    assert "low/bad.wav: is not audio" in printed
    assert 1 == main([*command, "--json"])
    capsys.readouterr()
    command = ["calibrate", "--model", str(tones), "--background", str(tmp_path / "data")]
    assert 1 == main(command)
    assert "bad.wav: is not audio" in capsys.readouterr().out
    assert 1 == main(["eval-stream", "--model", str(tones), "--negatives", command[-1]])
    assert "bad.wav: is not audio" in capsys.readouterr().out
