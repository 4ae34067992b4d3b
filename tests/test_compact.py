"""Checkpoints with the averaged weights alone, such as those that are kept of what ships."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch")

import numpy as np
import torch

from kws.errors import ModelError
from kws.model.manifest import MODELS, read_artefact, read_manifest
from kws.train import checkpoint
from kws.train.checkpoint import load_network
from kws.train.compact import compact, main
from kws.train.exported_encoder import read_encoder
from kws.train.graphs import read_network
from kws.train.network import Network
from kws.train.recipe import RECIPES

KEPT = Path(__file__).parent.parent / "export" / "checkpoints"


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"encoder", "encoder-long"}))
def test_what_was_trained_is_kept(name: str) -> None:
    """In a small file, with the options of its recipe."""
    path = KEPT / f"{name}.pt"
    assert path.stat().st_size < 2 * 2**20
    state = checkpoint.load(path)
    assert_of_recipe(name, state["options"], state["epoch"])
    assert load_network(path)[0].config == replace(RECIPES[name].config.network)


def test_the_encoder_is_kept_in_the_file_that_ships() -> None:
    """In 8 bits, with the options of all runs whose mean it is."""
    manifest = read_manifest(MODELS / "accurate.json")
    trained = manifest.provenance["training"]
    other, again = trained["averaged_with"]
    assert_of_recipe("encoder", trained, trained["epochs_done"])
    assert_of_recipe("encoder-long", other, other["epochs_done"])
    assert_of_recipe("encoder", {**again, "seed": trained["seed"]}, again["epochs_done"])
    assert 114 == again["seed"]
    network = read_encoder(read_artefact(MODELS, manifest.artefacts["window.int8.onnx"]))
    assert RECIPES["encoder"].config.network == network.config


def assert_of_recipe(name: str, options: Mapping[str, Any], epochs: int) -> None:
    """A whole run of the recipe, as far as its main options tell."""
    config = RECIPES[name].config
    for option in ("epochs", "seed", "learning_rate", "mine_every"):
        assert getattr(config, option) == options[option], option
    assert config.epochs == epochs


def test_the_kept_network_is_the_shipped_one() -> None:
    """The float file of `commands` gives what the checkpoint gives."""
    manifest = read_manifest(MODELS / "commands.json")
    content = read_artefact(MODELS, manifest.artefacts["window.onnx"])
    network, *_ = load_network(KEPT / "small.pt")
    assert isinstance(network, Network)
    frames = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (4, 98, 40))).float()
    with torch.no_grad():
        wanted, got = network(frames).softmax(-1), read_network(content)(frames).softmax(-1)
    assert torch.allclose(wanted, got, atol=1e-3)


def test_no_run_goes_on_from_it(tmp_path: Path) -> None:
    """Optimizer and last weights are not there; the average is the same."""
    size = compact(KEPT / "lessons.pt", tmp_path / "a.pt")
    state = checkpoint.load(tmp_path / "a.pt")
    assert size == (tmp_path / "a.pt").stat().st_size
    assert not state.keys() & {"weights", "optimizer"}
    kept = checkpoint.load(KEPT / "lessons.pt")
    for key, tensor in kept["average"].items():
        assert torch.equal(tensor, state["average"][key])


def test_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, nothing written."""
    (tmp_path / "x.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="is not a kws checkpoint"):
        compact(tmp_path / "x.pt", tmp_path / "out" / "y.pt")
    assert 1 == main([str(tmp_path / "x.pt"), "--out", str(tmp_path / "out" / "y.pt")])
    assert capsys.readouterr().err.startswith("kws: ")
    assert not (tmp_path / "out").exists()
