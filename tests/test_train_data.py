"""Recordings that a training run meets: few, odd, of the wrong kind, or not there at all."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

pytest.importorskip("torch", reason="training needs torch")

from kws.config import KEYWORDS, LABELS
from kws.errors import DataError
from kws.recordings.sentences import SpokenWord
from kws.train.fit import FitConfig, fit
from kws.train.materials import cut_word, load_material
from kws.train.network import NetworkConfig
from kws.train.sampler import SamplerConfig

pytestmark = pytest.mark.usefixtures("few_made_sounds")


def write(path: Path, audio: NDArray[np.int16], rate: int = 16_000) -> None:
    """A WAV file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate)


def sound(seed: int, seconds: float = 1.0) -> NDArray[np.int16]:
    """Noise with a louder stretch in its middle."""
    generator = np.random.default_rng(seed)
    clip = generator.normal(0, 100, round(16_000 * seconds))
    clip[len(clip) // 3 : len(clip) // 2] *= 30
    return clip.astype(np.int16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One clip of each keyword to train on and one to validate on, and some noise."""
    listed = []
    for index, word in enumerate(KEYWORDS):
        write(tmp_path / word / "Jürgen Groß_nohash_0.wav", sound(index))
        write(tmp_path / word / "someone else_nohash_0.wav", sound(100 + index))
        listed.append(f"{word}/someone else_nohash_0.wav")
    (tmp_path / "validation_list.txt").write_text("\n".join(listed), encoding="utf-8")
    write(tmp_path / "_background_noise_" / "a hum.wav", sound(7, seconds=20.0))
    return tmp_path


def test_one_clip_per_word_is_enough_to_run(folder: Path, tmp_path: Path) -> None:
    """Nothing divides by a number of clips less one; names may hold spaces and umlauts."""
    material = load_material(folder, LABELS, None)
    sampler = SamplerConfig(epoch_size=64, batch_size=32, streams=4)
    config = FitConfig(epochs=1, network=NetworkConfig(channels=8), sampler=sampler)
    scores = fit(material, tmp_path / "run", config)
    assert set(KEYWORDS) <= scores.recall.keys()
    assert (tmp_path / "run" / "best.pt").is_file()


def test_an_empty_class_is_named(folder: Path) -> None:
    """A folder without recordings is as good as none."""
    for path in (folder / "stop").iterdir():
        path.unlink()
    listed = folder / "validation_list.txt"
    lines = [line for line in listed.read_text(encoding="utf-8").split("\n") if "stop" not in line]
    listed.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"no training clips of stop; every keyword needs some$"):
        load_material(folder, LABELS, None)


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (48_000, 2)])
def test_a_class_of_the_wrong_kind_says_why(folder: Path, rate: int, channels: int) -> None:
    """Clips at other rates are never used; where a class has no others, the first is named."""
    clip = np.stack([sound(1)] * channels, axis=1)
    write(folder / "go" / "Jürgen Groß_nohash_0.wav", clip, rate)
    expected = rf"no training clips of go; .*1 could not be used, first .*is at {rate} Hz"
    with pytest.raises(DataError, match=expected):
        load_material(folder, LABELS, None)


def test_a_few_of_the_wrong_kind_are_listed(folder: Path) -> None:
    """The rest of the class is used."""
    write(folder / "go" / "third_nohash_0.wav", sound(3), 48_000)
    material = load_material(folder, LABELS, None)
    assert ["third_nohash_0.wav"] == [problem.path.name for problem in material.problems]
    assert 1 == len(material.words["go"])


@pytest.mark.parametrize("name", ["silence", "_silence_"])
def test_a_folder_of_silence_is_no_word(folder: Path, name: str) -> None:
    """The names of the classes mean the classes: silence is noise, unknown is other words."""
    if name == "_silence_":
        listed = folder / "validation_list.txt"
        assert listed.is_file()  # with a list it is not taken for the official test archive
    write(folder / name / "fan_nohash_0.wav", sound(1))
    write(folder / "unknown" / "x_nohash_0.wav", sound(2))
    material = load_material(folder, LABELS, None)
    assert 1 == len(material.noise["silence"])
    assert {*KEYWORDS, "unknown"} == material.words.keys()


def test_without_noise_there_is_no_silence(folder: Path) -> None:
    """The error names the folder that the class is cut from."""
    (folder / "_background_noise_" / "a hum.wav").unlink()
    with pytest.raises(DataError, match=r"put recordings of a second or more into .*_background"):
        load_material(folder, LABELS, None)


def test_without_validation_clips_nothing_is_trained(folder: Path) -> None:
    """There would be nothing to choose a checkpoint by."""
    (folder / "validation_list.txt").write_text("")
    with pytest.raises(DataError, match="no clip for the split validation"):
        load_material(folder, LABELS, None)


def beside(folder: Path) -> Path:
    """A data folder that holds the corpus beside other material."""
    data = folder / "data"
    data.mkdir()
    corpus = data / "speech_commands"
    corpus.mkdir()
    for path in list(folder.iterdir()):
        if path != data:
            path.rename(corpus / path.name)
    return data


def test_all_material_is_read(folder: Path) -> None:
    """Other words by file name, cut words, sentences without commands, synthesised words."""
    data = beside(folder)
    talk = data / "speech" / "speechocean"
    write(talk / "0001_1.wav", sound(1, 2.0))
    write(talk / "0001_2.wav", sound(2, 3.0))
    (talk / "transcripts.tsv").write_text(
        "file\tspeaker\ttext\n0001_1.wav\t0001\tstop cars\n0001_2.wav\t0001\tbears\n"
    )
    (talk / "words.tsv").write_text(
        "file\tword\tstart\tend\tspeaker\tage\tgender\n"
        "0001_1.wav\tstop\t0.1\t0.5\t0001\t6\tm\n0001_1.wav\tcars\t0.5\t1.0\t0001\t6\tm\n"
    )
    write(data / "other_words" / "arabic" / "left_1.wav", sound(3))
    write(data / "other_words" / "arabic" / "stop_1.wav", sound(3))  # held out
    write(data / "other_words" / "dsp20" / "print_01_02.wav", sound(4))  # held out
    write(data / "noise" / "rain" / "a.wav", sound(5, 2.0))  # held out
    write(data / "noise" / "wind" / "a.wav", sound(6, 2.0))
    write(data / "synthetic" / "voice" / "_other_" / "bar_1.wav", sound(7))
    write(data / "synthetic" / "voice" / "go" / "1.wav", sound(8))
    material = load_material(data, LABELS, None)
    assert {"words of sentences": 1, "arabic": 1, "synthesised words": 1} == {
        name: len(clips) for name, clips in material.words.items() if name not in KEYWORDS
    }
    assert 2 == len(material.words["go"])
    assert [3 * 16_000] == [len(each) for each in material.speech["speech/speechocean"]]
    assert 1 == len(material.noise["noise"])
    expected = ("speech_commands", "speech/speechocean", "other_words/arabic", "noise/wind")
    assert (*expected, "synthetic/voice") == material.sources


def test_missing_folders_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Speech Commands alone is enough."""
    material = load_material(beside(folder), LABELS, None)
    assert ("speech_commands",) == material.sources
    for kind in ("noise", "other_words", "speech", "synthetic"):
        assert f"data/{kind}; training goes on without it" in caplog.text


def test_a_cut_word_lies_in_the_middle() -> None:
    """As long as its times say, with a margin, and silence around it."""
    recording = np.full(32_000, 1000, np.int16)
    clip = cut_word(recording, SpokenWord("car", 1.0, 1.3))
    (loud,) = np.nonzero(clip)
    assert 16_000 == len(clip)
    assert 0.36 == pytest.approx((loud[-1] - loud[0]) / 16_000, abs=0.01)
    assert 8_000 == pytest.approx((loud[-1] + loud[0]) / 2, abs=100)
