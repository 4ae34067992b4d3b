"""The native kernel: the front end and the networks in C, where the library was built.

`kernel.c`, `multiply.c` and `product.c` are a plain library without Python in it, called through
ctypes; `build_backend.py` builds it with the wheel. All memory is that of NumPy's arrays, whose
types and shapes are checked here, and in `product.py` those of the verifier, before the library
gets their addresses.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import FeatureConfig
from kws.frontend import FloatArray, SparseFilters, window

NAME = "kernel.dll" if os.name == "nt" else "kernel.so"  # of the library, beside this file
VERSION = 6  # of its functions
TILE = 16  # channels that it computes together
MOST_BLOCKS = 16
MOST = 1 << 12  # of anything else that is counted, so that no size is beyond 32 bits
MOST_CHANNELS = 1 << 10
MOST_FLOATS = 1 << 20  # of a call's features

_INT, _POINTER = ctypes.c_int32, ctypes.c_void_p


class _FrontEnd(ctypes.Structure):
    """`kws_front_end` of kernel.c."""

    _fields_ = (
        *((name, _INT) for name in ("window", "hop", "fft_size", "bands", "first", "last")),
        *((name, _POINTER) for name in ("scaled", "turns", "order", "gaps", "rising", "falling")),
        ("scratch", _POINTER),
    )


class _Network(ctypes.Structure):
    """`kws_network` of kernel.c."""

    _fields_ = (
        *((name, _INT) for name in ("bands", "stride", "steps", "overlap", "channels")),
        *((name, _INT) for name in ("labels", "pool", "blocks")),
        ("context", _INT * MOST_BLOCKS),
        *((name, _POINTER) for name in ("weights", "state", "scratch")),
    )


@cache
def library() -> Any:
    """The library; None where it was not built, or for another machine or release."""
    try:
        found = ctypes.CDLL(str(Path(__file__).with_name(NAME)))
        if found.kws_version() != VERSION:
            return None
    except (OSError, AttributeError):
        return None
    found.kws_front_end_floats.argtypes = (_POINTER,)
    found.kws_features.argtypes = (_POINTER, _POINTER, _INT, _POINTER)
    found.kws_features.restype = None
    found.kws_network_floats.argtypes = (_POINTER, _INT)
    found.kws_network_step.argtypes = (_POINTER, _POINTER, _POINTER)
    found.kws_network_step.restype = None
    found.kws_multiplies.argtypes = (_INT,)
    found.kws_product.argtypes = (
        *(_POINTER, _INT, _INT, _INT),
        *(_POINTER, _POINTER, _POINTER, _INT, _INT, _INT, _POINTER, _POINTER, _POINTER),
    )
    found.kws_product.restype = None
    return found


def _lend(struct: ctypes.Structure, arrays: dict[str, NDArray[Any]]) -> None:
    """Put the addresses of arrays into a structure; they must live as long as it does."""
    for name, array in arrays.items():
        if not array.flags.c_contiguous or array.dtype not in (np.float32, np.int32):
            raise ValueError(f"{name}: expected one piece of 32-bit numbers, got {array.dtype}")
        setattr(struct, name, array.ctypes.data)


class LogMel:
    """`kws.frontend.log_mel` of a fixed number of frames, to about 1e-6.

    A frame gets the same bits whatever frames are beside it.
    """

    def __init__(self, config: FeatureConfig, frames: int) -> None:
        """Raises ValueError for a configuration that the kernel has no code for."""
        if not computes(config) or not 1 <= frames <= MOST:
            raise ValueError(f"the native kernel does not compute {frames} frames of {config}")
        self._run, self._frames = library().kws_features, frames
        self.samples = (frames - 1) * config.hop + config.window  # that a call reads
        filters, scale = SparseFilters(config), np.float32(1.0 / config.floor)
        half = config.fft_size // 2
        phase = -2.0 * np.pi * np.arange(half) / config.fft_size
        digits = half.bit_length() - 1
        ends = np.append(filters.starts, len(filters.rising))
        arrays = {
            "scaled": window(config) / np.float32(32768.0),
            "turns": np.stack((np.cos(phase), np.sin(phase)), axis=1).astype(np.float32),
            "order": np.array([int(f"{k:0{digits}b}"[::-1], 2) for k in range(half)], np.int32),
            "gaps": np.repeat(np.arange(config.bands + 1, dtype=np.int32), np.diff(ends)),
            "rising": filters.rising * scale,
            "falling": filters.falling * scale,
        }
        self._struct = _FrontEnd(
            config.window, config.hop, config.fft_size, config.bands, filters.first, filters.last
        )
        floats = library().kws_front_end_floats(ctypes.byref(self._struct))
        self._arrays = {**arrays, "scratch": np.zeros(floats, np.float32)}
        _lend(self._struct, self._arrays)
        self._features = np.zeros((frames, config.bands), np.float32)
        self._address, self._out = ctypes.addressof(self._struct), self._features.ctypes.data

    def at(self, address: int) -> FloatArray:
        """Features (frames, bands) of the `samples` int16 at an address, which the caller owns."""
        self._run(self._address, address, self._frames, self._out)
        return self._features.copy()


def computes(config: FeatureConfig) -> bool:
    """Whether the kernel has a front end of this configuration."""
    size = config.fft_size
    return (
        library() is not None
        and not config.coefficients
        and 4 <= size <= MOST
        and not size & (size - 1)
        and 2 <= config.window <= size
        and not config.window % 2
        and 1 <= config.hop <= MOST
        and 1 <= config.bands <= MOST
    )


@dataclass(frozen=True)
class Block:
    """The weights of a residual block: relu(value + bias + pointwise(depthwise(value)))."""

    depthwise: FloatArray  # (steps, channels)
    pointwise: FloatArray  # (channels, channels), inputs first
    bias: FloatArray  # (channels,)


@dataclass(frozen=True)
class Network:
    """A network that the kernel computes, and its weights."""

    bands: int  # numbers in a frame
    stride: int  # frames of a step
    steps: int  # rows of posteriors that a call makes
    stem: FloatArray  # (frames * bands, channels)
    stem_bias: FloatArray  # (channels,)
    blocks: Sequence[Block]
    pool: int  # steps that a row averages
    classifier: FloatArray  # (labels, channels)
    classifier_bias: FloatArray  # (labels,)

    def __post_init__(self) -> None:
        """Raises ValueError where the shapes do not fit each other, or the kernel."""
        inputs, channels = self.stem.shape
        labels = len(self.classifier) if self.classifier.ndim == 2 else 0
        counted = [self.bands, self.stride, self.steps, inputs, labels, self.pool]
        counted += [len(block.depthwise) for block in self.blocks]
        shapes = [
            (self.stem_bias, (channels,)),
            (self.classifier, (labels, channels)),
            (self.classifier_bias, (labels,)),
        ]
        for block in self.blocks:
            shapes += [
                (block.depthwise, (len(block.depthwise), channels)),
                (block.pointwise, (channels, channels)),
                (block.bias, (channels,)),
            ]
        fits = (
            all(array.shape == shape and array.dtype == np.float32 for array, shape in shapes)
            and self.stem.dtype == np.float32
            and all(1 <= count <= MOST for count in counted)
            and 1 <= channels <= MOST_CHANNELS
            and len(self.blocks) <= MOST_BLOCKS
            and self.steps * self.stride * self.bands <= MOST_FLOATS
            and not inputs % self.bands
            and inputs >= self.stride * self.bands
        )
        if not fits:
            raise ValueError("the native kernel does not compute networks of these shapes")


class Graph:
    """A network as the kernel takes it; every stream of its own state can run on it."""

    def __init__(self, network: Network, silent_frames: int) -> None:
        """`silent_frames`: frames of silence after which nothing earlier has an effect."""
        self.bands, self.steps = network.bands, network.steps
        self.frames, self.labels = network.steps * network.stride, len(network.classifier)
        self._network = network
        self.weights = _packed(network)
        self.silent_state = np.zeros(self._floats(1), np.float32)
        stream = Stream(self)
        silence = np.zeros((self.frames, self.bands), np.float32)
        for _ in range(-(-silent_frames // self.frames)):
            stream.posteriors(silence)
        self.silent_state = stream.state.copy()

    def _floats(self, what: int) -> int:
        floats: int = library().kws_network_floats(ctypes.byref(self.struct()), what)
        return floats

    def scratch(self) -> FloatArray:
        """Memory for one stream's calls."""
        return np.zeros(self._floats(2), np.float32)

    def struct(self) -> _Network:
        """The kernel's own description, still without memory."""
        network = self._network
        struct = _Network(
            bands=network.bands,
            stride=network.stride,
            steps=network.steps,
            overlap=len(network.stem) // network.bands - network.stride,
            channels=_whole_tiles(network.stem.shape[1]),
            labels=len(network.classifier),
            pool=network.pool,
            blocks=len(network.blocks),
        )
        for index, block in enumerate(network.blocks):
            struct.context[index] = len(block.depthwise) - 1
        if library().kws_network_floats(ctypes.byref(struct), 0) != len(self.weights):
            raise ValueError("the library and its weights are of different layouts")
        return struct


class Stream:
    """One stream through a Graph; see `kws.model.streaming.Stream`."""

    def __init__(self, graph: Graph) -> None:
        self.frames, self.steps = graph.frames, graph.steps
        self._graph, self._struct = graph, graph.struct()
        self._run = library().kws_network_step
        self.state = graph.silent_state.copy()
        self._scratch = graph.scratch()
        arrays = {"weights": graph.weights, "state": self.state, "scratch": self._scratch}
        _lend(self._struct, arrays)
        self._features = np.zeros((graph.frames, graph.bands), np.float32)
        self._posteriors = np.zeros((graph.steps, graph.labels), np.float32)
        self._address = ctypes.addressof(self._struct)
        self._in, self._out = self._features.ctypes.data, self._posteriors.ctypes.data

    def posteriors(self, features: FloatArray) -> FloatArray:
        """Posteriors (steps, labels) of the next features (frames, bands); float32 both."""
        self._features[:] = features
        self._run(self._address, self._in, self._out)
        return self._posteriors.copy()

    def reset(self) -> None:
        """Begin again, as though digital silence had gone before."""
        self.state[:] = self._graph.silent_state


def _whole_tiles(channels: int) -> int:
    return -(-channels // TILE) * TILE


def _packed(network: Network) -> FloatArray:
    """All weights in the order in which the kernel reads them, channels in whole tiles."""
    missing = _whole_tiles(network.stem.shape[1]) - network.stem.shape[1]

    def wide(weights: FloatArray) -> FloatArray:
        return np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, missing)])

    def tiles(weights: FloatArray) -> FloatArray:  # (inputs, channels) -> tile after tile
        return wide(weights).reshape(len(weights), -1, TILE).swapaxes(0, 1)

    pieces = [tiles(network.stem), wide(network.stem_bias)]
    for block in network.blocks:
        pointwise = np.pad(block.pointwise, [(0, missing), (0, 0)])
        pieces += [wide(block.depthwise), tiles(pointwise), wide(block.bias)]
    pieces += [wide(network.classifier), network.classifier_bias]
    return np.concatenate([piece.ravel() for piece in pieces]).astype(np.float32)
