"""Labels that are contradicted twice: which are listed, and what a run makes of the list."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="training needs torch")

from kws.config import KEYWORDS, LABELS, FeatureConfig  # noqa: E402
from kws.errors import DataError, KwsError, ModelError  # noqa: E402
from kws.recordings.data import find_corpus  # noqa: E402
from kws.train import checkpoint, mend  # noqa: E402
from kws.train.__main__ import main as train  # noqa: E402
from kws.train.fit import FitConfig, fit  # noqa: E402
from kws.train.materials import load_material  # noqa: E402
from kws.train.mended_labels import read_mended_labels  # noqa: E402
from kws.train.network import Network, NetworkConfig  # noqa: E402
from kws.train.sampler import SamplerConfig  # noqa: E402

pytestmark = pytest.mark.usefixtures("few_made_sounds")

SPOKEN = (*KEYWORDS, "zero", "cat")
PITCHES = {word: 400.0 * 1.28**place for place, word in enumerate(SPOKEN)}  # Hz
CLIPS = 12  # of each word, by as many speakers
# A clip's file, and what is said in it.
TO_NO, TO_YES, TO_NOTHING = "yes/aa_nohash_0.wav", "zero/ab_nohash_0.wav", "no/ac_nohash_0.wav"
PLANTED = {TO_NO: "no", TO_YES: "yes", TO_NOTHING: "zero"}


def write(path: Path, word: str, seed: int) -> None:
    """A tone of 0.4 s at the word's pitch, in faint noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(6400) / 16_000
    clip = generator.normal(0, 20, 16_000)
    clip[4800:11_200] += generator.uniform(2000, 9000) * np.sin(2 * np.pi * PITCHES[word] * time)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, clip.astype(np.int16), 16_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words as tones, three of them in wrong folders, and a validation clip in a wrong one too."""
    root = tmp_path_factory.mktemp("data")
    for number, word in enumerate(SPOKEN):
        for index in range(CLIPS):
            write(root / word / f"{index:02x}_nohash_0.wav", word, 100 * number + index)
    for number, (file, word) in enumerate(PLANTED.items()):
        write(root / file, word, 9000 + number)
    write(root / "zero" / "ad_nohash_0.wav", "cat", 9100)  # no command either way
    write(root / "yes" / "ae\t_nohash_0.wav", "no", 9101)
    write(root / "yes" / "f0_nohash_0.wav", "no", 9102)
    listed = ["yes/f0_nohash_0.wav", *(f"{word}/00_nohash_0.wav" for word in KEYWORDS)]
    (root / "validation_list.txt").write_text("\n".join(listed), encoding="utf-8")
    hum = np.random.default_rng(7).normal(0, 300, 80_000).astype(np.int16)
    (root / "_background_noise_").mkdir()
    soundfile.write(root / "_background_noise_" / "hum.wav", hum, 16_000)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a network of the labels of training."""
    return save(tmp_path_factory.mktemp("model") / "last.pt", LABELS, "yes")


def save(path: Path, labels: tuple[str, ...], said: str) -> Path:
    """A checkpoint of a network that returns one of its labels, whatever it processes."""
    network = Network(NetworkConfig(labels=len(labels), channels=8))
    torch.nn.init.zeros_(network.classifier.weight)
    with torch.no_grad():
        network.classifier.bias.copy_(10.0 * torch.eye(len(labels))[labels.index(said)])
    about = checkpoint.describe(network, FeatureConfig(), labels)
    checkpoint.save(path, {**about, "average": network.state_dict()})
    return path


def by_pitch(_network: object, _front_end: object, audio: NDArray[np.int16]) -> torch.Tensor:
    """What a network that knows the tones returns."""
    loudest = np.abs(np.fft.rfft(audio)).argmax(axis=1)  # Hz, of clips of a second
    words = [min(SPOKEN, key=lambda word: abs(PITCHES[word] - pitch)) for pitch in loudest]
    labels = [word if word in KEYWORDS else "unknown" for word in words]
    return torch.eye(len(LABELS))[[LABELS.index(label) for label in labels]]


@pytest.fixture
def table(
    folder: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Path:
    """The table of the planted errors."""
    monkeypatch.setattr(mend, "posteriors", by_pitch)
    out = tmp_path / "mended.tsv"
    assert 0 == mend.main(["--data", str(folder), "--models", str(model), "--out", str(out)])
    told = "2 clips have another label (no 1, yes 1), 1 have none"
    assert f"{out}: {told}\n" == capsys.readouterr().out
    return out


def test_planted_errors_are_listed(table: Path) -> None:
    """As the command that is said, or as none; nothing else, and no validation clip."""
    expected = {TO_NO: "no", TO_YES: "yes", TO_NOTHING: "-"}
    assert expected == read_mended_labels(table).labels
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    assert ["file", "label", "sounds_like", "margin", "posterior"] == rows[0]
    sounds = {row[0]: (row[2], row[4]) for row in rows[1:]}
    assert {TO_NO: ("no", "1.00"), TO_YES: ("yes", "1.00"), TO_NOTHING: ("zero", "1.00")} == sounds
    assert all(float(row[3]) > 0.5 for row in rows[1:])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["yes"], {TO_YES: "yes"}),
        (["yes", "go"], {}),
        (["go"], {}),
        (["unknown"], {TO_NOTHING: "-"}),
        (["silence", "unknown"], {TO_NOTHING: "-"}),
    ],
)
def test_all_must_agree(
    said: list[str], expected: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    """Networks that return one label for everything agree where cross-validation names that."""
    models = [save(tmp_path / f"{label}.pt", LABELS, label) for label in said]
    found = mend.find_wrong_labels(find_corpus(folder), models)
    assert expected == {each.file: each.label for each in found}


def test_training_takes_the_list(folder: Path, table: Path) -> None:
    """Clips change places or go; validation stays; the material knows the list."""
    plain = load_material(folder, LABELS, None)
    mended = load_material(folder, LABELS, None, mended=read_mended_labels(table))
    changes = {word: len(mended.words[word]) - len(clips) for word, clips in plain.words.items()}
    assert changes == {**dict.fromkeys(changes, 0), "zero": -1}  # yes and no gave one and got one
    for file, expected in {TO_NO: ["no"], TO_YES: ["yes"], TO_NOTHING: []}.items():
        clip, _ = soundfile.read(folder / file, dtype="int16")
        words = [word for word, clips in mended.words.items() if (clips == clip).all(1).any()]
        assert expected == words
    for before, after in zip(plain.validation, mended.validation, strict=True):
        assert np.array_equal(before, after)
    assert ("", 12) == (plain.mended, len(mended.mended))


def test_a_run_records_the_list(folder: Path, table: Path, tmp_path: Path) -> None:
    """In its options, so that it goes on with the same list alone."""
    sampler = SamplerConfig(epoch_size=32, batch_size=16, streams=2)
    config = FitConfig(epochs=1, network=NetworkConfig(channels=8), sampler=sampler)
    material = load_material(folder, LABELS, None, mended=read_mended_labels(table))
    fit(material, tmp_path / "run", config)
    state = checkpoint.load(tmp_path / "run" / "last.pt")
    assert material.mended == state["options"]["mended"] != ""
    with pytest.raises(ModelError, match="a run with other options"):
        fit(replace(material, mended=""), tmp_path / "run", config, resume=True)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff\xfe\x00", "cannot be read as a table"),
        (b"", "has no column file, label"),
        (b"kind,path,detail\n", "has no column file, label"),
        (b"file\tlabel\n", "names no clips; train without it, or make it with"),
        (b"file\tlabel\nyes/aa_nohash_0.wav\n", "line 2: expected 2 columns"),
        (b"file\tlabel\nyes/aa_nohash_0.wav\tzero\n", "is labelled 'zero'; expected yes, no,"),
        (b"file\tlabel\na.wav\tno\na.wav\t-\n", "names a.wav twice"),
    ],
)
def test_a_list_that_is_none_is_one_line(
    content: bytes, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is trained."""
    path = tmp_path / "mended.tsv"
    path.write_bytes(content)
    command = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--mended", str(path)]
    assert 1 == train(command)
    error = capsys.readouterr().err
    assert 1 == error.count("\n")
    assert expected in error


def test_a_list_that_is_missing(tmp_path: Path) -> None:
    """Is named."""
    with pytest.raises(DataError, match=r"none\.tsv cannot be read as a table"):
        read_mended_labels(tmp_path / "none.tsv")


@pytest.mark.parametrize("file", ["yes/99_nohash_0.wav", "yes/00_nohash_0.wav", "../yes/01.wav"])
def test_a_list_of_other_recordings_is_refused(file: str, folder: Path, tmp_path: Path) -> None:
    """Of clips that are not there, and of validation clips."""
    path = tmp_path / "mended.tsv"
    path.write_text(f"file\tlabel\n{TO_NO}\tno\n{file}\tno\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"1 of its 2 rows name no training clip of .*, first "):
        read_mended_labels(path).apply(find_corpus(folder))


def test_what_cannot_be_mended_is_one_line(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No recordings, no checkpoint, other labels, or nothing to mend."""
    rest = ["--out", str(tmp_path / "mended.tsv")]
    assert 1 == mend.main(["--data", str(tmp_path), "--models", str(model), *rest])
    assert "holds no recordings" in capsys.readouterr().err
    data = ["--data", str(folder)]
    assert 1 == mend.main([*data, "--models", str(tmp_path / "none.pt"), *rest])
    assert "there is no checkpoint" in capsys.readouterr().err
    other = save(tmp_path / "other.pt", ("low", "silence", "unknown"), "low")
    assert 1 == mend.main([*data, "--models", str(other), *rest])
    assert "has other labels than training" in capsys.readouterr().err
    write(tmp_path / "few" / "yes" / "a_nohash_0.wav", "yes", 0)
    (tmp_path / "few" / "validation_list.txt").write_text("", encoding="utf-8")
    assert 1 == mend.main(["--data", str(tmp_path / "few"), "--models", str(model), *rest])
    assert "no label is contradicted twice; nothing is written" in capsys.readouterr().err
    assert not (tmp_path / "mended.tsv").exists()


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    """Is named, with the reason."""
    row = mend.Mended("yes/a.wav", "no", "no", 0.7, 0.9)
    with pytest.raises(KwsError, match=r"cannot write .*: Is a directory"):
        mend.write_table([row], tmp_path)
