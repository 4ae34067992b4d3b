"""The clips that a model is judged on, in each layout."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_model import LABELS, write_tone

from kws.config import LABELS as COMMANDS
from kws.errors import DataError
from kws.evaluation.evalset import load_evaluation_set


def counts(folder: Path, split: str | None = None) -> tuple[str, dict[str, int]]:
    """The split that was taken, and how many clips of each label are in it."""
    found = load_evaluation_set(folder, LABELS, split)
    assert len(found.audio) == len(found.targets) == len(found.names)
    return found.split, {
        label: int((found.targets == index).sum()) for index, label in enumerate(LABELS)
    }


def corpus(folder: Path) -> Path:
    """A corpus with a validation list, two keywords, two other words and noise."""
    listed = []
    for word, clips in {"low": 8, "high": 4, "a": 9, "b": 1}.items():
        for index in range(clips):
            write_tone(folder / word / f"{index:08x}_nohash_0.wav", word)
            if index % 2 == 0:
                listed.append(f"{word}/{index:08x}_nohash_0.wav")
    (folder / "validation_list.txt").write_text("\n".join(listed))
    write_tone(folder / "_background_noise_" / "hum.wav", "low", seconds=10.0)
    return folder


def test_validation_is_taken_where_nothing_is_testing(tmp_path: Path) -> None:
    """All keyword clips of the split, unknown as many as a keyword has, silence cut from noise."""
    expected = {"low": 4, "high": 2, "silence": 3, "unknown": 3}
    assert ("validation", expected) == counts(corpus(tmp_path))


def test_testing_is_taken_where_it_exists(tmp_path: Path) -> None:
    """As with the official archive, whose testing list names the clips to report on."""
    corpus(tmp_path)
    (tmp_path / "testing_list.txt").write_text("low/00000001_nohash_0.wav\n")
    split, found = counts(tmp_path)
    assert ("testing", 1) == (split, found["low"])


def test_split_can_be_chosen(tmp_path: Path) -> None:
    """Training clips can be chosen, and so can all."""
    assert 4 == counts(corpus(tmp_path), "training")[1]["low"]
    assert 8 == counts(tmp_path, "all")[1]["low"]


def test_folder_that_holds_the_corpus(tmp_path: Path) -> None:
    """A data folder with speech_commands inside is the same as that folder."""
    corpus(tmp_path / "speech_commands")
    assert counts(tmp_path / "speech_commands") == counts(tmp_path)


def test_official_test_archive_is_taken_as_it_is(tmp_path: Path) -> None:
    """Folders _silence_ and _unknown_ are those classes, unbalanced, and nothing is cut."""
    for index in range(5):
        write_tone(tmp_path / "_silence_" / f"{index}.wav", "silence")
        write_tone(tmp_path / "_unknown_" / f"{index:08x}_nohash_0.wav", "unknown")
    write_tone(tmp_path / "low" / "0000000a_nohash_0.wav", "low")
    expected = {"low": 1, "high": 0, "silence": 5, "unknown": 5}
    assert ("testing", expected) == counts(tmp_path)


def test_own_recordings_are_all_taken(tmp_path: Path) -> None:
    """Clips without lists or speakers were split by nobody; names may hold spaces and umlauts."""
    write_tone(tmp_path / "low" / "Käse 1.wav", "low")
    write_tone(tmp_path / "high" / "two.wav", "high")
    found = load_evaluation_set(tmp_path, LABELS)
    assert "all" == found.split
    assert ("high/two.wav", "low/Käse 1.wav") == found.names


def test_silence_folder_is_used_rather_than_noise(tmp_path: Path) -> None:
    """Recorded silence is what is wanted; none is cut beside it."""
    corpus(tmp_path)
    write_tone(tmp_path / "silence" / "00000000_nohash_1.wav", "silence")
    list_of_clips = tmp_path / "validation_list.txt"
    list_of_clips.write_text(list_of_clips.read_text() + "\nsilence/00000000_nohash_1.wav")
    assert 1 == counts(tmp_path)[1]["silence"]


def test_few_keywords_and_none(tmp_path: Path) -> None:
    """Keywords that are not there lower no average; other words alone are all judged."""
    for index in range(6):
        write_tone(tmp_path / "some" / "low" / f"{index}.wav", "low")
        write_tone(tmp_path / "some" / "a" / f"{index}.wav", "unknown")
        write_tone(tmp_path / "none" / "a" / f"{index}.wav", "unknown")
    assert {"low": 6, "high": 0, "silence": 0, "unknown": 6} == counts(tmp_path / "some")[1]
    assert 6 == counts(tmp_path / "none")[1]["unknown"]


def test_labels_that_a_model_lacks_are_left_out(tmp_path: Path) -> None:
    """A model without unknown and silence is judged on its keywords only."""
    found = load_evaluation_set(corpus(tmp_path), ("high", "low"))
    assert [2, 4] == np.bincount(found.targets).tolist()


def test_unreadable_clips_are_named(tmp_path: Path) -> None:
    """A broken file is left out and reported."""
    corpus(tmp_path)
    broken = tmp_path / "low" / "00000000_nohash_0.wav"
    broken.write_bytes(b"text")
    found = load_evaluation_set(tmp_path, LABELS)
    assert [broken] == [problem.path for problem in found.problems]
    assert "low/00000000_nohash_0.wav" not in found.names


def test_clips_that_all_fail(tmp_path: Path) -> None:
    """Recordings of another rate are counted, and the first one says what to do."""
    for index in range(3):
        path = write_tone(tmp_path / "low" / f"{index}.wav", "low")
        soundfile.write(path, np.zeros((48_000, 2), np.int16), 48_000)
    with pytest.raises(DataError, match=r"none of 3 clips .*48000 Hz.*`kws data convert`"):
        load_evaluation_set(tmp_path, LABELS)


def test_nothing_to_judge_on_says_what_there_is(tmp_path: Path) -> None:
    """An empty split names the clips of the others, and a missing folder itself."""
    corpus(tmp_path)
    with pytest.raises(DataError, match=r"no clip for the split testing .*validation 12"):
        load_evaluation_set(tmp_path, LABELS, "testing")
    with pytest.raises(DataError, match="there is no folder"):
        load_evaluation_set(tmp_path / "missing", LABELS)
    with pytest.raises(DataError, match="is a file; unpack it"):
        load_evaluation_set(tmp_path / "validation_list.txt", LABELS)
    with pytest.raises(DataError, match="holds no recordings"):
        load_evaluation_set(tmp_path / "low", COMMANDS)
