"""Batched streaming inference: where the graph takes a batch, one call computes all streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from kws.frontend import FloatArray
from kws.model.load import Model
from kws.model.streaming import OnnxStreamGraph, Stream


class Streams(Protocol):
    """A network with a state for each of a fixed number of streams."""

    frames: int  # new feature frames of each stream that a call takes
    steps: int  # rows of posteriors that it gives for each

    def posteriors(self, chosen: Sequence[int], features: FloatArray) -> FloatArray:
        """Posteriors (chosen, steps, labels) of the next features (chosen, frames, bands).

        `chosen` are the numbers of the streams, ascending.
        """

    def reset(self, stream: int) -> None:
        """Let one stream begin again, as though digital silence had gone before."""


def open_streams(model: Model, count: int) -> Streams:
    """So many streams through a model: in batches where ONNX Runtime runs its stream graph."""
    batches = model.artefact.startswith("stream") and model.artefact.endswith(".onnx")
    if count > 1 and batches and model.native_graph is None:  # whose calls cost next to nothing
        return OnnxStreams(model.stream_graph, count)
    return SeparateStreams([model.open_stream() for _ in range(count)])


class OnnxStreams:
    """Streams on an OnnxStreamGraph: one call of the runtime for all that have something new."""

    def __init__(self, graph: OnnxStreamGraph, count: int) -> None:
        self.frames, self.steps = graph.frames, graph.steps
        self._graph = graph
        self._states = np.repeat(graph.silent_state, count, axis=0)

    def posteriors(self, chosen: Sequence[int], features: FloatArray) -> FloatArray:
        """See Streams."""
        everyone = len(chosen) == len(self._states)
        state = self._states if everyone else self._states[chosen]
        posteriors, state = self._graph.run(features, state)
        if everyone:
            self._states = state
        else:
            self._states[chosen] = state
        rows: FloatArray = posteriors.reshape(len(chosen), self.steps, -1)
        return rows

    def reset(self, stream: int) -> None:
        """See Streams."""
        self._states[stream] = self._graph.silent_state[0]


class SeparateStreams:
    """Streams of any other kind, or one alone: one after the other, each with its own state."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.frames, self.steps = streams[0].frames, streams[0].steps
        self._streams = streams

    def posteriors(self, chosen: Sequence[int], features: FloatArray) -> FloatArray:
        """See Streams."""
        if len(chosen) == 1:
            return self._streams[chosen[0]].posteriors(features[0])[None]
        return np.stack(
            [
                self._streams[index].posteriors(each)
                for index, each in zip(chosen, features, strict=True)
            ]
        )

    def reset(self, stream: int) -> None:
        """See Streams."""
        self._streams[stream].reset()
