"""Channels that never carry anything, and the weights on them.

Where a channel has died in training, its normalisations divide by next to nothing: folded, they
leave weights a thousand times those of the others, on values that are zero. No sum needs them, and
eight bits cannot hold their scale.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.network import FloatArithmetic, FloatArray, FoldedNetwork, walk


def without_dead(network: FoldedNetwork, features: FloatArray) -> FoldedNetwork:
    """The network without the depthwise weights on channels that are zero in all these windows.

    `features` are (clips, frames, bands); on them the posteriors stay what they were.
    """
    highest: dict[str, FloatArray] = {}

    def observe(name: str, value: FloatArray) -> None:
        top = value.reshape(-1, value.shape[-1]).max(axis=0)
        highest[name] = np.maximum(highest.get(name, top), top)

    for start in range(0, len(features), 64):
        walk(network, features[start : start + 64], FloatArithmetic(observe))
    blocks, source = [], network.stem.name
    for block in network.blocks:
        alive = (highest[source] > 0.0).astype(np.float32)
        weights = block.depthwise.weights * alive
        blocks.append(replace(block, depthwise=replace(block.depthwise, weights=weights)))
        source = block.name
    return replace(network, blocks=tuple(blocks))
