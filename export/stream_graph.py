"""The stream graph for processors: several steps a call, time before channels.

`onnx_graph` writes the layers as they are defined. For a handful of new steps the cost of such a
graph is that of its nodes, not of its arithmetic, so this one has half as many and a quarter of
the time: values are (time, channels), so that a left context is put before the new steps in one
piece; a pointwise convolution is one Gemm; and all contexts are kept by one Gather. Many streams
may share a call: that they all lie in one Gemm makes each of them four times as cheap.

Inputs and outputs, float32, batch of any size:

* features (batch, steps * stride, bands), state (batch, size)
* posteriors (batch * steps, labels), stream after stream; next_state (batch, size)

The state is rows of as many numbers as there are channels: the newest frames, then the contexts of
all blocks and of the pool, each (time, channels). That all have rows of one length lets one Split
and one Gather move them. What it is after digital silence, the caller finds by running it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from export.network import FoldedNetwork
from export.onnx_graph import GraphWriter, rename, serialise


def write_stream(network: FoldedNetwork, steps: int, metadata: Mapping[str, str]) -> bytes:
    """The file of the graph that makes `steps` rows of posteriors a call.

    Raises onnx.checker.ValidationError for what ONNX would refuse.
    """
    stem, stride, channels = network.stem, network.stem.stride, network.channels
    overlap = stem.kernel - stride  # frames
    if overlap % stride:
        raise ValueError(f"expected a stem whose kernel is a multiple of {stride}, {stem.kernel}")
    writer = GraphWriter()
    contexts = [*(block.context for block in network.blocks), network.pool - 1]  # in steps
    old, new = overlap * network.bands, steps * stride * network.bands  # numbers of frames
    lead = -(-old // channels)  # rows of the state that hold them
    size = (lead + sum(contexts)) * channels
    state = writer.node("Reshape", "state", writer.numbers(-1, size // channels, channels))
    frames, *pieces = writer.split(
        "Split", (state, writer.numbers(lead, *contexts)), 1 + len(contexts), axis=1
    )

    # The stem: its windows side by side, one row a step, times the weights as one matrix.
    frames = writer.node("Reshape", frames, writer.numbers(-1, lead * channels))
    flat = writer.node("Reshape", "features", writer.numbers(-1, new))
    latest = writer.node("Concat", frames, flat, axis=1)
    joined = writer.slice(latest, -old - new, axis=1)
    rows = steps + overlap // stride
    strides = writer.node("Reshape", joined, writer.numbers(-1, rows, stride * network.bands))
    value = writer.node("Gather", strides, _windows(writer, steps, 1 + overlap // stride), axis=1)
    value = writer.node("Reshape", value, writer.numbers(-1, stem.kernel * network.bands))
    weights = stem.weights.reshape(channels, -1)  # (outputs, kernel * bands)
    value = writer.node(
        "Gemm",
        value,
        writer.constant("stem.weights", np.ascontiguousarray(weights.T)),
        writer.constant("stem.bias", stem.bias),
    )
    value = writer.node("Relu", value)

    joined = []
    for block, piece in zip(network.blocks, pieces, strict=False):
        value_in_time = writer.node("Reshape", value, writer.numbers(-1, steps, channels))
        joined.append(writer.node("Concat", piece, value_in_time, axis=1))
        # Each step's weights stand among zeros, so that no window has to be copied.
        kernel, spread = block.depthwise.kernel, steps + block.context
        weights = np.zeros((steps, spread, channels), np.float32)
        for step in range(steps):
            weights[step, step : step + kernel] = block.depthwise.weights
        seen = writer.node("Reshape", joined[-1], writer.numbers(-1, 1, spread, channels))
        weighted = writer.node("Mul", seen, writer.constant(f"{block.name}.depthwise", weights))
        mixed = writer.node("ReduceSum", weighted, writer.numbers(2), keepdims=0)
        mixed = writer.node("Reshape", mixed, writer.numbers(-1, channels))
        # Nothing lies between the two convolutions, so the first one's bias is part of the other's.
        pointwise = block.pointwise.weights[:, 0]  # (outputs, inputs)
        bias = block.pointwise.bias + pointwise @ block.depthwise.bias
        change = writer.node(
            "Gemm",
            mixed,
            writer.constant(f"{block.name}.pointwise", np.ascontiguousarray(pointwise.T)),
            writer.constant(f"{block.name}.bias", bias.astype(np.float32)),
        )
        value = writer.node("Relu", writer.node("Add", value, change))
    value_in_time = writer.node("Reshape", value, writer.numbers(-1, steps, channels))
    joined.append(writer.node("Concat", pieces[-1], value_in_time, axis=1))
    pool = np.zeros((steps, steps + network.pool - 1), np.float32)
    for step in range(steps):
        pool[step, step : step + network.pool] = 1.0 / network.pool
    pooled = writer.node("MatMul", writer.constant("pool", pool), joined[-1])
    pooled = writer.node("Reshape", pooled, writer.numbers(-1, channels))
    logits = writer.node(
        "Gemm",
        pooled,
        writer.constant("classifier.weights", network.classifier.weights[:, 0]),
        writer.constant("classifier.bias", network.classifier.bias),
        transB=1,
    )
    rename(writer, writer.node("Softmax", logits, axis=1), "posteriors")

    kept, first = [np.arange(lead)], lead
    for context in contexts:
        kept.append(np.arange(first + steps, first + steps + context))
        first += context + steps
    newest = writer.slice(latest, -lead * channels, axis=1)
    newest = writer.node("Reshape", newest, writer.numbers(-1, lead, channels))
    everything = writer.node("Concat", newest, *joined, axis=1)
    places = writer.constant("kept", np.concatenate(kept))
    next_state = writer.node("Gather", everything, places, axis=1)
    next_state = writer.node("Reshape", next_state, writer.numbers(-1, size))
    rename(writer, next_state, "next_state")
    labels = len(network.classifier.bias)
    return serialise(
        writer,
        "stream",
        [("features", ["batch", steps * stride, network.bands]), ("state", ["batch", size])],
        [("posteriors", ["rows", labels]), ("next_state", ["batch", size])],
        metadata,
    )


def _windows(writer: GraphWriter, steps: int, kernel: int) -> str:
    """The places that each of `steps` windows of so many rows sees, (steps, kernel)."""
    places = np.arange(steps)[:, None] + np.arange(kernel)
    return writer.constant(f"windows_{kernel}", places)
