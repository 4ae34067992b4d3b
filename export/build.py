"""Every file of a model, as bytes by its key in the manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from export.network import FoldedNetwork
from export.onnx_graph import write_onnx
from kws import __version__
from kws.config import FeatureConfig

GRAPHS = ("window", "stream")


def build(
    network: FoldedNetwork, name: str, labels: Sequence[str], features: FeatureConfig, licence: str
) -> dict[str, bytes]:
    """The artefacts of one network; equal arguments give equal bytes."""
    metadata = {
        "name": name,
        "labels": json.dumps(list(labels), ensure_ascii=False),
        "features": json.dumps(asdict(features)),
        "licence": licence,
        "kws_version": __version__,
    }
    return {f"{graph}.onnx": write_onnx(network, graph, features, metadata) for graph in GRAPHS}
