"""Refuses a model unless its files, its manifest and the trained network agree.

The reference is PyTorch: the training front end and the unfolded network, on audio. Everything else
goes the way a listener's machine goes: `kws.frontend` by the manifest, then the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from export.build import metadata_of
from export.integer import run_window
from export.network import FloatArray
from export.quantised import QuantisedNetwork
from export.run_files import CPU, TfliteFile, onnx_providers, run_onnx
from export.tflite import read_metadata, read_operators
from kws.config import FeatureConfig
from kws.errors import ModelError
from kws.evaluation.evalset import EvaluationSet
from kws.frontend import log_mel
from kws.model.manifest import Manifest
from kws.recordings.data import Int16Array
from kws.train.features import LogMel

LARGEST_DIFFERENCE = 1e-4  # of a float file's posteriors to PyTorch's
ACCURACY_LOSS = 0.005  # of an int8 file against PyTorch
# What goes step by step through one clip after another is run on about so many clips.
STEPWISE = ("stream.tflite", "stream.int8.tflite")
STEPWISE_CLIPS = 500


@dataclass(frozen=True)
class Measured:
    """How one file did."""

    operators: Mapping[str, int]
    clips: int
    accuracy: float
    agreement: float  # share of clips on which it decides as PyTorch does
    largest_difference: float  # of a posterior to PyTorch's
    equals_integers: bool | None  # bit for bit, on reference kernels; None of another arithmetic


@dataclass(frozen=True)
class Reference:
    """The trained network's posteriors of the clips."""

    labels: tuple[str, ...]
    features: FeatureConfig
    posteriors: FloatArray  # (clips, labels)

    @property
    def decisions(self) -> NDArray[np.str_]:
        """The name of the likeliest class of each clip."""
        names: NDArray[np.str_] = np.array(self.labels)[self.posteriors.argmax(axis=1)]
        return names


@torch.no_grad()
def reference_of(
    trained: nn.Module, features: FeatureConfig, labels: tuple[str, ...], clips: EvaluationSet
) -> Reference:
    """Run PyTorch on the clips."""
    front_end, rows = LogMel(features), []
    for start in range(0, len(clips.audio), 256):
        audio = torch.from_numpy(clips.audio[start : start + 256].astype(np.float32) / 32768.0)
        rows.append(trained(front_end(audio))[:, -1].softmax(-1).numpy())
    return Reference(labels, features, np.concatenate(rows))


def verify(
    manifest: Manifest,
    contents: Mapping[str, bytes],
    quantised: QuantisedNetwork | None,
    reference: Reference,
    clips: EvaluationSet,
) -> dict[str, Measured]:
    """Run every file on the clips; raises ModelError that lists all that does not agree.

    `quantised` is what int8 TFLite files must equal, where there are any.
    `clips.targets` are indexes into the labels of the reference.
    """
    problems = _misfits(manifest, reference)
    features = np.stack([log_mel(audio, manifest.features) for audio in clips.audio])
    some = slice(None, None, max(1, len(features) // STEPWISE_CLIPS))
    measured = {}
    if quantised is not None:
        stored = quantised.values["features"].store(features[some])
        integers = run_window(quantised, stored)
    for key, content in contents.items():
        taken = some if key in STEPWISE else slice(None)
        try:
            posteriors, operators = _run(key, content, features[taken], clips.audio[taken])
            problems += _elsewhere(key, content, features[taken], clips.audio[taken], posteriors)
            is_equal = None
            if quantised is not None and key.endswith(".int8.tflite"):
                exact = TfliteFile(content, reference=True).run_stored(stored)
                is_equal = bool(np.array_equal(exact, integers))
            decided = np.array(manifest.labels)[posteriors.argmax(axis=1)]
        except Exception as error:  # the runtimes' own exceptions share no base
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            problems.append(f"{key} does not run: {reason}")
            continue
        expected = reference.decisions[taken]
        targets = np.array(reference.labels)[clips.targets[taken]]
        result = measured[key] = Measured(
            operators=dict(sorted(Counter(operators).items())),
            clips=len(posteriors),
            accuracy=float((decided == targets).mean()),
            agreement=float((decided == expected).mean()),
            largest_difference=float(np.abs(posteriors - reference.posteriors[taken]).max()),
            equals_integers=is_equal,
        )
        loss = float((expected == targets).mean()) - result.accuracy
        problems += [f"{key} {what}" for what in _faults(key, result, loss)]
        if read_file_metadata(key, content) != metadata_of(manifest):
            problems.append(f"{key} carries other metadata than its manifest")
    if problems:
        raise ModelError("the export is refused:\n  " + "\n  ".join(problems))
    return measured


def _misfits(manifest: Manifest, reference: Reference) -> list[str]:
    """Where the manifest differs from the checkpoint."""
    return [
        f"the {what} of the manifest, {ours}, are not those of the checkpoint, {theirs}"
        for what, ours, theirs in (
            ("labels", manifest.labels, reference.labels),
            ("front-end settings", manifest.features, reference.features),
        )
        if ours != theirs
    ]


def _run(
    key: str, content: bytes, features: FloatArray, audio: Int16Array
) -> tuple[FloatArray, list[str]]:
    """Posteriors of the clips, and the operators of the file."""
    if key.endswith(".tflite"):
        return TfliteFile(content).run(features), read_operators(content)
    return run_onnx(content, features, audio), _operators(onnx.load_from_string(content).graph)


def _operators(graph: onnx.GraphProto) -> list[str]:
    """Those of the graph and of its branches."""
    found = []
    for node in graph.node:
        found.append(node.op_type)
        for attribute in node.attribute:
            found += _operators(attribute.g)
    return found


def _elsewhere(
    key: str, content: bytes, features: FloatArray, audio: Int16Array, posteriors: FloatArray
) -> list[str]:
    """Where a float ONNX file gives other posteriors than on the CPU."""
    faults = []
    for provider in onnx_providers():
        if provider == CPU or not key.endswith(".onnx") or ".int8." in key:
            continue
        found = run_onnx(content, features, audio, provider)
        difference = float(np.abs(found - posteriors).max())
        if not difference <= LARGEST_DIFFERENCE:
            faults.append(f"{key} differs by {difference:.2g} on {provider}")
    return faults


def _faults(key: str, result: Measured, loss: float) -> list[str]:
    """What is wrong with one file; `loss` is the accuracy that it lacks against PyTorch."""
    faults = []
    if ".int8." in key:
        if loss > ACCURACY_LOSS:
            faults.append(f"loses {loss:.2%} of accuracy; {ACCURACY_LOSS:.1%} are allowed")
    else:
        if not result.largest_difference <= LARGEST_DIFFERENCE:
            faults.append(
                f"differs from PyTorch by {result.largest_difference:.2g} in a posterior; "
                f"{LARGEST_DIFFERENCE:g} are allowed"
            )
        if result.agreement < 1.0:
            faults.append(
                f"decides otherwise than PyTorch on {1.0 - result.agreement:.2%} of clips"
            )
    if result.equals_integers is False:
        faults.append("does not compute the integers that export.integer computes")
    return faults


def measurements_of(
    measured: Mapping[str, Measured], reference: Reference, clips: EvaluationSet
) -> dict[str, object]:
    """The entry of a manifest's measurements."""
    right = reference.decisions == np.array(reference.labels)[clips.targets]
    return {
        "split": clips.split,
        "clips": len(clips.audio),
        "pytorch_accuracy": float(right.mean()),
        "files": {key: asdict(result) for key, result in measured.items()},
    }


def read_file_metadata(key: str, content: bytes) -> dict[str, str]:
    """The metadata inside a file."""
    if key.endswith(".tflite"):
        return read_metadata(content)
    return {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
