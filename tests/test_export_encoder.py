"""A pair of networks and an encoder that confirms them, in one int8 file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: `pip install kws[export]`")

from export_model import LABELS, Exported, random_audio, random_network  # noqa: E402

from export.build import quantised_of  # noqa: E402
from export.embedding_graph import calibrate, write_together  # noqa: E402
from export.encoder_graph import ABOVE, SHARE, Confirmed, write_confirmed  # noqa: E402
from export.fold import fold  # noqa: E402
from export.model_card import model_card  # noqa: E402
from export.together import confirmed  # noqa: E402
from kws.errors import ModelError  # noqa: E402
from kws.frontend import log_mel  # noqa: E402
from kws.model.manifest import Manifest, describe_artefact, read_manifest, write_manifest  # noqa: E402
from kws.model.runtimes import OnnxBackend  # noqa: E402
from kws.train.embedding import EmbeddingConfig, EmbeddingNetwork  # noqa: E402
from kws.train.encoder import EncoderConfig, EncoderNetwork  # noqa: E402
from kws.train.exported_encoder import read_encoder  # noqa: E402
from kws.train.fit import begin_with  # noqa: E402
from kws.train.joined import read_embedding  # noqa: E402
from kws.train.network import parameter_count  # noqa: E402

FILE = "window.int8.onnx"
SIZES = EncoderConfig(labels=len(LABELS), width=16, heads=2, layers=1, hidden=32, queries=2)
JOINED = EmbeddingConfig(labels=len(LABELS), hidden=16)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Windows (clips, 98, 40)."""
    return np.stack([log_mel(clip) for clip in random_audio()])


@pytest.fixture(scope="module")
def network() -> EncoderNetwork:
    """Random weights that tell one noise from another."""
    torch.manual_seed(1)
    network = EncoderNetwork(SIZES).eval()
    with torch.no_grad():
        network.classifier.weight.mul_(20.0)
        network.norm.weight.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def pair(exported: Exported, features: np.ndarray) -> bytes:
    """The file of two networks."""
    torch.manual_seed(0)
    embedding = EmbeddingNetwork(JOINED).eval()
    shipped = fold(random_network())
    integers = quantised_of(exported.manifest, shipped)
    return write_together(embedding, calibrate(embedding, features), shipped, integers, {})


@pytest.fixture(scope="module")
def content(network: EncoderNetwork, pair: bytes) -> bytes:
    """The file of three."""
    return write_confirmed(network, pair, LABELS, {"name": "three"})


@pytest.fixture(scope="module")
def asked(pair: bytes, features: np.ndarray) -> np.ndarray:
    """Which windows have a command above the level; some, not all."""
    found = OnnxBackend(pair).run(features)[:, :2].max(axis=1) > ABOVE
    assert 3 < found.sum() < len(found) - 3
    return found


def test_the_file_says_what_the_reference_says(
    network: EncoderNetwork, pair: bytes, content: bytes, features: np.ndarray, asked: np.ndarray
) -> None:
    """To the rounding of weights; and the encoder has a part in it where it is asked."""
    with torch.no_grad():
        logits = Confirmed(network, pair, LABELS)(torch.from_numpy(features))
        third = network(torch.from_numpy(features))[:, -1].softmax(-1).numpy()
    expected = logits[:, -1].softmax(-1).numpy()
    found, before = OnnxBackend(content).run(features), OnnxBackend(pair).run(features)
    np.testing.assert_allclose(found, expected, atol=0.03)
    mean = before ** (1.0 - SHARE) * third**SHARE
    mean /= mean.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(expected, np.where(asked[:, None], mean, before), atol=1e-6)
    assert np.abs(found - before)[asked].max() > 0.1


def test_a_row_does_not_depend_on_the_others(
    pair: bytes, content: bytes, features: np.ndarray, asked: np.ndarray
) -> None:
    """Alone, beside others, and where no other is asked: bit for bit the pair's if it is not."""
    backend = OnnxBackend(content)
    mixed = backend.run(features)
    alone = np.concatenate([backend.run(window[None]) for window in features])
    np.testing.assert_allclose(mixed, alone, atol=1e-5)
    quiet = features[~asked]
    np.testing.assert_array_equal(OnnxBackend(pair).run(quiet), backend.run(quiet))
    np.testing.assert_array_equal(OnnxBackend(pair).run(features)[~asked], mixed[~asked])


def test_the_pair_stays_as_it_is(network: EncoderNetwork, pair: bytes, content: bytes) -> None:
    """Its nodes come first, its constants keep their names, and the encoder's are in the branch."""
    before, after = (onnx.load_from_string(each).graph for each in (pair, content))
    assert list(before.node)[:-1] == list(after.node)[: len(before.node) - 1]
    assert ["pair"] == list(after.node[len(before.node) - 1].output)
    assert list(before.initializer) == list(after.initializer)[: len(before.initializer)]
    assert "If" == after.node[-1].op_type
    (branch,) = (each.g for each in after.node[-1].attribute if each.name == "then_branch")
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in branch.initializer}
    weights = stored["encoder.layer0.attention_in.weights"]
    assert (np.int8, (16, 48)) == (weights.dtype, weights.shape)
    real = weights * stored["encoder.layer0.attention_in.weights.scale"]
    exact = network.layers[0].attention_in.weight.detach().numpy().T
    assert np.abs(real - exact).max() <= np.abs(exact).max() / 254.0 + 1e-6
    assert not stored["encoder.layer0.attention_in.weights.zero"].any()


def test_training_can_go_on_from_the_file(pair: bytes, content: bytes) -> None:
    """`--start` finds the network that begins with published weights, as in the pair."""
    expected, found = (read_embedding(each).state_dict() for each in (pair, content))
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)


def test_the_encoder_is_read_back(network: EncoderNetwork, content: bytes, pair: bytes) -> None:
    """But for what 8 bits leave out of the large weights; all else is the same."""
    found = read_encoder(content)
    assert found.config == replace(SIZES, dropout=found.config.dropout)
    expected = network.state_dict()
    for name, weights in found.state_dict().items():
        step = expected[name].abs().max() / 254.0
        torch.testing.assert_close(weights, expected[name], rtol=0.0, atol=float(step) + 1e-6)
    assert bool((found.classifier.weight == network.classifier.weight).all())
    for bad, reason in ((pair, "no network of --network encoder"), (b"\xff", "no")):
        with pytest.raises(ModelError, match=reason):
            read_encoder(bad)


@pytest.fixture
def shipped_pair(exported: Exported, pair: bytes, tmp_path: Path) -> Path:
    """The manifest of the pair, as `python -m export --together-with` writes it."""
    file = tmp_path / f"pair.{FILE}"
    file.write_bytes(pair)
    options = {"epochs": 2, "epochs_done": 2, "seed": 7}
    about = {
        "sources": ["noise/rain"],
        "training": options,
        "started_from": {"epochs_done": 0, "published": "0f"},
        "together_with": {"model": "large", "sha256": "1e", "training": {**options, "seed": 8}},
    }
    manifest = replace(
        exported.manifest,
        name="pair",
        parameters=100,
        window_hop_ms=80,
        artefacts={FILE: describe_artefact(file)},
        provenance={**exported.manifest.provenance, **about},
    )
    path = tmp_path / "pair.json"
    write_manifest(manifest, path)
    return path


@pytest.fixture
def trained(exported: Exported) -> Manifest:
    """What `python -m export` knows of a checkpoint before it makes a file."""
    about = {
        "network": {"queries": 2},
        "sources": ["speech_commands"],
        "training": {
            "epochs": 3,
            "epochs_done": 3,
            "seed": 9,
            "averaged_with": [{"epochs": 5, "epochs_done": 4, "seed": 10}],
        },
        "started_from": {"epochs_done": 0, "published": "2d"},
    }
    provenance = {"kws_version": "0.0", **about}
    return replace(
        exported.manifest, parameters=parameter_count(EncoderNetwork(SIZES)), provenance=provenance
    )


def test_the_manifest_tells_what_the_file_was_made_of(
    network: EncoderNetwork, shipped_pair: Path, trained: Manifest, tmp_path: Path
) -> None:
    """All three networks, their licences, and what training may go on from."""
    made = confirmed(network, trained, str(shipped_pair), (FILE,))
    manifest = made.manifest
    assert trained.parameters + 100 == manifest.parameters
    assert ("Apache-2.0 AND MIT", 80) == (manifest.licence, manifest.window_hop_ms)
    beside = manifest.provenance["together_with"]
    assert ("pair", "large", ABOVE) == (
        beside["model"],
        beside["together_with"]["model"],
        beside["confirmed_above"],
    )
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / f"three.{FILE}").write_bytes(made.contents[FILE])
    artefacts = {FILE: describe_artefact(folder / f"three.{FILE}")}
    write_manifest(replace(manifest, name="three", artefacts=artefacts), folder / "three.json")
    card = model_card(folder)
    for text in ("published weights of Whisper's encoder", "Whisper tiny.en", "Google's speech"):
        assert text in card
    assert "averaged with a run of 4 epochs, seed 10; all options" in card
    assert "networks pair, 2 epochs, seed 7, and large, 2 epochs, seed 8" in card
    assert "exceeds 0.15" in card
    before = begin_with(EmbeddingNetwork(JOINED), folder / "three.json", torch.zeros(2, 98, 40))
    assert (7, "0f") == (before["seed"], before["started_from"]["published"])
    before = begin_with(EncoderNetwork(SIZES), folder / "three.json", torch.zeros(2, 98, 40))
    assert (9, "2d") == (before["seed"], before["started_from"]["published"])


def test_what_does_not_fit_is_refused(
    network: EncoderNetwork, shipped_pair: Path, trained: Manifest, content: bytes, pair: bytes
) -> None:
    for model, only in ((None, (FILE,)), (str(shipped_pair), ("window.onnx",))):
        with pytest.raises(ModelError, match=r"--network encoder .* --only window\.int8"):
            confirmed(network, trained, model, only)
    with pytest.raises(ModelError, match="other labels"):
        confirmed(network, trained, "commands", (FILE,))
    alone = replace(read_manifest(shipped_pair), provenance={"kws_version": "0.0"})
    write_manifest(alone, shipped_pair)
    with pytest.raises(ModelError, match="is no pair"):
        confirmed(network, trained, str(shipped_pair), (FILE,))
    with pytest.raises(ModelError, match="already holds"):
        write_confirmed(network, content, LABELS, {})
    with pytest.raises(ModelError, match="not a complete ONNX file"):
        write_confirmed(network, pair[:-9], LABELS, {})
    short = EncoderNetwork(replace(SIZES, frames=50))
    with pytest.raises(ModelError, match="the encoder needs"):
        write_confirmed(short, pair, LABELS, {})
