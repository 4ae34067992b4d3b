"""The mean of several runs, such as one of those of the encoder that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from kws.config import LABELS, FeatureConfig  # noqa: E402
from kws.train import checkpoint  # noqa: E402
from kws.train.average import main  # noqa: E402
from kws.train.network import Network, NetworkConfig  # noqa: E402

SMALL = NetworkConfig(channels=8, kernels=(3,))


def run(path: Path, seed: int, config: NetworkConfig = SMALL, **more: Any) -> Network:
    """A checkpoint of random weights, and its network."""
    torch.manual_seed(seed)
    network = Network(config)
    about = {
        "options": {"epochs": 9, "seed": seed},
        "sources": ["noise"],
        "started_from": {"published": "1a"},
        "epoch": 8,
        "average": network.state_dict(),
    }
    state = checkpoint.describe(network, FeatureConfig(), LABELS)
    checkpoint.save(path, {**state, **about, **more})
    return network


def test_the_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of all weights; both runs are told of, and the network of either gives the same."""
    first, second = (run(tmp_path / f"{seed}.pt", seed) for seed in (1, 2))
    out = tmp_path / "new" / "mean.pt"
    assert 0 == main([str(tmp_path / "1.pt"), str(tmp_path / "2.pt"), "--out", str(out)])
    assert "the mean of 2 runs" in capsys.readouterr().out
    network, _, _, state = checkpoint.load_network(out)
    for name, weights in network.state_dict().items():
        if weights.is_floating_point():
            expected = (first.state_dict()[name] + second.state_dict()[name]) / 2
            torch.testing.assert_close(weights, expected)
    assert (1, 8) == (state["options"]["seed"], state["epoch"])
    assert [{"epochs": 9, "seed": 2, "epochs_done": 8}] == state["averaged_with"]


def test_class_shares_are_taken_out_of_each(tmp_path: Path) -> None:
    """They are not in the mean a second time when that is read."""
    shares = {"silence": 0.1, "unknown": 0.5}
    run(tmp_path / "1.pt", 1, shares=shares)
    run(tmp_path / "2.pt", 1)
    out = tmp_path / "mean.pt"
    assert 0 == main([str(tmp_path / "1.pt"), str(tmp_path / "2.pt"), "--out", str(out)])
    read = [checkpoint.load_network(tmp_path / name)[0] for name in ("1.pt", "2.pt", "mean.pt")]
    with_shares, without, mean = (dict(each.named_parameters()) for each in read)
    for name, weights in mean.items():
        torch.testing.assert_close(weights, (with_shares[name] + without[name]) / 2)


@pytest.mark.parametrize(
    ("config", "more", "reason"),
    [
        (NetworkConfig(channels=9, kernels=(3,)), {}, "another network"),
        (SMALL, {"started_from": {"published": "2b"}}, "did not begin with the same weights"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    config: NetworkConfig,
    more: dict[str, Any],
    reason: str,
) -> None:
    """One line says why, and nothing is written."""
    run(tmp_path / "1.pt", 1)
    run(tmp_path / "2.pt", 2, config, **more)
    out = tmp_path / "mean.pt"
    assert 1 == main([str(tmp_path / "1.pt"), str(tmp_path / "2.pt"), "--out", str(out)])
    assert reason in capsys.readouterr().err
    assert not out.exists()


def test_one_is_not_enough(tmp_path: Path) -> None:
    run(tmp_path / "1.pt", 1)
    with pytest.raises(SystemExit):
        main([str(tmp_path / "1.pt"), "--out", str(tmp_path / "mean.pt")])
    run(tmp_path / "3.pt", 1)
    state = checkpoint.load(tmp_path / "3.pt")
    del state["sources"]  # as in weights that training only begins with
    checkpoint.save(tmp_path / "3.pt", state)
    arguments = [str(tmp_path / "1.pt"), str(tmp_path / "3.pt"), "--out", str(tmp_path / "m.pt")]
    assert 1 == main(arguments)
    (tmp_path / "2.pt").write_bytes(b"no checkpoint")
    arguments = [str(tmp_path / "1.pt"), str(tmp_path / "2.pt"), "--out", str(tmp_path / "m.pt")]
    assert 1 == main(arguments)
