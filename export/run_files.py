"""Posteriors of one-second clips from any exported file, through the runtime that it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.quantised import Quantisation
from kws.frontend import FloatArray
from kws.model.runtimes import import_onnxruntime, onnx_session
from kws.recordings.data import Int16Array

BATCH = 256


CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def onnx_providers() -> list[str]:
    """Where ONNX files can be run here: the CPU, and CUDA if onnxruntime was built for it."""
    available = import_onnxruntime().get_available_providers()
    return [provider for provider in (CPU, CUDA) if provider in available]


def run_onnx(
    content: bytes, features: FloatArray, audio: Int16Array, provider: str = CPU
) -> FloatArray:
    """Posteriors (clips, labels) of a window or stream graph on features or audio.

    A stream processes each clip step by step, from a state of zeros.
    """
    session = onnx_session(content, "cpu") if provider == CPU else _cuda_session(content)
    inputs = {node.name: node.shape for node in session.get_inputs()}
    name = "audio" if "audio" in inputs else "features"
    clips = audio.astype(np.float32) / 32768.0 if name == "audio" else features
    length = inputs[name][1]
    rows = []
    for start in range(0, len(clips), BATCH):
        batch = clips[start : start + BATCH]
        if "state" not in inputs:
            rows.append(session.run(["posteriors"], {name: batch})[0])
            continue
        state = np.zeros((len(batch), inputs["state"][1]), np.float32)
        # Silence first where a clip is no whole number of calls.
        missing = -batch.shape[1] % length
        batch = np.pad(batch, ((0, 0), (missing, 0), *((0, 0),) * (batch.ndim - 2)))
        for first in range(0, batch.shape[1], length):
            feeds = {name: batch[:, first : first + length], "state": state}
            posteriors, state = session.run(["posteriors", "next_state"], feeds)
        # A call may give several rows a stream; the last one is of the whole clip.
        rows.append(posteriors.reshape(len(batch), -1, posteriors.shape[1])[:, -1])
    return np.concatenate(rows)


def _cuda_session(content: bytes) -> Any:
    """Without the usual rounding of factors to 10 bits: held to what holds for the CPU."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=[(CUDA, {"use_tf32": "0"})])
    if CUDA not in session.get_providers():
        raise RuntimeError(f"{CUDA} is there but does not start")
    return session


class TfliteFile:
    """A TFLite file; `reference` takes the kernels whose arithmetic is specified bit for bit."""

    def __init__(self, content: bytes, reference: bool = False) -> None:
        self._interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF
            if reference
            else OpResolverType.BUILTIN,
        )
        self._interpreter.allocate_tensors()
        self.inputs = {entry["name"]: entry for entry in self._interpreter.get_input_details()}
        self.outputs = {entry["name"]: entry for entry in self._interpreter.get_output_details()}

    def run(self, features: FloatArray) -> FloatArray:
        """Posteriors (clips, labels) of features (clips, frames, bands); float32 both."""
        stored = self.run_stored(_store(features, self.inputs["features"]))
        return _real(stored, self.outputs["posteriors"])

    def run_stored(self, features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The same on values as the file holds them: int8 of an int8 file."""
        return np.concatenate([self._run_clip(clip) for clip in features])

    def _run_clip(self, features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        entry = self.inputs["features"]
        length = entry["shape"][2]
        states = {
            name: np.full(other["shape"], other["quantization"][1], other["dtype"])
            for name, other in self.inputs.items()
            if other is not entry
        }
        for first in range(0, len(features), length):
            step = features[first : first + length].reshape(entry["shape"])
            self._interpreter.set_tensor(entry["index"], step)
            for name, state in states.items():
                self._interpreter.set_tensor(self.inputs[name]["index"], state)
            self._interpreter.invoke()
            for name in states:
                states[name] = self._interpreter.get_tensor(self.outputs[f"next_{name}"]["index"])
        posteriors = self._interpreter.get_tensor(self.outputs["posteriors"]["index"])
        row: np.ndarray[Any, Any] = posteriors.reshape(1, -1)
        return row


def _store(values: FloatArray, entry: dict[str, Any]) -> np.ndarray[Any, Any]:
    return values if entry["dtype"] == np.float32 else _quantisation(entry).store(values)


def _real(values: np.ndarray[Any, Any], entry: dict[str, Any]) -> FloatArray:
    return values if entry["dtype"] == np.float32 else _quantisation(entry).real(values)


def _quantisation(entry: dict[str, Any]) -> Quantisation:
    return Quantisation(*entry["quantization"])
