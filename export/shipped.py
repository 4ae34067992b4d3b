"""The folded network of a model that was exported before, from its own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from export.network import CLASSIFIER, Block, FloatArray, FoldedNetwork, Kind, Layer
from kws.errors import ModelError
from kws.model.manifest import Manifest, read_artefact


def read_network(manifest: Manifest, folder: Path) -> FoldedNetwork:
    """The weights in `window.onnx`; raises ModelError where `python -m export` did not write it."""
    try:
        content = read_artefact(folder, manifest.artefacts["window.onnx"])
        graph = onnx.load_from_string(content).graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        sizes = manifest.provenance["network"]
        blocks = tuple(
            Block(
                f"block{index}",
                _layer(constants, f"block{index}.depthwise", "depthwise"),
                _layer(constants, f"block{index}.pointwise", "full"),
            )
            for index in range(len(sizes["kernels"]))
        )
        return FoldedNetwork(
            _layer(constants, "stem", "full", sizes["stride"], relu=True),
            blocks,
            sizes["pool"],
            _layer(constants, CLASSIFIER, "full"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{manifest.name} was not written by python -m export (missing: {error}); export it"
        ) from error


def _layer(
    constants: dict[str, FloatArray], name: str, kind: Kind, stride: int = 1, relu: bool = False
) -> Layer:
    weights = constants[f"{name}.weights"]
    if kind == "depthwise":
        weights = weights[:, 0].T
    elif name == CLASSIFIER:
        weights = weights[:, None]
    else:
        weights = weights.transpose(0, 2, 1)
    return Layer(name, kind, np.ascontiguousarray(weights), constants[f"{name}.bias"], stride, relu)
