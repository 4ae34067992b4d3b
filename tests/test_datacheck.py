"""Recordings with planted faults, each of which must be found, and none where there is none."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_model import tone, write_tone

from kws.cli import main
from kws.recordings.data import find_corpus
from kws.recordings.datacheck import DataReport, check_data


def word(name: str, seed: int) -> np.ndarray:
    """A tone of 0.4 s in the middle of faint noise, as a clip of a word is."""
    generator = np.random.default_rng(seed)
    clip = generator.normal(0, 20, 16_000)
    clip[4800:11_200] += tone(name, generator.uniform(2000, 9000))[:6400]
    return clip.astype(np.int16)


def write(path: Path, clip: np.ndarray, rate: int = 16_000) -> Path:
    """A WAV file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, clip, rate)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve good clips of each of two words by twelve speakers, and a list of validation clips."""
    for name in ("low", "high"):
        for index in range(12):
            clip = word(name, index + (100 if name == "low" else 200))
            write(tmp_path / name / f"{index:08x}_nohash_0.wav", clip)
    listed = [f"{name}/{index:08x}_nohash_0.wav" for name in ("low", "high") for index in (0, 1)]
    (tmp_path / "validation_list.txt").write_text("\n".join(listed))
    return tmp_path


def found(folder: Path) -> list[tuple[str, str]]:
    """Kind and file name of every finding."""
    return [(f.kind, f.path.name) for f in check_data(find_corpus(folder)).findings]


def test_good_recordings_are_left_alone(folder: Path) -> None:
    """Nothing is found, and the splits are counted."""
    report = check_data(find_corpus(folder))
    assert () == report.findings
    assert (4, 2, 2) == (
        report.splits["validation"].clips,
        report.splits["validation"].speakers,
        report.splits["validation"].words,
    )
    assert 20 == report.splits["training"].clips
    assert {} == report.shared_speakers


def test_silent_clip(folder: Path) -> None:
    """Digital silence, and noise far below speech, are silent."""
    write(folder / "low" / "000000aa_nohash_0.wav", np.zeros(16_000, np.int16))
    write(folder / "low" / "000000ab_nohash_0.wav", word("low", 1) // 2000)
    assert {("silent", "000000aa_nohash_0.wav"), ("silent", "000000ab_nohash_0.wav")} == set(
        found(folder)
    )


def test_silence_may_be_silent(folder: Path) -> None:
    """The class silence is not blamed for what it is, nor for being silent twice."""
    for index in range(2):
        write_tone(folder / "_silence_" / f"{index}.wav", "silence")  # few, but it is no word
    assert [] == found(folder)


def test_clipped_clip(folder: Path) -> None:
    """A recording cut off at full scale."""
    loud = np.clip(word("low", 1).astype(int) * 20, -32768, 32767).astype(np.int16)
    write(folder / "low" / "000000aa_nohash_0.wav", loud)
    assert ("clipped", "000000aa_nohash_0.wav") in found(folder)


def test_cut_off_clips(folder: Path) -> None:
    """A word that ends with its clip, and one that was hardly recorded."""
    write(folder / "low" / "000000aa_nohash_0.wav", np.roll(word("low", 1), 4800))
    write(folder / "low" / "000000ab_nohash_0.wav", word("low", 2)[4800:8000])
    expected = {("cut off", "000000aa_nohash_0.wav"), ("cut off", "000000ab_nohash_0.wav")}
    assert expected == set(found(folder))


def test_duplicate_clip(folder: Path) -> None:
    """The same samples under another name and word; the first keeps its place."""
    write(folder / "low" / "000000aa_nohash_0.wav", word("high", 200))
    kinds = found(folder)
    assert ("duplicate", "000000aa_nohash_0.wav") in kinds
    assert 1 == [kind for kind, _ in kinds].count("duplicate")


def test_unusable_files(folder: Path) -> None:
    """Another rate, text with a WAV name and an empty file, each with its reason."""
    write(folder / "low" / "000000aa_nohash_0.wav", word("low", 1), rate=48_000)
    (folder / "low" / "000000ab_nohash_0.wav").write_text("text")
    write(folder / "low" / "000000ac_nohash_0.wav", np.zeros(0, np.int16))
    details = [finding.detail for finding in check_data(find_corpus(folder)).of("unusable")]
    assert details[0].startswith("is at 48000 Hz; expected 16000 Hz, which `kws data convert`")
    assert details[1].startswith("is not audio that can be read")
    assert details[2].startswith("holds no samples")


def test_mislabelled_clip(folder: Path) -> None:
    """A high tone among the low ones is found, and so is what it sounds like."""
    write(folder / "low" / "000000aa_nohash_0.wav", word("high", 7))
    report = check_data(find_corpus(folder))
    assert ["low that sounds like high"] == [
        finding.detail.partition(" (")[0] for finding in report.of("mislabelled")
    ]


def test_few_clips_are_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One clip per word says nothing about labels, and without names nobody knows the speakers."""
    write(tmp_path / "low" / "a.wav", word("high", 1))
    write(tmp_path / "high" / "a.wav", word("low", 2))
    (tmp_path / "validation_list.txt").write_text("low/a.wav")
    assert [("few", "high"), ("few", "low")] == found(tmp_path)
    assert 0 == main(["data", "check", str(tmp_path)])
    assert "file names tell no speakers" in capsys.readouterr().out


def test_folders_that_cannot_be_words(folder: Path) -> None:
    """An empty class, and one with the name of a class that is always there."""
    (folder / "nothing").mkdir()
    (folder / "_background_noise_").mkdir()
    for index in range(5):
        write(folder / "Unknown" / f"{index:08x}_nohash_0.wav", word("unknown", index))
    assert [("reserved", "Unknown"), ("empty", "nothing")] == found(folder)


def test_speaker_on_two_sides(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list that splits a speaker's clips is a leak: named, and exit code 1."""
    write(folder / "low" / "00000000_nohash_1.wav", word("low", 77))
    report: DataReport = check_data(find_corpus(folder))
    assert {"00000000": ("training", "validation")} == report.shared_speakers
    assert 1 == main(["data", "check", str(folder)])
    assert "speaker 00000000 is in training and validation" in capsys.readouterr().out


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text, JSON and CSV agree."""
    write(folder / "low" / "000000aa_nohash_0.wav", np.zeros(16_000, np.int16))
    rows = tmp_path / "found.csv"
    assert 0 == main(["data", "check", str(folder), "--csv", str(rows)])
    printed = capsys.readouterr().out
    assert "silent: 1 (no sound)" in printed
    assert "no speaker is in two splits: 13 in all" in printed
    assert 0 == main(["data", "check", str(folder), "--json"])
    content = json.loads(capsys.readouterr().out)
    assert ["silent"] == [finding["kind"] for finding in content["findings"]]
    lines = rows.read_text(encoding="utf-8").splitlines()
    assert "kind,path,detail" == lines[0]
    assert lines[1].startswith("silent,")


def test_command_without_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder is one line and exit code 1."""
    assert 1 == main(["data", "check", str(tmp_path)])
    assert "holds no recordings" in capsys.readouterr().err
