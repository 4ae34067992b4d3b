"""Folding and the walk: the network without normalisations is the network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")
pytest.importorskip("ai_edge_litert", reason="no ai-edge-litert: `pip install kws[export]`")

from export_model import SIZES, random_network  # noqa: E402

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
