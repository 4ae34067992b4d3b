"""Own words learned from a handful of recordings, and recordings that cannot be learned from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from tone_model import write_model

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnx", reason="graphs are read and written with onnx")

import torch

from kws.cli import main
from kws.config import LABELS, FeatureConfig
from kws.errors import DataError, KwsError, ModelError
from kws.evaluation.evaluate import clip_posteriors
from kws.model.load import load_model
from kws.model.manifest import find_manifest
from kws.recordings.data import read_recording
from kws.train.batch_norm import fold_batch_norm
from kws.train.checkpoint import load_network
from kws.train.features import LogMel
from kws.train.finetune import TuneConfig, finetune, load_base, tune
from kws.train.graphs import read_network, replace_classifier, write_network
from kws.train.network import Network
from kws.train.own_words import FEWEST, load_own_words
from kws.train.sampler import SamplerConfig

torch.set_num_threads(1)  # nets this small only wait for further threads

SHORT = TuneConfig(epochs=2, sampler=SamplerConfig(epoch_size=320, batch_size=32, streams=4))


def sweep(low: float, high: float, seed: int) -> NDArray[np.int16]:
    """A sound that glides from one pitch to another, with faint noise, int16, one second."""
    generator = np.random.default_rng(seed)
    time = np.arange(8000) / 16_000
    detune = generator.uniform(0.9, 1.1)
    glide = np.sin(2 * np.pi * detune * (low * time + (high - low) * time**2))
    clip = generator.normal(0, 30, 16_000)
    clip[4000:12_000] += generator.uniform(3000, 9000) * glide
    return clip.astype(np.int16)


def write(path: Path, audio: NDArray[np.int16], rate: int = 16_000) -> None:
    """A WAV file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Ten recordings of each of two words with names as people give them."""
    for index in range(10):
        write(tmp_path / "own" / "auf geht's" / f"Aufnahme {index}.wav", sweep(300, 900, index))
        write(tmp_path / "own" / "früh" / f"{index}.wav", sweep(2500, 600, 50 + index))
    return tmp_path / "own"


def test_graph_and_network_agree() -> None:
    """The shipped window graph and the network read out of it give the same posteriors."""
    model = load_model(artefact="window.onnx")
    base = load_base(None)
    features = np.random.default_rng(0).uniform(0, 10, (3, 98, 40)).astype(np.float32)
    with torch.no_grad():
        rows = base.network(torch.from_numpy(features))[:, -1].softmax(-1).numpy()
    np.testing.assert_allclose(rows, model.backend.run(features), atol=1e-5)


def test_weights_go_back_into_the_graph_unchanged() -> None:
    """Reading and writing without training in between gives a graph of the same constants."""
    base = load_base(None)
    for content in base.graphs.values():
        name, labels = base.manifest.name, base.manifest.labels
        again = write_network(content, base.network, name, labels)
        assert write_network(again, base.network, name, labels) == again
        assert abs(len(again) - len(content)) < 2000


def test_new_classifier_keeps_the_rows_it_can() -> None:
    """Silence and unknown mean what they meant; new words begin near zero."""
    base = load_base(None)
    changed = replace_classifier(base.network, LABELS, ("a", "silence", "unknown"))
    old = base.network.classifier.weight[LABELS.index("unknown")]
    assert torch.equal(old, changed.classifier.weight[2])
    assert changed.classifier.weight[0].abs().max() < 0.1
    assert torch.equal(base.network.stem.weight, changed.stem.weight)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A graph that is no temporal convolution, and bytes that are no graph."""
    with pytest.raises(ModelError, match="not one that can be trained further"):
        load_base(write_model(tmp_path))
    with pytest.raises(ModelError, match="not an ONNX file"):
        read_network(b"\x00not a graph")


def test_own_words_are_learned(own: Path, tmp_path: Path) -> None:
    """The new folder loads as any model does, knows the words, and says where it comes from."""
    words = load_own_words(own)
    config = replace(SHORT, epochs=6)
    scores = finetune(load_base(None), words, tmp_path / "new", config)
    assert scores.accuracy > 0.8
    model = load_model(tmp_path / "new")
    assert ("auf geht's", "früh", "silence", "unknown") == model.manifest.labels
    clip = read_recording(own / "früh" / "3.wav")
    assert 1 == clip_posteriors(load_model(model.path, artefact="window.onnx"), clip[None]).argmax()
    assert {"auf geht's": [8, 2], "früh": [8, 2]} == dict(model.manifest.provenance["clips"])
    assert "commands" == model.manifest.provenance["started_from"]["name"]
    assert 0.8 < model.manifest.measurements["held_out"]["accuracy"]
    assert {"window.onnx", "stream.onnx"} == set(model.manifest.artefacts)


def test_the_checkpoint_is_what_was_written(own: Path, tmp_path: Path) -> None:
    """The exporter's input and the graphs beside it compute the same."""
    finetune(load_base(None), load_own_words(own), tmp_path / "new", replace(SHORT, epochs=1))
    network, features, labels, _ = load_network(tmp_path / "new" / "checkpoint.pt")
    model = load_model(tmp_path / "new", artefact="window.onnx")
    assert (features, labels) == (model.manifest.features, model.manifest.labels)
    inputs = np.random.default_rng(0).uniform(0, 10, (3, 98, 40)).astype(np.float32)
    with torch.no_grad():
        rows = network(torch.from_numpy(inputs))[:, -1].softmax(-1).numpy()
    np.testing.assert_allclose(rows, model.backend.run(inputs), atol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_trunk_stays(own: Path, frozen: bool) -> None:
    """The stem and the first half of the blocks keep every bit; all else learns and is folded."""
    words, base = load_own_words(own), load_base(None)
    network = replace_classifier(base.network, base.manifest.labels, words.labels)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = replace(SHORT, epochs=1, frozen=frozen)
    tune(network, words.material, words.labels, LogMel(FeatureConfig()), config)
    after = network.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    trunk = {
        name for name in changed if name.startswith(("stem", "blocks.0.", "blocks.1.", "blocks.2."))
    }
    assert frozen == (not trunk)
    assert {"blocks.3.pointwise.weight", "blocks.3.depthwise_norm.bias"} <= changed
    assert {"blocks.5.depthwise.weight", "classifier.weight", "classifier.bias"} <= changed
    assert not {name for name in changed if "running" in name or "norm.weight" in name}


def test_folded_normalisations_change_nothing() -> None:
    """A network with normalisations of all kinds computes the same without them."""
    torch.manual_seed(0)
    network = Network().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            for values in (module.running_mean, module.bias.data):
                values.normal_()
            for values in (module.running_var, module.weight.data):
                values.uniform_(0.5, 2.0)
    features = 10 * torch.rand(2, 110, 40)
    with torch.no_grad():
        before = network(features)
        fold_batch_norm(network)
        after = network(features)
    assert before.std() > 0.01
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            assert torch.equal(torch.ones_like(module.weight), module.weight)


def test_equal_options_give_equal_weights(own: Path) -> None:
    """The seed decides, and another one gives other weights."""
    words, base = load_own_words(own), load_base(None)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        network = replace_classifier(base.network, base.manifest.labels, words.labels)
        config = replace(SHORT, epochs=1, seed=seed)
        tune(network, words.material, words.labels, LogMel(FeatureConfig()), config)
        found.append(network.classifier.weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_other_folders_teach_unknown(own: Path) -> None:
    """What is not chosen, and _unknown_, is unknown; noise beside the words is silence."""
    for index in range(6):
        write(own / "_unknown_" / f"{index}.wav", sweep(1000, 1000, index))
    write(own / "_background_noise_" / "hum.wav", np.tile(sweep(50, 50, 0), 3))
    words = load_own_words(own, ["früh"])
    assert ("früh", "silence", "unknown") == words.labels
    assert {"_unknown_", "auf geht's", "früh"} == words.material.words.keys()
    targets = words.material.validation[1]
    assert [2, 2, 3] == [int((targets == index).sum()) for index in range(3)]


def test_speakers_stay_on_one_side(tmp_path: Path) -> None:
    """Names as in Speech Commands tell the speakers: nobody is both learned and measured on."""
    for index in range(20):
        for take in range(2):
            for word, pitch in (("a", 300), ("b", 2000)):
                name = f"{index:08x}_nohash_{take}.wav"
                write(tmp_path / word / name, sweep(pitch, pitch, 10 * index + take))
    words = load_own_words(tmp_path)
    assert {"a": (32, 8), "b": (32, 8)} == words.clips


def test_one_speaker_is_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody who records alone is measured on their own clips, and told so."""
    for index in range(10):
        for word, pitch in (("a", 300), ("b", 2000)):
            write(tmp_path / word / f"me_nohash_{index}.wav", sweep(pitch, pitch, index))
    assert {"a": (8, 2), "b": (8, 2)} == load_own_words(tmp_path).clips
    assert "measuring on speakers that are learned" in caplog.text


def test_without_other_speech_there_is_a_warning(
    own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """False alarms are to be expected; with speech given there is no warning."""
    load_own_words(own)
    assert "--speech" in caplog.text
    caplog.clear()
    write(tmp_path / "talk" / "a.wav", np.tile(sweep(400, 800, 1), 5))
    words = load_own_words(own, speech=tmp_path / "talk")
    assert "" == caplog.text
    assert ("own recordings", "own speech") == words.material.sources


@pytest.mark.parametrize(
    ("count", "rate", "channels", "message"),
    [
        (0, 16_000, 1, "got 0 in"),
        (1, 16_000, 1, "got 1 in"),
        (8, 48_000, 2, r"got 0 in .* is at 48000 Hz; expected 16000 Hz, .*kws data convert"),
        (8, 8_000, 1, "is at 8000 Hz"),
    ],
)
def test_words_without_enough_recordings(
    own: Path, count: int, rate: int, channels: int, message: str
) -> None:
    """An empty folder, one clip, and clips of other rates name the folder and what to do."""
    (own / "new").mkdir()
    for index in range(count):
        audio = np.stack([sweep(100, 200, index)] * channels, axis=1)
        write(own / "new" / f"{index}.wav", audio, rate)
    with pytest.raises(DataError, match=rf"at least {FEWEST} recordings(.|\n)*{message}"):
        load_own_words(own)


@pytest.mark.parametrize("name", ["silence", "Unknown"])
def test_a_word_cannot_have_the_name_of_a_class(own: Path, name: str) -> None:
    """The two classes that every model has are not words."""
    write(own / name / "0.wav", sweep(1, 1, 1))
    with pytest.raises(DataError, match="has the name of a class"):
        load_own_words(own)


def test_words_that_are_not_there(own: Path) -> None:
    """A misspelt word lists those that exist."""
    with pytest.raises(DataError, match="no folder frueh; it has auf geht's, früh"):
        load_own_words(own, ["frueh"])


def test_nothing_is_overwritten(own: Path, tmp_path: Path) -> None:
    """A folder with something in it is refused before any work."""
    write(tmp_path / "new" / "x.wav", sweep(1, 1, 1))
    with pytest.raises(ModelError, match="already exists"):
        finetune(load_base(None), load_own_words(own), tmp_path / "new", SHORT)


def test_a_full_disk_leaves_no_half_model(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing fails, there is a message and no folder; the next run is not in the way."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    words, config = load_own_words(own), replace(SHORT, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr("kws.train.finetune.write_manifest", full)
        with pytest.raises(KwsError, match=r"cannot write .*No space left on device"):
            finetune(load_base(None), words, tmp_path / "new", config)
    assert not (tmp_path / "new").exists()
    finetune(load_base(None), words, tmp_path / "new", config)
    assert find_manifest(tmp_path / "new").is_file()


def test_command(
    own: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It tells what it has, what it reached, and what to type next; mistakes are one line.

    With a recording that cannot be used there is a model all the same, and the exit code is 1."""
    out = tmp_path / "my words"
    arguments = ["finetune", "--data", str(own), "--out", str(out), "--freeze", "--epochs", "1"]
    assert 0 == main([*arguments, "--threads", "1"])
    assert "not used" not in caplog.text
    printed = capsys.readouterr().out
    assert "früh: 8 recordings to learn from, 2 to measure on" in printed
    assert f"kws listen --model '{out}'" in printed
    assert json.loads((out / "my words.json").read_text())["labels"][0] == "auf geht's"
    (own / "früh" / "broken.wav").write_text("no audio")
    assert 1 == main([*arguments[:3], "--out", str(tmp_path / "c"), *arguments[5:]])
    assert "broken.wav" in caplog.text
    assert "kws listen --model" in capsys.readouterr().out
    assert 1 == main(arguments)
    assert "already exists" in capsys.readouterr().err
    other = ["--out", str(tmp_path / "b"), "--from", "nothing"]
    assert 1 == main(["finetune", "--data", str(own), *other])
    assert "there is no model 'nothing'" in capsys.readouterr().err
