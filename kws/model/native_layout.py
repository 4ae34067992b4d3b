"""The native kernel's network out of a stream graph of ONNX, where it is one of the known form.

The form is what `export/stream_graph.py` writes, node by node and constant by constant. A graph
that departs from it anywhere is none, and runs in ONNX Runtime.
"""

from __future__ import annotations

import numpy as np

from kws.frontend import FloatArray
from kws.model.onnx_file import Message, check_onnx
from kws.model.onnx_walk import END, OtherForm, Walk, axes, only_graph, require, whole
from kws.model.streaming import STEP_FRAMES
from kws.native import Block, Network

_OPSETS = range(13, 22)  # in which the operators below mean what is computed
_MOST = 256  # steps of anything, so that what a graph is compared with stays small


def native_network(content: bytes) -> Network | None:
    """The network in a stream graph; None where the kernel does not compute it.

    Raises ModelError where the content is no ONNX file.
    """
    model = check_onnx(content)
    try:
        return _network(model)
    except (OtherForm, ValueError):
        return None


def _network(model: Message) -> Network:
    graph = only_graph(model, _OPSETS, ["features", "state"], ["posteriors", "next_state"])
    walk = Walk(graph)
    _, frames, bands = axes(graph)
    require(frames % STEP_FRAMES == 0)
    steps = frames // STEP_FRAMES
    require(steps <= _MOST and bands <= _MOST)

    (state,), shape = walk.learn("Reshape", "state", None)
    batch, length, channels = whole(*shape)
    (newest, *pieces), sizes = walk.learn("Split", state, None, axis=1)
    lead, *contexts = whole(*sizes)
    require(batch == -1 and len(pieces) == len(contexts) >= 1)
    require(lead + sum(contexts) == length)
    require(all(0 <= each <= _MOST for each in (lead, *contexts)))

    newest = walk.take("Reshape", newest, [-1, lead * channels])
    flat = walk.take("Reshape", "features", [-1, frames * bands])
    latest = walk.take("Concat", newest, flat, axis=1)
    (joined,), limits = walk.learn("Slice", latest, None, None, None)
    (begin,), end, axis = map(whole, limits)
    require((end, axis) == ([END], [1]))
    stride = STEP_FRAMES * bands
    rows, rest = divmod(-begin, stride)
    require(rest == 0 and steps <= rows <= steps + _MOST)
    require((rows - steps) * stride <= lead * channels)
    value = walk.take("Reshape", joined, [-1, rows, stride])
    windows = np.arange(steps)[:, None] + np.arange(rows - steps + 1)
    value = walk.take("Gather", value, windows, axis=1)
    value = walk.take("Reshape", value, [-1, windows.shape[1] * stride])
    (value,), (stem, stem_bias) = walk.learn("Gemm", value, None, None)
    value = walk.take("Relu", value)
    require(stem.shape == (windows.shape[1] * stride, channels))

    blocks, everything = [], []
    for piece, context in zip(pieces[:-1], contexts[:-1], strict=True):
        spread = steps + context
        in_time = walk.take("Reshape", value, [-1, steps, channels])
        everything.append(walk.take("Concat", piece, in_time, axis=1))
        seen = walk.take("Reshape", everything[-1], [-1, 1, spread, channels])
        (seen,), (depthwise,) = walk.learn("Mul", seen, None)
        mixed = walk.take("ReduceSum", seen, [2], keepdims=0)
        mixed = walk.take("Reshape", mixed, [-1, channels])
        (change,), (pointwise, bias) = walk.learn("Gemm", mixed, None, None)
        value = walk.take("Relu", walk.take("Add", value, change))
        require(depthwise.shape == (steps, spread, channels))
        blocks.append(Block(_band(depthwise, context + 1), pointwise, bias))
    in_time = walk.take("Reshape", value, [-1, steps, channels])
    everything.append(walk.take("Concat", pieces[-1], in_time, axis=1))
    pool = contexts[-1] + 1
    mean = np.zeros((steps, steps + pool - 1, 1), np.float32)
    for step in range(steps):
        mean[step, step : step + pool] = 1.0 / pool
    value = walk.take("MatMul", mean[..., 0], everything[-1])
    value = walk.take("Reshape", value, [-1, channels])
    (value,), (classifier, classifier_bias) = walk.learn("Gemm", value, None, None, transB=1)
    posteriors = walk.take("Softmax", value, axis=1)
    require(classifier.ndim == 2)

    newest = walk.take("Slice", latest, [-lead * channels], [END], [1])
    newest = walk.take("Reshape", newest, [-1, lead, channels])
    joined = walk.take("Concat", newest, *everything, axis=1)
    kept, first = [np.arange(lead)], lead
    for context in contexts:
        kept.append(np.arange(first + steps, first + steps + context))
        first += context + steps
    value = walk.take("Gather", joined, np.concatenate(kept), axis=1)
    walk.end(posteriors, walk.take("Reshape", value, [-1, length * channels]))
    return Network(
        bands=bands,
        stride=STEP_FRAMES,
        steps=steps,
        stem=stem,
        stem_bias=stem_bias,
        blocks=blocks,
        pool=pool,
        classifier=classifier,
        classifier_bias=classifier_bias,
    )


def _band(depthwise: FloatArray, kernel: int) -> FloatArray:
    """The kernel (steps, channels) that stands once for each row, among zeros."""
    weights = depthwise[0, :kernel]
    expected = np.zeros_like(depthwise)
    for step in range(len(depthwise)):
        expected[step, step : step + kernel] = weights
    require(bool(np.array_equal(depthwise, expected)))
    return weights
