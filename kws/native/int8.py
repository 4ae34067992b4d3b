"""Networks of whole windows whose values are stored in 8 bits, in the native kernel.

A `Plan` takes a network layer by layer, checks that each fits what comes before it, and packs the
weights; a `Window` runs it. The integers are those that ONNX Runtime computes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.errors import ModelError
from kws.frontend import FloatArray
from kws.native import MOST, TILE, library

MOST_BYTES = 1 << 24  # of one value, and of one layer's weights
MOST_PRODUCTS = 1 << 32  # of a window, which take a few seconds
SLACK = 64  # bytes after a value that the kernel may read
_OTHER = "the native kernel does not compute networks of these shapes"
_SLOTS = 3  # places for values: a layer's result goes where none is that is still used

Bytes = NDArray[np.uint8]


class Arithmetic(IntEnum):
    """The ways to multiply of multiply.c."""

    PLAIN = 0
    AVX2 = 1
    AVX_VNNI = 2
    AVX512_VNNI = 3
    NEON = 4
    NEON_DOT = 5


FOR_WINDOWS = (  # the others take no values from 0 to 255
    Arithmetic.PLAIN,
    Arithmetic.AVX2,
    Arithmetic.AVX_VNNI,
    Arithmetic.AVX512_VNNI,
)


class _Kind(IntEnum):
    QUANTISE = 0
    IMAGES = 1
    CONVOLVE = 2
    DEPTHWISE = 3
    ADD = 4
    POOL = 5
    CLASSIFY = 6


_COUNTS = (
    "kind", "from_", "other", "to", "pitch", "channels", "rows", "columns", "outputs", "edge",
    "edge_value", "height", "run", "step", "zero", "before", "table_apart", "bent",
    "bent_zero",
)  # fmt: skip
_REALS = ("rise", "fall", "scale", "other_scale", "offset")
_ARRAYS: dict[str, type[np.generic]] = {
    "weights": np.int8,
    "bias": np.int32,
    "factors": np.float32,
    "table": np.uint8,
    "floats": np.float32,
    "constants": np.float32,
}


class _Layer(ctypes.Structure):
    """`kws_layer` of int8.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in _COUNTS),
        *((name, ctypes.c_float) for name in _REALS),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
    )


@dataclass(frozen=True)
class Steps:
    """How a value is stored: real = (stored - zero) * scale, stored from 0 to 255."""

    scale: np.float32
    zero: int

    def __post_init__(self) -> None:
        """Raises ValueError for what no value is stored like."""
        _require(bool(0.0 < self.scale < np.inf) and 0 <= self.zero <= 255)

    def real(self) -> FloatArray:
        """The 256 numbers that can be stored."""
        return (np.arange(256, dtype=np.float32) - np.float32(self.zero)) * self.scale

    def store(self, real: FloatArray) -> Bytes:
        """Numbers as they are stored, those out of range at the nearest limit."""
        steps = np.rint(real / self.scale) + np.float32(self.zero)
        stored: Bytes = np.clip(steps, 0, 255).astype(np.uint8)
        return stored


@dataclass(frozen=True)
class Value:
    """What a layer makes: stored numbers (rows, columns, channels), with columns at the edges."""

    slot: int
    rows: int
    columns: int
    channels: int
    steps: Steps
    edge: int = 0  # columns more on either side, that stand for 0

    @property
    def pitch(self) -> int:
        """Bytes from one row to the next."""
        return (self.columns + 2 * self.edge) * self.channels


class Window:
    """A network that the kernel runs, a `kws.model.runtimes.Backend`; threads may share it."""

    def __init__(
        self,
        features: tuple[int, int],
        labels: int,
        heads: int,
        layers: Sequence[_Layer],
        arrays: Sequence[NDArray[Any]],
        scratch: int,
        arithmetic: Arithmetic,
    ) -> None:
        self.shape, self.labels, self._heads = features, labels, heads
        self._layers, self._arrays = (_Layer * len(layers))(*layers), arrays
        self._scratch, self._arithmetic = scratch, int(arithmetic)
        self._run = library().kws_window_run

    def run(self, features: FloatArray) -> FloatArray:
        """See Backend.run."""
        if features.shape[1:] != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ModelError(
                f"the network takes features of shape (batch, {expected}), not {features.shape}"
            )
        features = np.ascontiguousarray(features, np.float32)
        posteriors = np.zeros((len(features), self._heads, self.labels), np.float32)
        scratch = np.zeros(self._scratch, np.uint8)  # of this call, which may be one of several
        for window, row in zip(features, posteriors, strict=True):
            self._run(
                ctypes.addressof(self._layers),
                len(self._layers),
                self._arithmetic,
                window.ctypes.data,
                scratch.ctypes.data,
                row.ctypes.data,
            )
        if self._heads == 1:
            return posteriors[:, 0]
        mean = np.sqrt(posteriors[:, 0] * posteriors[:, 1])
        normalised: FloatArray = mean / mean.sum(axis=1, keepdims=True)
        return normalised


class Plan:
    """A network as it is put together. Everything raises ValueError where sizes do not fit."""

    def __init__(self, frames: int, bands: int, arithmetic: Arithmetic | None = None) -> None:
        """Features are (frames, bands). `arithmetic` is the fastest of this machine by default."""
        way = fastest(FOR_WINDOWS) if arithmetic is None else arithmetic
        _require(_counts(frames, bands))
        if way is None or way not in FOR_WINDOWS or not multiplies(way):
            raise ValueError(_OTHER)
        self._arithmetic = way
        self._frames, self._bands = frames, bands
        self._layers: list[_Layer] = []
        self._arrays: list[NDArray[Any]] = []
        self._largest = 0  # bytes of a value
        self._labels: list[int] = []  # of each classifier
        self._products = 0

    def features(self, steps: Steps) -> Value:
        """All features as they are stored, in one column."""
        value = Value(0, self._frames, 1, self._bands, steps)
        self._append(_Kind.QUANTISE, value, scale=steps.scale)
        return value

    def images(self, first: int, weights: FloatArray, bias: FloatArray, images: int, steps: Steps,
               edge: int) -> Value:  # fmt: skip
        """Features from frame `first` on times (bands, images * columns), an image after another.

        `edge` is how many columns the convolution that comes next adds on either side.
        """
        _require(0 <= first < self._frames and weights.ndim == 2 and images >= 1)
        _require(len(weights) == self._bands and bias.shape == weights.shape[1:])
        columns, rest = divmod(weights.shape[1], images)
        value = Value(0, self._frames - first, columns, images, steps, edge)
        _require(not rest and columns >= 1)
        # Column by column.
        order = np.arange(weights.shape[1]).reshape(images, columns).T.ravel()
        self._append(
            _Kind.IMAGES,
            value,
            arrays={
                "floats": _tiles(weights[:, order]),
                "constants": _whole(bias[order]),
            },
            from_=first * self._bands,
            pitch=self._bands,
            channels=self._bands,
            scale=steps.scale,
        )
        return value

    def convolve(
        self,
        value: Value,
        weights: NDArray[np.int8],
        scales: FloatArray,
        bias: NDArray[np.int32],
        steps: Steps,
        *,
        step: int = 1,
        leak: float | None = None,
        table: Bytes | None = None,
        stored: Steps | None = None,
        edge: int = 0,
    ) -> Value:
        """A convolution by (outputs, channels, rows, columns), which covers the value's edges.

        Its sums are stored in `steps`, and with a `leak` once more in `stored`, those below 0 times
        the leak; or a `table` (outputs, 256) says what takes the place of each of the sums that can
        be stored. `step` rows of the value lie between two of the result.
        """
        _require(weights.ndim == 4 and min(weights.shape) >= 1 and step >= 1)
        outputs, channels, height, width = weights.shape
        rows = (value.rows - height) // step + 1
        columns = value.columns + 2 * value.edge - width + 1
        result = Value(
            _after(value.slot), rows, columns, outputs, stored if stored else steps, edge
        )
        _require(channels == value.channels and value.rows >= height)
        _require(table is None or (table.shape == (outputs, 256) and table.dtype == np.uint8))
        apart, bend = 256 if table is not None else 0, {}
        if leak is not None and table is None:
            bend = _bend(steps, result.steps, leak)
            table = None if bend else leaky(steps, result.steps, leak)
        # What follows a row of the kernel in memory gets weights of 0.
        flat = weights.transpose(0, 2, 3, 1).reshape(outputs, height, width * channels)
        flat = np.pad(flat, [(0, 0), (0, 0), (0, -(width * channels) % 4)])
        together = 1 if self._arithmetic == Arithmetic.PLAIN else 4
        packed = _whole(flat.reshape(outputs, -1, together).transpose(1, 2, 0))
        packed = packed.reshape(len(packed), together, -1, TILE).transpose(2, 0, 3, 1)
        self._append(
            _Kind.CONVOLVE,
            result,
            arrays={
                "weights": packed,
                **_settled(value, weights, scales, bias, steps),
                **({} if table is None else {"table": table}),
            },
            from_=value,
            height=height,
            run=flat.shape[2],
            step=step,
            zero=steps.zero,
            table_apart=apart,
            **bend,
        )
        return result

    def convolve_depthwise(
        self,
        value: Value,
        weights: NDArray[np.int8],
        scales: FloatArray,
        bias: NDArray[np.int32],
        steps: Steps,
    ) -> Value:
        """A convolution of each channel along the rows of one column by (channels, rows)."""
        _require(weights.ndim == 2 and min(weights.shape) >= 1 and _is_column(value))
        channels, height = weights.shape
        result = Value(_after(value.slot), value.rows - height + 1, 1, channels, steps)
        _require(channels == value.channels)
        self._append(
            _Kind.DEPTHWISE,
            result,
            arrays={
                "weights": _whole(weights.T),
                **_settled(value, weights, scales, bias, steps),
            },
            from_=value,
            height=height,
            zero=steps.zero,
        )
        return result

    def add(self, old: Value, change: Value, steps: Steps) -> Value:
        """The sum of a change and of the last rows of a value from before it."""
        slot = _after(change.slot)
        slot = _after(slot) if slot == old.slot else slot
        result = Value(slot, change.rows, 1, change.channels, steps)
        dropped = old.rows - change.rows
        _require(_is_column(old) and _is_column(change) and old.channels == change.channels)
        _require(dropped >= 0 and old.slot != change.slot)
        scales = old.steps.scale / steps.scale, change.steps.scale / steps.scale
        zeros = np.float32(old.steps.zero), np.float32(change.steps.zero)
        self._append(
            _Kind.ADD,
            result,
            from_=old,
            other=change,
            first_row=dropped,
            scale=scales[0],
            other_scale=scales[1],
            offset=np.float32(steps.zero) - (scales[0] * zeros[0] + scales[1] * zeros[1]),
        )
        return result

    def pool(self, value: Value, rows: int, columns: int, edge: int) -> Value:
        """The largest of each so many rows and columns."""
        _require(rows >= 1 and columns >= 1 and not value.edge)
        result = Value(
            _after(value.slot),
            value.rows // rows,
            value.columns // columns,
            value.channels,
            value.steps,
            edge,
        )
        self._append(_Kind.POOL, result, from_=value, height=rows, run=columns)
        return result

    def classify(self, value: Value, weights: FloatArray, bias: FloatArray) -> None:
        """A softmax of (labels, channels) times the mean over the rows of a value of one column.

        There are one or two of these; of two the geometric mean is the network's result.
        """
        _require(weights.ndim == 2 and _is_column(value) and len(self._labels) < 2)
        labels, channels = weights.shape
        _require(bias.shape == (labels,) and channels == value.channels and _counts(labels))
        _require(self._labels in ([], [labels]))
        self._append(
            _Kind.CLASSIFY,
            None,
            arrays={"floats": weights.T, "constants": bias},
            from_=value,
            to=sum(self._labels),
            outputs=labels,
            height=value.rows,
            before=value.steps.zero,
            scale=value.steps.scale,
        )
        self._labels.append(labels)

    def window(self) -> Window:
        """The network, complete with its classifiers."""
        _require(len(self._labels) >= 1)
        bytes_each = -(-(self._largest + SLACK) // 64) * 64
        layers = [_Layer.from_buffer_copy(layer) for layer in self._layers]
        for layer in layers:
            # Places of values were numbered until their sizes were known.
            for name in _PLACES[_Kind(layer.kind)]:
                slot, first = divmod(getattr(layer, name), MOST_BYTES)
                setattr(layer, name, slot * bytes_each + first)
        return Window(
            (self._frames, self._bands),
            self._labels[0],
            len(self._labels),
            layers,
            self._arrays,
            _SLOTS * bytes_each,
            self._arithmetic,
        )

    def _append(
        self,
        kind: _Kind,
        result: Value | None,
        *,
        arrays: dict[str, NDArray[Any]] | None = None,
        first_row: int = 0,
        **fields: Any,
    ) -> None:
        layer = _Layer(kind=kind)
        if result is not None:
            _require(_counts(result.rows, result.columns, result.channels))
            _require(0 <= result.edge <= MOST and result.rows * result.pitch < MOST_BYTES)
            self._largest = max(self._largest, result.rows * result.pitch)
            layer.to, layer.edge = result.slot * MOST_BYTES, result.edge
            layer.rows, layer.columns, layer.outputs = result.rows, result.columns, result.channels
            layer.edge_value, layer.zero = result.steps.zero, result.steps.zero
        for name, content in fields.items():
            if not isinstance(content, Value):
                setattr(layer, name, content)
                continue
            first = first_row * content.pitch if name == "from_" else 0
            setattr(layer, name, content.slot * MOST_BYTES + first)
            if name == "from_":
                layer.pitch, layer.channels = content.pitch, content.channels
        for name, array in (arrays or {}).items():
            # A copy, as a view of a file's content would keep all of that in memory.
            kept: NDArray[Any] = np.array(array, _ARRAYS[name], order="C")
            _require(kept.nbytes < MOST_BYTES)
            self._arrays.append(kept)  # as long as the layer has its address
            setattr(layer, name, kept.ctypes.data)
        per_output = max(1, layer.height) * max(1, layer.run)
        self._products += max(1, layer.rows * layer.columns) * layer.outputs * per_output
        _require(self._products <= MOST_PRODUCTS)
        self._layers.append(layer)


def leaky(before: Steps, after: Steps, leak: float) -> Bytes:
    """What each of the 256 numbers becomes that can be stored, those below 0 times the leak."""
    real = before.real()
    return after.store(np.where(real < 0.0, real * np.float32(leak), real))


def _bend(before: Steps, after: Steps, leak: float) -> dict[str, Any]:
    """How `leaky` is computed without a table; nothing where that would differ from it."""
    rise = before.scale / after.scale
    fall = rise * np.float32(leak)
    whole = np.arange(256, dtype=np.float32) - np.float32(before.zero)
    bent = np.rint(np.maximum(whole * rise, whole * fall)) + np.float32(after.zero)
    if not np.array_equal(np.clip(bent, 0, 255), leaky(before, after, leak)):
        return {}
    return {"bent": 1, "bent_zero": after.zero, "rise": rise, "fall": fall}


def _settled(
    value: Value,
    weights: NDArray[np.int8],
    scales: FloatArray,
    bias: NDArray[np.int32],
    steps: Steps,
) -> dict[str, NDArray[Any]]:
    """How sums of products with weights (outputs, ...) become stored numbers."""
    outputs = len(weights)
    _require(weights.dtype == np.int8 and bias.dtype == np.int32)
    _require(scales.shape == bias.shape == (outputs,))
    factors = value.steps.scale * scales / steps.scale
    products = weights.reshape(outputs, -1)
    shifted = bias - value.steps.zero * products.sum(axis=1, dtype=np.int64)
    # No sum may be beyond 32 bits, whatever comes in.
    largest = np.abs(shifted) + 255 * 128 * products.shape[1]
    _require(bool(np.isfinite(factors).all()) and int(largest.max()) < 1 << 31)
    return {"bias": _whole(shifted.astype(np.int32)), "factors": _whole(factors)}


# Fields that say where a value is.
_PLACES = {
    _Kind.QUANTISE: ("to",),
    _Kind.IMAGES: ("to",),
    _Kind.CONVOLVE: ("from_", "to"),
    _Kind.DEPTHWISE: ("from_", "to"),
    _Kind.ADD: ("from_", "other", "to"),
    _Kind.POOL: ("from_", "to"),
    _Kind.CLASSIFY: ("from_",),
}


def multiplies(arithmetic: Arithmetic) -> bool:
    """Whether this machine, and the library, have this way to multiply."""
    return library() is not None and bool(library().kws_multiplies(int(arithmetic)))


def fastest(ways: Sequence[Arithmetic]) -> Arithmetic | None:
    """The fastest of these that this machine has, of which later ones are faster; None without the
    library."""
    return next(filter(multiplies, reversed(ways)), None)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError(_OTHER)


def _counts(*counts: int) -> bool:
    return all(1 <= count <= MOST for count in counts)


def _is_column(value: Value) -> bool:
    return value.columns == 1 and not value.edge


def _after(slot: int) -> int:
    return (slot + 1) % _SLOTS


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    """With zeros after the last axis, up to whole tiles."""
    missing = -array.shape[-1] % TILE
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])


def _tiles(weights: FloatArray) -> FloatArray:
    """(inputs, outputs) -> tile after tile."""
    return _whole(weights).reshape(len(weights), -1, TILE).swapaxes(0, 1)
