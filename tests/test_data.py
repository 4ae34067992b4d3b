"""The Speech Commands loader: layouts, splits, classes, and files that cannot be used."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.errors import DataError
from kws.recordings import data


def write(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> Path:
    """A quiet recording of noise at `path`, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(len(path.name))
    samples = generator.normal(0, 500, (int(seconds * rate), channels)).astype(np.int16)
    soundfile.write(path, samples, rate, format="OGG" if path.suffix == ".opus" else None,
                    subtype="OPUS" if path.suffix == ".opus" else None)  # fmt: skip
    return path


def test_lists_decide_the_split(tmp_path: Path) -> None:
    """Listed clips are validation and testing, whatever their suffix; the rest is training."""
    for name in ("yes/a_nohash_0.wav", "yes/b_nohash_0.flac", "no/c_nohash_0.opus"):
        write(tmp_path / name)
    (tmp_path / "validation_list.txt").write_text("yes/b_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/c_nohash_0.wav\n")
    corpus = data.find_corpus(tmp_path)
    assert {clip.path.name: clip.split for clip in corpus.clips} == {
        "a_nohash_0.wav": "training",
        "b_nohash_0.flac": "validation",
        "c_nohash_0.opus": "testing",
    }


def test_hash_decides_where_there_is_no_list(tmp_path: Path) -> None:
    """Without lists a speaker's hash gives the split, the same for all of the speaker's clips."""
    for index in range(30):
        write(tmp_path / f"yes/speaker{index}_nohash_0.wav")
        write(tmp_path / f"no/speaker{index}_nohash_1.wav")
    splits: dict[str, set[str]] = {}
    for clip in data.find_corpus(tmp_path).clips:
        splits.setdefault(clip.speaker, set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {"training", "validation", "testing"} == set.union(*splits.values())


def test_hash_agrees_with_the_official_lists() -> None:
    """The speaker hash puts every clip of the real data where its validation list does."""
    root = os.environ.get("KWS_DATA")
    if not root:
        pytest.skip("KWS_DATA names no recordings")
    corpus = data.find_corpus(Path(root) / "speech_commands")
    wrong = [c for c in corpus.clips if c.split != data.speaker_split(c.speaker)]
    assert [] == wrong


def test_test_archive_is_all_testing(tmp_path: Path) -> None:
    """Folders _silence_ and _unknown_ mark the official test archive; they are those classes."""
    for name in ("_silence_/x.wav", "_unknown_/tree_nohash_0.wav", "go/b_nohash_0.wav"):
        write(tmp_path / name)
    clips = data.find_corpus(tmp_path).clips
    assert {"testing"} == {clip.split for clip in clips}
    assert ["silence", "unknown", "go"] == [data.label_of(clip.word) for clip in clips]


def test_label_of_other_words_is_unknown() -> None:
    """A keyword is its own class and every other word is unknown."""
    assert ["yes", "unknown", "silence"] == [
        data.label_of(word) for word in ("yes", "zero", "silence")
    ]


def test_unusable_files_are_named_and_skipped(tmp_path: Path) -> None:
    """Corrupt, empty, stereo, wrong-rate and text files are problems with their names."""
    good = write(tmp_path / "yes/good_nohash_0.wav")
    write(tmp_path / "yes/rate_nohash_0.wav", rate=44_100)
    write(tmp_path / "yes/stereo_nohash_0.wav", channels=2)
    write(tmp_path / "yes/empty_nohash_0.wav", seconds=0)
    (tmp_path / "yes/text_nohash_0.wav").write_text("this is no audio")
    (tmp_path / "yes/nothing_nohash_0.wav").touch()
    audio, used, problems = data.read_clips(data.find_corpus(tmp_path).clips)
    assert [good] == [clip.path for clip in used]
    assert (1, 16_000) == audio.shape
    reasons = {problem.path.name.split("_")[0]: problem.reason for problem in problems}
    assert {"rate", "stereo", "empty", "text", "nothing"} == set(reasons)
    assert "44100 Hz" in reasons["rate"]
    assert "2 channels" in reasons["stereo"]


@pytest.mark.parametrize("content", [None, "file"])
def test_missing_or_empty_folder_is_a_clear_error(tmp_path: Path, content: str | None) -> None:
    """A folder that is missing, or holds no clips, says what was expected."""
    root = tmp_path / "data"
    if content:
        root.mkdir()
        (root / "notes.txt").write_text(content)
    with pytest.raises(DataError, match=r"folder per word|layout"):
        data.find_corpus(root)


def test_fit_length_centres() -> None:
    """Short clips get zeros on both sides; of long ones the loudest stretch is kept."""
    assert [0, 7, 0, 0] == data.fit_length(np.array([7], np.int16), 4).tolist()
    assert [8, 9] == data.fit_length(np.array([1, 2, 8, 9], np.int16), 2).tolist()
    assert [0, 0] == data.fit_length(np.zeros(5, np.int16), 2).tolist()
    long = np.zeros(50_000, np.int16)
    long[5000:9000] = 1000
    assert 4000 == pytest.approx(int(np.flatnonzero(data.fit_length(long))[0]), abs=2100)
    assert 4000 == np.count_nonzero(data.fit_length(long))


def test_silence_holds_digital_silence_and_repeats() -> None:
    """Silence is cut at random gains, every tenth clip is zeros, and a seed repeats it."""
    noise = [np.random.default_rng(0).normal(0, 1000, 40_000).astype(np.int16)]
    clips = data.cut_silence(noise, 20, np.random.default_rng(1))
    again = data.cut_silence(noise, 20, np.random.default_rng(1))
    assert [9, 19] == np.flatnonzero((clips == 0).all(axis=1)).tolist()
    assert np.array_equal(clips, again)
    levels = clips.astype(float).std(axis=1)
    assert levels.max() / np.sort(levels)[2] > 2


def test_silence_without_noise_is_a_clear_error() -> None:
    """No recording of a second or more: the error names the folder to fill."""
    with pytest.raises(DataError, match="_background_noise_"):
        data.cut_silence([np.zeros(10, np.int16)], 1, np.random.default_rng(0))
