"""Two networks of different kinds in one int8 file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
pytest.importorskip("onnx", reason="onnx is not installed: `pip install kws[export]`")

from export_model import LABELS, Exported, random_audio, random_network  # noqa: E402

from export.__main__ import main  # noqa: E402
from export.build import quantised_of  # noqa: E402
from export.embedding_graph import Together, calibrate, write_together  # noqa: E402
from export.fold import fold  # noqa: E402
from export.together import together  # noqa: E402
from export.verify import reference_of  # noqa: E402
from kws.config import LABELS as ALL_LABELS  # noqa: E402
from kws.config import FeatureConfig  # noqa: E402
from kws.errors import ModelError  # noqa: E402
from kws.evaluation.evalset import load_evaluation_set  # noqa: E402
from kws.frontend import log_mel  # noqa: E402
from kws.model.manifest import MODELS, read_artefact, read_manifest  # noqa: E402
from kws.model.runtimes import OnnxBackend  # noqa: E402
from kws.train import checkpoint  # noqa: E402
from kws.train.embedding import EmbeddingConfig, EmbeddingNetwork  # noqa: E402
from kws.train.graphs import read_network, restore_batch_norm  # noqa: E402
from kws.train.joined import read_embedding  # noqa: E402


@pytest.fixture(scope="module")
def network() -> EmbeddingNetwork:
    """Random weights that keep values of one size from layer to layer."""
    torch.manual_seed(0)
    network = EmbeddingNetwork(EmbeddingConfig(labels=len(LABELS), hidden=16)).eval()
    with torch.no_grad():
        network.remap.weight[:, 10:30] *= 3.0
        for layers in network.convolutions():
            for layer in layers:
                torch.nn.init.kaiming_normal_(layer.weight, a=0.2)
        network.embedding_norm.running_mean.uniform_(-1.0, 1.0)
        network.join_norm.weight.uniform_(0.5, 2.0)
        network.join_norm.bias.uniform_(-0.5, 0.5)
    return network


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Windows (clips, 98, 40)."""
    return np.stack([log_mel(clip) for clip in random_audio()])


def test_the_file_says_what_both_networks_say(
    exported: Exported, network: EmbeddingNetwork, features: np.ndarray
) -> None:
    """Its posteriors are, to 8 bits, the geometric mean of both."""
    shipped = random_network()
    content = write_together(
        network,
        calibrate(network, features),
        fold(shipped),
        quantised_of(exported.manifest, fold(shipped)),
        {"name": "both"},
    )
    found = OnnxBackend(content).run(features)
    with torch.no_grad():
        frames = torch.from_numpy(features)
        one, other = (each(frames)[:, -1].softmax(-1) for each in (network, shipped))
        both = Together(network, shipped)(frames)[:, -1].softmax(-1)
    mean = (one * other).sqrt()
    torch.testing.assert_close(both, mean / mean.sum(1, keepdim=True))
    assert float(np.abs(found - both.numpy()).max()) < 0.1
    assert float(np.abs(found - both.numpy()).mean()) < 0.01
    # Each of the two has a part in it.
    for alone in (one, other):
        assert float(np.abs(found - alone.numpy()).max()) > 0.2
    integers = quantised_of(exported.manifest, fold(shipped))
    with pytest.raises(ValueError, match="98 frames"):
        write_together(EmbeddingNetwork(EmbeddingConfig(joined=4)), {}, fold(shipped), integers, {})


def test_what_does_not_fit_is_refused(
    exported: Exported, network: EmbeddingNetwork, features: np.ndarray
) -> None:
    only = ("window.int8.onnx",)
    for model, files in ((None, only), ("commands", ("window.onnx",))):
        with pytest.raises(ModelError, match=r"--together-with MODEL --only window\.int8"):
            together(network, exported.manifest, features, model, files)
    with pytest.raises(ModelError, match="other labels"):
        together(network, exported.manifest, features, "commands", only)


@pytest.fixture
def some_recordings(recordings: Path, tmp_path: Path) -> Path:
    """Links to every fourth clip of the validation split, to sixty more a word, and to noise."""
    listed = (recordings / "validation_list.txt").read_text(encoding="utf-8").split()
    chosen, kept_out = set(listed[::4]), set(listed)
    folder = tmp_path / "data" / "speech_commands"
    for word in (path for path in recordings.iterdir() if path.is_dir()):
        (folder / word.name).mkdir(parents=True)
        names = {path: f"{word.name}/{path.name}" for path in sorted(word.iterdir())}
        others = [path for path, name in names.items() if name not in kept_out][:60]
        for path in (*others, *(path for path, name in names.items() if name in chosen)):
            (folder / word.name / path.name).symlink_to(path)
    (folder / "validation_list.txt").write_text("\n".join(sorted(chosen)), encoding="utf-8")
    return folder


def test_the_command_joins_a_checkpoint_and_a_model(tmp_path: Path, some_recordings: Path) -> None:
    """On real recordings, as docs/training.md has it; the manifest tells what it was made of."""
    torch.manual_seed(0)
    network = EmbeddingNetwork().eval()
    with torch.no_grad():  # next to nothing beside the other network, whose decision stays
        network.classifier.weight.mul_(1e-3)
        network.classifier.bias.zero_()
    path = tmp_path / "last.pt"
    described = checkpoint.describe(network, FeatureConfig(), ALL_LABELS)
    options = {"epochs": 1, "seed": 0}
    before = {"epochs_done": 7, "started_from": {"epochs_done": 0, "published": "0f"}}
    about = {"epoch": 1, "options": options, "sources": [], "started_from": before}
    checkpoint.save(path, {**described, **about, "average": network.state_dict()})
    command = [str(path), "--out", str(tmp_path / "out"), "--data", str(some_recordings.parent)]
    command += ["--name", "both", "--only", "window.int8.onnx", "--together-with", "commands"]
    assert 0 == main(command)
    made, shipped = (
        read_manifest(path) for path in (tmp_path / "out/both.json", MODELS / "commands.json")
    )
    artefact = shipped.artefacts["window.onnx"]
    training = shipped.provenance["training"]
    beside = {"model": "commands", "sha256": artefact.sha256, "training": training}
    assert beside == made.provenance["together_with"]
    assert made.parameters > shipped.parameters + 300_000
    clips = load_evaluation_set(some_recordings.parent, ALL_LABELS, "validation")
    assert len(clips.audio) > 800
    alone = read_network(read_artefact(MODELS, artefact))
    reference = reference_of(alone, shipped.features, ALL_LABELS, clips)
    accuracy = (reference.posteriors.argmax(axis=1) == clips.targets).mean()
    assert made.measurements["export"]["pytorch_accuracy"] == pytest.approx(accuracy, abs=0.002)
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "Google's speech embedding" in card  # though another run lies between
    assert "from weights of 7 epochs" in card
    assert "also holds the network commands" in card


def test_training_can_go_on_from_the_file(
    exported: Exported, network: EmbeddingNetwork, features: np.ndarray, tmp_path: Path
) -> None:
    """`--start` finds the network in it as 8 bits have kept it, with normalisations that learn."""
    shipped = random_network()
    quantised = quantised_of(exported.manifest, fold(shipped))
    ranges = calibrate(network, features)
    content = write_together(network, ranges, fold(shipped), quantised, {})
    kept = read_embedding(content)
    frames = torch.from_numpy(features)
    with torch.no_grad():
        expected = network(frames).softmax(-1)
        assert (kept(frames).softmax(-1) - expected).abs().max() < 0.05
        restore_batch_norm(kept, frames)
        assert (kept(frames).softmax(-1) - expected).abs().max() < 0.05
        kept.train()
        kept.dropout.eval()
        assert (kept(frames).softmax(-1) - expected).abs().max() < 0.05


def test_training_cannot_go_on_from_other_files(exported: Exported) -> None:
    """One line says what could be had instead."""
    with pytest.raises(ModelError, match="holds no network of --network embedding"):
        read_embedding(exported.contents["window.int8.onnx"])
    with pytest.raises(ModelError, match="not an ONNX file"):
        read_embedding(b"something else")
