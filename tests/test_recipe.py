"""`python -m kws.train.recipe`: every option stated, the same command goes on where it stopped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="training needs torch")

import torch

from kws.config import KEYWORDS, FeatureConfig
from kws.frontend import frame_count
from kws.train import checkpoint, recipe
from kws.train.architectures import build
from kws.train.network import NetworkConfig, parameter_count
from kws.train.sampler import SamplerConfig

pytestmark = pytest.mark.usefixtures("few_made_sounds")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips of each keyword, one of them to validate on, and noise."""
    generator = np.random.default_rng(0)
    for word in KEYWORDS:
        (tmp_path / "data" / word).mkdir(parents=True)
        for speaker in ("one", "two"):
            clip = generator.normal(0, 900, 16_000).astype(np.int16)
            soundfile.write(tmp_path / "data" / word / f"{speaker}_nohash_0.wav", clip, 16_000)
    names = "\n".join(f"{word}/two_nohash_0.wav" for word in KEYWORDS)
    (tmp_path / "data" / "validation_list.txt").write_text(names, encoding="utf-8")
    (tmp_path / "data" / "_background_noise_").mkdir()
    hum = generator.normal(0, 300, 320_000).astype(np.int16)
    soundfile.write(tmp_path / "data" / "_background_noise_" / "hum.wav", hum, 16_000)
    return tmp_path / "data"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe `large` with next to nothing to do."""
    config = replace(
        recipe.RECIPES["large"].config,
        epochs=2,
        network=NetworkConfig(channels=8),
        sampler=SamplerConfig(epoch_size=32, batch_size=16, streams=2),
    )
    changed = replace(recipe.RECIPES["large"], config=config)
    monkeypatch.setitem(recipe.RECIPES, "large", changed)


@pytest.mark.parametrize("name", recipe.RECIPES)
def test_recipes_are_runs_that_can_be(name: str) -> None:
    """A second of frames fits the network; seeds differ, so that runs are told apart."""
    config = recipe.RECIPES[name].config
    assert frame_count(16_000, FeatureConfig()) == config.network.receptive_field
    assert 1 == sum(each.config.seed == config.seed for each in recipe.RECIPES.values())
    assert config.sampler.talk > 0
    assert config.mine_every > 0 or recipe.RECIPES[name].negatives


def test_sizes() -> None:
    """The large one stays below 400,000 weights and the firmware's below 80,000."""
    large, small = (build(recipe.RECIPES[n].config.network) for n in ("large", "small"))
    assert parameter_count(large) < 400_000
    assert parameter_count(small) < 80_000


@pytest.mark.usefixtures("tiny")
def test_the_same_command_goes_on(folder: Path, tmp_path: Path) -> None:
    """A finished run is left as it is; one cut short ends with the same weights."""
    out = tmp_path / "run"
    command = ["large", "--data", str(folder), "--threads", "1", "--out"]
    assert 0 == recipe.main([*command, str(out)])
    whole = checkpoint.load(out / "last.pt")
    assert 0 == recipe.main([*command, str(out)])
    again = checkpoint.load(out / "last.pt")
    for name, tensor in whole["weights"].items():
        assert torch.equal(tensor, again["weights"][name]), name
    assert 81 == whole["options"]["seed"]


@pytest.mark.usefixtures("tiny")
def test_another_seed_is_another_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option stands in the checkpoint, and does not resume a run of the recipe's own seed."""
    command = ["large", "--data", str(folder), "--threads", "1", "--out", str(tmp_path / "run")]
    assert 0 == recipe.main([*command, "--seed", "5"])
    assert 5 == checkpoint.load(tmp_path / "run" / "last.pt")["options"]["seed"]
    assert 1 == recipe.main(command)
    assert "is of a run with other options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verifier"], "the recipe verifier needs --start: START.pt"),
        (["verifier", "--start", "x"], "the recipe verifier needs --negatives: last.pt"),
        (["small"], "the recipe small needs --frozen-teachers: last.pt"),
        (["large", "--start", "x.pt"], "the recipe large takes no --start"),
        (["huge"], "invalid choice: 'huge'"),
    ],
)
def test_what_a_recipe_needs_is_said(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any recording is read; exit code 2."""
    with pytest.raises(SystemExit) as exit_:
        recipe.main([*arguments, "--data", str(tmp_path), "--out", str(tmp_path / "run")])
    assert 2 == exit_.value.code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback."""
    missing = tmp_path / "nowhere"
    assert 1 == recipe.main(["large", "--data", str(missing), "--out", str(tmp_path / "run")])
    assert f"there is no folder {missing}" in capsys.readouterr().err
