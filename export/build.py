"""Every file of a model, as bytes by its key in the manifest.

What goes in is the folded network and the manifest: its labels and front end, and the ranges of
`export.calibrate` in its provenance. So the shipped files can be made again from the shipped
manifest and the weights in the shipped `window.onnx`, without the checkpoint and without data.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from export.network import FoldedNetwork
from export.onnx_graph import write_onnx
from export.quantised import QuantisedNetwork, quantise
from export.stream_graph import write_stream
from export.tflite import write_tflite
from kws.errors import ModelError
from kws.frontend import frame_count
from kws.manifest import Manifest

STREAM_STEPS = 3  # rows of posteriors that a call of stream.onnx gives, 20 ms apart


def quantised_of(manifest: Manifest, network: FoldedNetwork) -> QuantisedNetwork:
    """The integers of a network, by the ranges that its manifest has."""
    return quantise(network, manifest.provenance["quantisation"]["ranges"])


def metadata_of(manifest: Manifest) -> dict[str, str]:
    """What every file says of itself, so that one that has lost its manifest can be understood."""
    return {
        "name": manifest.name,
        "labels": json.dumps(list(manifest.labels), ensure_ascii=False),
        "features": json.dumps(asdict(manifest.features)),
        "licence": manifest.licence,
        "kws_version": manifest.provenance["kws_version"],
    }


def build(manifest: Manifest, network: FoldedNetwork) -> dict[str, bytes]:
    """The artefacts of a model; equal arguments give equal bytes.

    Raises ModelError where the network does not see exactly the frames of one second.
    """
    features, metadata = manifest.features, metadata_of(manifest)
    frames = frame_count(features.sample_rate, features)
    if network.frames != frames:
        raise ModelError(
            f"the network sees {network.frames} frames and a second has {frames}; "
            "change its kernels or its pool"
        )
    quantised = quantised_of(manifest, network)
    contents = {
        "window.onnx": write_onnx(network, "window", features, metadata),
        "window_audio.onnx": write_onnx(network, "window_audio", features, metadata),
        "window.int8.onnx": write_onnx(network, "window", features, metadata, quantised),
        "stream.onnx": write_stream(network, STREAM_STEPS, metadata),
        "stream_audio.onnx": write_onnx(network, "stream_audio", features, metadata),
        "stream.int8.onnx": write_onnx(network, "stream", features, metadata, quantised),
    }
    for graph in ("window", "stream"):
        contents[f"{graph}.tflite"] = write_tflite(network, graph, metadata)
        contents[f"{graph}.int8.tflite"] = write_tflite(network, graph, metadata, quantised)
    return contents
