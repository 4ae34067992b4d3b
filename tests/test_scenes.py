"""Scenes: words where the labels have them, labels read or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.config import SAMPLE_RATE
from kws.errors import AudioError, DataError
from kws.evaluation.scenes import (
    LOUDNESS,
    Spoken,
    build_scene,
    loudness,
    read_labels,
    read_scene,
    word_extent,
)
from kws.recordings.mix import level


def clip(start: float = 0.3, end: float = 0.7, amplitude: float = 3000.0) -> np.ndarray:
    """A second of faint noise with a tone in it."""
    generator = np.random.default_rng(2)
    audio = generator.normal(0, 5, SAMPLE_RATE)
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    inside = (time >= start) & (time < end)
    audio[inside] += amplitude * np.sin(2 * np.pi * 440 * time[inside])
    return audio.astype(np.int16)


def test_word_extent() -> None:
    """The loud part of a clip, to a block."""
    first, last = word_extent(clip())
    assert abs(first - 4_800) <= 160
    assert abs(last - 11_200) <= 160


def test_extent_of_silence() -> None:
    """A clip without any sound has an extent all the same."""
    first, last = word_extent(np.zeros(SAMPLE_RATE, np.int16))
    assert 0 <= first < last <= SAMPLE_RATE


def test_words_are_where_the_labels_have_them() -> None:
    """The scene is loud inside the words and quiet between them."""
    clips = [("yes", clip()), ("cat", clip(0.2, 0.5)), ("no", clip(amplitude=300.0))]
    scene = build_scene(clips, ("yes", "no"), np.random.default_rng(0))
    assert {"yes", "no"} == {spoken.word for spoken in scene.spoken}
    for spoken in scene.spoken:
        inside = scene.audio[int(spoken.start * SAMPLE_RATE) : int(spoken.end * SAMPLE_RATE)]
        before = scene.audio[int((spoken.start - 0.2) * SAMPLE_RATE) : int(spoken.start * 16_000)]
        assert pytest.approx(LOUDNESS, rel=0.1) == level(inside)
        assert level(before) < LOUDNESS / 10


def test_background_at_its_ratio() -> None:
    """Noise lies so far below the words, everywhere."""
    noise = np.random.default_rng(1).normal(0, 77, 3 * SAMPLE_RATE).astype(np.int16)
    scene = build_scene([("yes", clip())], ("yes",), np.random.default_rng(0), [noise], 20.0)
    assert pytest.approx(LOUDNESS / 10, rel=0.1) == level(scene.audio[: SAMPLE_RATE // 2])


def test_loudness_is_that_of_the_loud_parts() -> None:
    """Pauses and what is twenty times fainter change nothing; silence is no division by zero."""
    tone = 3000.0 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    assert 3000.0 / np.sqrt(2) == pytest.approx(loudness(tone), rel=0.01)
    with_pause = np.concatenate((tone, np.zeros(3 * SAMPLE_RATE), tone / 20))
    assert loudness(tone) == pytest.approx(loudness(with_pause))
    assert 0.0 < loudness(np.zeros(SAMPLE_RATE)) < 1e-6
    assert 0.0 < loudness(np.zeros(0)) < 1e-6


def test_same_seed_same_scene() -> None:
    """A scene is a function of its seed."""
    clips = [("yes", clip()), ("no", clip(0.1, 0.4))]
    one, same, other = (
        build_scene(clips, ("yes", "no"), np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert np.array_equal(one.audio, same.audio)
    assert one.spoken == same.spoken
    assert one.spoken != other.spoken


def test_no_clips() -> None:
    """A scene of nothing is refused."""
    with pytest.raises(DataError, match="at least one clip"):
        build_scene([], ("yes",), np.random.default_rng(0))


def test_audacity_labels(tmp_path: Path) -> None:
    """Tabs, any order, and Audacity's lines of frequencies."""
    path = tmp_path / "labels.txt"
    path.write_text("2.0\t2.5\tno\n\\\t100\t200\n0.5\t1.25\tyes\n", encoding="utf-8")
    assert (Spoken("yes", 0.5, 1.25), Spoken("no", 2.0, 2.5)) == read_labels(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_labels_of_any_editor(tmp_path: Path, encoding: str) -> None:
    """UTF-8 and UTF-16, with and without a byte-order mark."""
    (tmp_path / "a.txt").write_bytes("0.1\t0.2\tyes\r\n".encode(encoding))
    assert ["yes"] == [spoken.word for spoken in read_labels(tmp_path / "a.txt")]


def test_csv_labels(tmp_path: Path) -> None:
    """Columns by name; a byte order mark does no harm."""
    path = tmp_path / "labels.csv"
    path.write_text("word,start,end,who\nyes,0.5,1.25,me\n", encoding="utf-8-sig")
    assert (Spoken("yes", 0.5, 1.25),) == read_labels(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "0.5\t1.0\n", r"a\.txt:1: expected start, end and word"),
        ("a.txt", "0.5\t1.0\tyes\nx\t2.0\tno\n", r"a\.txt:2: expected"),
        ("a.txt", "2.0\t1.0\tyes\n", "ends before it starts"),
        ("a.txt", "nan\t1.0\tyes\n", "ends before it starts"),
        ("a.csv", "begin,end,word\n", "expected a first line start,end,word"),
        ("a.csv", "", "expected a first line"),
        ("a.csv", "start,end,word\n0.1\n", r"a\.csv:2: expected"),
    ],
)
def test_bad_labels(tmp_path: Path, name: str, content: str, reason: str) -> None:
    """The message names the file, the line and what was expected."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=reason):
        read_labels(path)


def test_missing_files(tmp_path: Path) -> None:
    """A missing label file and a missing recording are told apart."""
    recording, labels = tmp_path / "a.wav", tmp_path / "a.txt"
    labels.write_text("0.1\t0.2\tyes\n", encoding="utf-8")
    with pytest.raises(AudioError, match=r"a\.wav"):
        read_scene(recording, labels)
    soundfile.write(recording, clip(), SAMPLE_RATE)
    assert SAMPLE_RATE == len(read_scene(recording, labels).audio)
    with pytest.raises(DataError, match="cannot read the labels"):
        read_scene(recording, tmp_path / "b.txt")
