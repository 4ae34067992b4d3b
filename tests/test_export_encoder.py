"""A network that begins with the layers of Whisper's encoder, as an int8 file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: `pip install kws[export]`")

from export_model import LABELS, Exported, random_audio  # noqa: E402

from export.__main__ import _encoder  # noqa: E402
from export.encoder_graph import write_encoder  # noqa: E402
from export.model_card import model_card  # noqa: E402
from kws.errors import ModelError  # noqa: E402
from kws.frontend import log_mel  # noqa: E402
from kws.model.manifest import Manifest, describe_artefact, write_manifest  # noqa: E402
from kws.model.runtimes import OnnxBackend  # noqa: E402
from kws.train.encoder import EncoderConfig, EncoderNetwork  # noqa: E402
from kws.train.exported_encoder import read_encoder  # noqa: E402
from kws.train.fit import begin_with  # noqa: E402
from kws.train.network import parameter_count  # noqa: E402

FILE = "window.int8.onnx"
SIZES = EncoderConfig(labels=len(LABELS), width=16, heads=2, layers=1, hidden=32, queries=2)


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
def content(network: EncoderNetwork) -> bytes:
    """Its file."""
    return write_encoder(network, {"name": "small"})


def test_the_file_says_what_the_reference_says(
    network: EncoderNetwork, content: bytes, features: np.ndarray
) -> None:
    """To the rounding of weights and values."""
    with torch.no_grad():
        expected = network(torch.from_numpy(features))[:, -1].softmax(-1).numpy()
    assert np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(OnnxBackend(content).run(features), expected, atol=0.03)


def test_a_row_does_not_depend_on_the_others(content: bytes, features: np.ndarray) -> None:
    """Alone and beside others."""
    backend = OnnxBackend(content)
    alone = np.concatenate([backend.run(window[None]) for window in features])
    np.testing.assert_allclose(backend.run(features), alone, atol=1e-5)


def test_weights_are_stored_in_8_bits(network: EncoderNetwork, content: bytes) -> None:
    """To the nearest 127th of the largest of a channel."""
    graph = onnx.load_from_string(content).graph
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    weights = stored["layer0.attention_in.weights"]
    assert (np.int8, (16, 48)) == (weights.dtype, weights.shape)
    real = weights * stored["layer0.attention_in.weights.scale"]
    exact = network.layers[0].attention_in.weight.detach().numpy().T
    assert np.abs(real - exact).max() <= np.abs(exact).max() / 254.0 + 1e-6
    assert not stored["layer0.attention_in.weights.zero"].any()


def test_the_encoder_is_read_back(
    network: EncoderNetwork, content: bytes, exported: Exported
) -> None:
    """But for what 8 bits leave out of the large weights; all else is the same."""
    found = read_encoder(content)
    assert found.config == replace(SIZES, dropout=found.config.dropout)
    expected = network.state_dict()
    for name, weights in found.state_dict().items():
        step = expected[name].abs().max() / 254.0
        torch.testing.assert_close(weights, expected[name], rtol=0.0, atol=float(step) + 1e-6)
    assert bool((found.classifier.weight == network.classifier.weight).all())
    other = exported.contents[FILE]
    for bad, reason in ((other, "no network of --network encoder"), (b"\xff", "not an ONNX file")):
        with pytest.raises(ModelError, match=reason):
            read_encoder(bad)


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
    network: EncoderNetwork, trained: Manifest, tmp_path: Path
) -> None:
    """Its licences, and what training may go on from."""
    made = _encoder(network, trained, None, (FILE,))
    manifest = made.manifest
    assert trained.parameters == manifest.parameters
    assert ("Apache-2.0 AND MIT", 80) == (manifest.licence, manifest.window_hop_ms)
    (tmp_path / f"small.{FILE}").write_bytes(made.contents[FILE])
    artefacts = {FILE: describe_artefact(tmp_path / f"small.{FILE}")}
    write_manifest(replace(manifest, name="small", artefacts=artefacts), tmp_path / "small.json")
    card = model_card(tmp_path)
    for text in ("published weights of Whisper's encoder", "Whisper tiny.en", "the MIT licence"):
        assert text in card
    assert "averaged with a run of 4 epochs, seed 10; all options" in card
    before = begin_with(EncoderNetwork(SIZES), tmp_path / "small.json", torch.zeros(2, 98, 40))
    assert (9, "2d") == (before["seed"], before["started_from"]["published"])
    assert trained.provenance["training"]["averaged_with"] == before["averaged_with"]


@pytest.mark.parametrize("only", [(), ("window.onnx",), (FILE, "window.onnx")])
def test_other_files_are_refused(
    network: EncoderNetwork, trained: Manifest, only: tuple[str, ...]
) -> None:
    with pytest.raises(ModelError, match=r"exported in one file; add --only window\.int8\.onnx"):
        _encoder(network, trained, None, only)


def test_another_network_in_the_file_is_refused(network: EncoderNetwork, trained: Manifest) -> None:
    with pytest.raises(ModelError, match="leave out --together-with"):
        _encoder(network, trained, "commands", (FILE,))
