"""Every file of a model, as bytes by its key in the manifest.

What goes in is the folded network and the manifest: its labels and front end, and the ranges of
`export.calibrate` in its provenance. So the shipped files can be made again from the shipped
manifest and the weights in the shipped `window.onnx`, without the checkpoint and without data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from torch import nn

from export.network import FoldedNetwork
from export.onnx_graph import write_onnx
from export.quantised import QuantisedNetwork, quantise
from export.stream_graph import write_stream
from export.tflite import write_tflite
from kws.errors import ModelError
from kws.frontend import frame_count
from kws.model.manifest import Manifest

ARTEFACTS = (
    "window.onnx",
    "window_audio.onnx",
    "window.int8.onnx",
    "stream.onnx",
    "stream_audio.onnx",
    "stream.int8.onnx",
    "window.tflite",
    "window.int8.tflite",
    "stream.tflite",
    "stream.int8.tflite",
)
STREAM_STEPS = 4  # rows of posteriors that a call of stream.onnx gives, 20 ms apart


@dataclass(frozen=True)
class Made:
    """A model's files before they are written, and what they are to agree with."""

    manifest: Manifest  # with the ranges of its int8 files
    contents: Mapping[str, bytes]  # by the artefact's key
    trained: nn.Module
    quantised: QuantisedNetwork | None  # what int8 TFLite files are to equal


def with_ranges(manifest: Manifest, clips: int, ranges: Mapping[str, Sequence[float]]) -> Manifest:
    """The manifest with the ranges of each tensor, measured on so many clips."""
    quantisation = {"clips": clips, "ranges": ranges}
    return replace(manifest, provenance={**manifest.provenance, "quantisation": quantisation})


def quantised_of(manifest: Manifest, network: FoldedNetwork) -> QuantisedNetwork:
    """The integers of a network, by the ranges that its manifest has."""
    return quantise(network, manifest.provenance["quantisation"]["ranges"])


def metadata_of(manifest: Manifest) -> dict[str, str]:
    """The metadata in every file, so that one that has lost its manifest can be understood."""
    return {
        "name": manifest.name,
        "labels": json.dumps(list(manifest.labels), ensure_ascii=False),
        "features": json.dumps(asdict(manifest.features)),
        "licence": manifest.licence,
        "kws_version": manifest.provenance["kws_version"],
    }


def build(
    manifest: Manifest, network: FoldedNetwork, only: Iterable[str] = ARTEFACTS
) -> dict[str, bytes]:
    """The artefacts of a model, or `only` some; equal arguments give equal bytes.

    Raises ModelError where the network does not see exactly the frames of one second, or there is
    no artefact of such a name.
    """
    features, metadata = manifest.features, metadata_of(manifest)
    frames = frame_count(features.sample_rate, features)
    if network.frames != frames:
        raise ModelError(
            f"the network sees {network.frames} frames and a second has {frames}; "
            "change its kernels or its pool"
        )
    if unknown := sorted(set(only) - set(ARTEFACTS)):
        raise ModelError(
            f"there is no artefact {', '.join(unknown)}; expected some of {', '.join(ARTEFACTS)}"
        )
    quantised = quantised_of(manifest, network)

    def write(key: str) -> bytes:
        graph, weights = key.split(".")[0], quantised if ".int8." in key else None
        if key.endswith(".tflite"):
            return write_tflite(network, graph, metadata, weights)
        if key == "stream.onnx":
            return write_stream(network, STREAM_STEPS, metadata)
        return write_onnx(network, graph, features, metadata, weights)

    return {key: write(key) for key in ARTEFACTS if key in set(only)}
