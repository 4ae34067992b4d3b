"""Networks that begin with the layers of Whisper's encoder: rows, layers and checkpoints."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[train]`")

from test_train import TINY, material  # noqa: E402, F401
from torch.nn import functional  # noqa: E402

from kws.config import LABELS, FeatureConfig  # noqa: E402
from kws.frontend import frame_count  # noqa: E402
from kws.train import checkpoint  # noqa: E402
from kws.train.architectures import build, read_config  # noqa: E402
from kws.train.embedding import EmbeddingConfig  # noqa: E402
from kws.train.encoder import EncoderConfig, EncoderNetwork, Layer, gelu  # noqa: E402
from kws.train.fit import fit  # noqa: E402
from kws.train.learner import smoothed_rows  # noqa: E402
from kws.train.materials import Material  # noqa: E402
from kws.train.network import NetworkConfig, parameter_count  # noqa: E402

SMALL = EncoderConfig(width=16, heads=2, layers=2, hidden=24, queries=3)


@pytest.fixture
def network() -> EncoderNetwork:
    """A small one of random weights, in evaluation mode."""
    torch.manual_seed(0)
    return EncoderNetwork(SMALL).eval()


def test_sizes_are_those_of_whispers_tiny() -> None:
    """A row covers one second; each row begins where the last one ended."""
    config = EncoderConfig()
    assert frame_count(16_000, FeatureConfig()) == config.receptive_field == config.stride
    assert 49 == config.steps
    assert 5_855_000 == pytest.approx(parameter_count(EncoderNetwork(config)), abs=5_000)


def test_a_row_depends_on_its_own_second_alone(network: EncoderNetwork) -> None:
    """As many rows as whole seconds, each that of its frames; what is left over has none."""
    features = torch.rand(2, 3 * 98 + 40, SMALL.bands) * 10.0
    with torch.no_grad():
        rows = network(features)
        assert (2, 3, len(LABELS)) == rows.shape
        for row in range(3):
            alone = network(features[:, 98 * row : 98 * (row + 1)])
            assert (2, 1, len(LABELS)) == alone.shape
            assert torch.allclose(rows[:, row], alone[:, 0], atol=1e-5)
        features[:, 98:196] += 1.0
        changed = (rows - network(features)).abs().amax((0, 2)) > 1e-4
    assert [False, True, False] == changed.tolist()


def test_a_layer_is_one_of_a_transformer() -> None:
    """It computes what torch's own, normalised first, computes from the same weights."""
    torch.manual_seed(0)
    layer = Layer(SMALL)
    sizes = SMALL.width, SMALL.heads, SMALL.hidden
    theirs = torch.nn.TransformerEncoderLayer(
        *sizes, dropout=0.0, activation=gelu, batch_first=True, norm_first=True
    )
    pairs = (
        (theirs.norm1, layer.attention_norm),
        (theirs.self_attn.out_proj, layer.attention_out),
        (theirs.norm2, layer.linear_norm),
        (theirs.linear1, layer.linear_in),
        (theirs.linear2, layer.linear_out),
    )
    for one, other in pairs:
        torch.nn.init.normal_(other.bias)
        one.load_state_dict(other.state_dict())
    torch.nn.init.normal_(layer.attention_in.bias)
    theirs.self_attn.in_proj_weight.data = layer.attention_in.weight.data
    theirs.self_attn.in_proj_bias.data = layer.attention_in.bias.data
    steps = torch.randn(3, 49, SMALL.width)
    assert torch.allclose(theirs(steps), layer(steps), atol=1e-5)


def test_the_quick_gelu_is_nearly_the_exact_one() -> None:
    """To 0.021, and exactly where nothing or very much comes in."""
    value = torch.linspace(-8.0, 8.0, 1_601)
    assert (gelu(value) - functional.gelu(value)).abs().max() < 0.021
    edges = gelu(torch.tensor([-80.0, 0.0, 80.0]))
    assert torch.allclose(torch.tensor([0.0, 0.0, 80.0]), edges)


def test_everything_learns(network: EncoderNetwork) -> None:
    """The loss has a gradient in every weight."""
    logits = network.train()(torch.rand(4, 98, SMALL.bands) * 10.0)[:, 0]
    functional.cross_entropy(logits, torch.arange(4)).backward()
    still = [
        n for n, each in network.named_parameters() if each.grad is None or not each.grad.any()
    ]
    assert [] == still


def test_the_kind_of_network_is_known_by_its_sizes(network: EncoderNetwork, tmp_path: Path) -> None:
    """A checkpoint gives back the network that it was made of."""
    assert read_config(asdict(SMALL)) == SMALL
    assert isinstance(build(SMALL), EncoderNetwork)
    about = {"average": network.state_dict(), "epoch": 1, "options": {}}
    described = checkpoint.describe(network, FeatureConfig(), LABELS)
    checkpoint.save(tmp_path / "last.pt", {**described, **about})
    read, *_ = checkpoint.load_network(tmp_path / "last.pt")
    assert read.config == SMALL
    features = torch.rand(1, 98, SMALL.bands)
    with torch.no_grad():
        assert torch.equal(network(features), read(features))


def test_rows_that_share_no_frame_are_not_averaged() -> None:
    """The decision stage averages over a fraction of a second, never over seconds."""
    for config, rows in ((NetworkConfig(), 4), (EmbeddingConfig(), 4), (SMALL, 1)):
        assert rows == smoothed_rows(build(config))


def test_it_is_trained_as_any_other(material: Material, tmp_path: Path) -> None:  # noqa: F811
    """With hard negatives too; what a run writes is read again."""
    config = replace(TINY, epochs=2, network=SMALL, mine_every=1)
    fit(material, tmp_path / "run", config)
    network, features, labels, state = checkpoint.load_network(tmp_path / "run" / "last.pt")
    assert (SMALL, config.features, LABELS) == (network.config, features, labels)
    assert 2 == state["epoch"]
