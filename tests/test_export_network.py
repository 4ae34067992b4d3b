"""Folding and the walk: the network without normalisations is the network."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

from export_model import SIZES, random_network  # noqa: E402

from export.dead import without_dead  # noqa: E402
from export.fold import fold  # noqa: E402
from export.network import FloatArithmetic, walk  # noqa: E402


def test_folding_is_exact() -> None:
    """Windows of random features give PyTorch's posteriors to float rounding."""
    network = random_network()
    features = np.random.default_rng(0).uniform(0, 20, (5, 98, 40)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(features))[:, -1].softmax(-1).numpy()
    posteriors = walk(fold(network), features, FloatArithmetic())
    assert np.abs(expected - posteriors).max() < 1e-5


def test_sizes() -> None:
    """The folded network knows its receptive field and its left contexts."""
    network = random_network()
    folded = fold(network)
    assert SIZES.receptive_field == folded.frames == 98
    assert network.state_sizes() == [
        size for _, *rest in folded.contexts() for size in [tuple(rest)]
    ]
    assert ["stem", "block0.depthwise", "block0.pointwise"] == [
        layer.name for layer in folded.layers
    ][:3]


def test_every_value_is_observed() -> None:
    """Calibration sees the output of each layer and of each block."""
    folded = fold(random_network())
    seen = set()
    features = np.zeros((1, 98, 40), np.float32)
    walk(folded, features, FloatArithmetic(lambda name, value: seen.add(name)))
    expected = {layer.name for layer in folded.layers} | {block.name for block in folded.blocks}
    assert expected == seen


def test_weights_on_dead_channels_go() -> None:
    """A channel that is zero everywhere loses its huge weights; the posteriors stay."""
    network = fold(random_network())
    stem, block = network.stem, network.blocks[0]
    stem_weights, stem_bias = stem.weights.copy(), stem.bias.copy()
    stem_weights[3], stem_bias[3] = 0.0, -1.0
    huge = block.depthwise.weights.copy()
    huge[:, 3] = 5_000.0
    stem = replace(stem, weights=stem_weights, bias=stem_bias)
    block = replace(block, depthwise=replace(block.depthwise, weights=huge))
    network = replace(network, stem=stem, blocks=(block, *network.blocks[1:]))
    features = np.random.default_rng(0).uniform(0, 5, (3, 98, network.bands)).astype(np.float32)
    lighter = without_dead(network, features)
    assert not lighter.blocks[0].depthwise.weights[:, 3].any()
    assert np.array_equal(
        walk(network, features, FloatArithmetic()), walk(lighter, features, FloatArithmetic())
    )
