"""Stateful streaming inference: new frames in, rows of posteriors out, context kept between calls.

A stream graph computes what the new frames change and nothing else. Where a model has none, a
window graph stands in: the same rows, each computed from its whole second.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from kws.errors import ModelError
from kws.frontend import FloatArray
from kws.model.runtimes import (
    Backend,
    check_types,
    dequantise,
    import_onnxruntime,
    in_short,
    invoke,
    onnx_session,
    quantise,
    tflite_interpreter,
)
from kws.text import printable

STEP_FRAMES = 2  # feature frames from one row of posteriors to the next, 20 ms


class Stream(Protocol):
    """One stream's network and its state."""

    frames: int  # new feature frames that a call takes
    steps: int  # rows of posteriors that it gives, evenly spaced; the last one is of now

    def posteriors(self, features: FloatArray) -> FloatArray:
        """Posteriors (steps, labels) of the next features (frames, bands); float32 both."""

    def reset(self) -> None:
        """Begin again, as though digital silence had gone before."""


class OnnxStreamGraph:
    """A stream graph in ONNX Runtime; every stream of its own state can run on it.

    Raises ModelError where the content is not such a graph.
    """

    def __init__(
        self, content: bytes, provider: str = "cpu", silent_frames: int = 100, width: int = 40
    ) -> None:
        """`silent_frames`: frames of silence after which nothing earlier has an effect.

        `width`: numbers in a frame of the features that it will be given.
        """
        self.runtime = import_onnxruntime()
        self._session = onnx_session(content, provider)
        nodes = (*self._session.get_inputs(), *self._session.get_outputs())
        shapes = {
            node.name: [size if isinstance(size, int) else 1 for size in node.shape]
            for node in nodes
        }
        expected = {"features", "state", "posteriors", "next_state"}
        if shapes.keys() != expected or shapes["state"] != shapes["next_state"]:
            raise ModelError(
                f"expected a graph with {', '.join(sorted(expected))}, "
                f"got {printable(', '.join(shapes)):.200}"
            )
        check_types(nodes)
        features, posteriors = shapes["features"], shapes["posteriors"]
        frames = features[1] if len(features) == 3 and features[2] == width else 0
        if frames < 1 or frames % STEP_FRAMES:
            raise ModelError(
                f"expected features of shape (batch, frames, {width}) and a multiple of "
                f"{STEP_FRAMES} frames, got {tuple(features)}"
            )
        if len(posteriors) != 2 or len(shapes["state"]) != 2:
            raise ModelError(
                "expected posteriors and state with two axes, "
                f"got {tuple(posteriors)} and {tuple(shapes['state'])}"
            )
        self.frames, self.bands = frames, width
        self.steps = self.frames // STEP_FRAMES
        self.labels = posteriors[1]  # the rows are those of all streams of a call
        state = np.zeros(shapes["state"], np.float32)
        silence = np.zeros(features, np.float32)
        for _ in range(-(-silent_frames // self.frames)):
            _, state = self.run(silence, state)
        self.silent_state = state

    def run(self, features: FloatArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posteriors and next states of a batch; raises ModelError where the network fails."""
        try:
            posteriors, state = self._session.run(
                ["posteriors", "next_state"], {"features": features, "state": state}
            )
        except Exception as error:  # the runtime's own exceptions share no base
            raise ModelError(f"the network does not run: {in_short(error)}") from error
        return posteriors, state

    def bind(self) -> Any:
        """A binding of inputs and outputs to memory, to be given to `run_bound`."""
        return self._session.io_binding()

    def run_bound(self, binding: Any) -> None:
        """As `run`, into the memory of a binding."""
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise ModelError(f"the network does not run: {in_short(error)}") from error


class OnnxStream:
    """A Stream on an OnnxStreamGraph: one call of the runtime, into buffers that stay.

    Two state buffers take turns as input and output, so that nothing is copied or allocated.
    """

    def __init__(self, graph: OnnxStreamGraph) -> None:
        self.frames, self.steps = graph.frames, graph.steps
        self._graph = graph
        wrap = graph.runtime.OrtValue.ortvalue_from_numpy
        self._features = np.zeros((1, graph.frames, graph.bands), np.float32)
        self._posteriors = np.zeros((graph.steps, graph.labels), np.float32)
        # On the CPU an OrtValue shares the array's memory; both must live as long as the binding.
        self._states = [graph.silent_state.copy() for _ in range(2)]
        states = [wrap(state) for state in self._states]
        features, posteriors = wrap(self._features), wrap(self._posteriors)
        self._bindings = []
        for old, new in (states, states[::-1]):
            binding = graph.bind()
            binding.bind_ortvalue_input("features", features)
            binding.bind_ortvalue_input("state", old)
            binding.bind_ortvalue_output("posteriors", posteriors)
            binding.bind_ortvalue_output("next_state", new)
            self._bindings.append(binding)
        self._turn = 0

    def posteriors(self, features: FloatArray) -> FloatArray:
        """See Stream."""
        self._features[0] = features
        self._graph.run_bound(self._bindings[self._turn])
        self._turn = 1 - self._turn
        return self._posteriors.copy()

    def reset(self) -> None:
        """See Stream."""
        self._states[self._turn][:] = self._graph.silent_state


class TfliteStream:
    """A stream graph in TFLite, which makes one row a call and has a state for each layer.

    The state `next_x` that comes out is the state `x` that goes in next. Raises ModelError where
    the content is not such a graph.
    """

    def __init__(
        self, content: bytes, steps: int, silent_frames: int = 100, width: int = 40
    ) -> None:
        """Rows come `steps` at a time; of `silent_frames` and `width` see OnnxStreamGraph."""
        self._interpreter = tflite_interpreter(content)
        inputs = {entry["name"]: entry for entry in self._interpreter.get_input_details()}
        outputs = {entry["name"]: entry for entry in self._interpreter.get_output_details()}
        states = inputs.keys() - {"features"}
        expected = {"posteriors", *(f"next_{name}" for name in states)}
        if "features" not in inputs or not states or outputs.keys() != expected:
            raise ModelError(
                "expected a graph with features, posteriors and states x and next_x, "
                f"got {printable(', '.join(inputs)):.200} and {printable(', '.join(outputs)):.200}"
            )
        self._features, self._posteriors = inputs["features"], outputs["posteriors"]
        self._places = [(inputs[name], outputs[f"next_{name}"]) for name in sorted(states)]
        shape = self._features["shape"].tolist()
        if len(shape) < 2 or shape[-2] < 1 or shape[-1] != width or math.prod(shape[:-2]) != 1:
            raise ModelError(f"expected features of shape (1, frames, {width}), got {tuple(shape)}")
        for place, following in self._places:
            if any(np.any(place[key] != following[key]) for key in ("shape", "dtype")):
                raise ModelError(
                    f"the state {printable(place['name']):.60} comes out in another shape or type"
                )
        self._stride = shape[-2]
        self.frames, self.steps = steps * self._stride, steps
        self._states = [
            quantise(np.zeros(place["shape"], np.float32), place) for place, _ in self._places
        ]
        silence = np.zeros((self.frames, width), np.float32)
        for _ in range(-(-silent_frames // self.frames)):
            self.posteriors(silence)
        self._silent = self._states

    def posteriors(self, features: FloatArray) -> FloatArray:
        """See Stream."""
        return np.concatenate(
            [
                self._step(features[first : first + self._stride])
                for first in range(0, self.frames, self._stride)
            ]
        )

    def _step(self, features: FloatArray) -> FloatArray:
        set_tensor, get_tensor = self._interpreter.set_tensor, self._interpreter.get_tensor
        shaped = features.reshape(self._features["shape"])
        set_tensor(self._features["index"], quantise(shaped, self._features))
        for (place, _), state in zip(self._places, self._states, strict=True):
            set_tensor(place["index"], state)
        invoke(self._interpreter)
        self._states = [get_tensor(place["index"]) for _, place in self._places]
        posteriors = get_tensor(self._posteriors["index"]).reshape(1, -1)
        return dequantise(posteriors, self._posteriors)

    def reset(self) -> None:
        """See Stream."""
        self._states = self._silent


class WindowStream:
    """A Stream that gives every step's whole window to a window graph: simple, and far dearer."""

    def __init__(
        self,
        backend: Backend,
        window: int,
        width: int,
        steps: int,
        stride: int = STEP_FRAMES,
        query_steps: int = 1,
    ) -> None:
        """The backend takes `window` frames of `width` numbers; a step is `stride` frames.

        It runs once per `query_steps` steps, a divisor of `steps`, on the window of the last one.
        """
        self.frames, self.steps = steps * stride, steps
        self._backend, self._window, self._stride = backend, window, stride
        self._query_steps = query_steps
        self._seen = np.zeros((window + self.frames, width), np.float32)

    def posteriors(self, features: FloatArray) -> FloatArray:
        """See Stream."""
        self._seen = np.concatenate((self._seen[self.frames :], features))
        hop = self._query_steps * self._stride
        ends = range(self._window + hop, len(self._seen) + 1, hop)
        rows = self._backend.run(np.stack([self._seen[end - self._window : end] for end in ends]))
        return rows if self._query_steps == 1 else rows.repeat(self._query_steps, axis=0)

    def reset(self) -> None:
        """See Stream."""
        self._seen[:] = 0.0
