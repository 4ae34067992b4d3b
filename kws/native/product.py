"""Products of float values with weights of 8 bits, in the native kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.frontend import FloatArray
from kws.native import MOST, TILE, library
from kws.native.arithmetic import Arithmetic, fastest, multiplies

MOST_WEIGHTS = 1 << 24
MOST_FLOATS = 1 << 22  # of a call's values, and of its result
_PANEL = 3 * TILE  # outputs whose weights are packed at once, MOST_TILES in multiply.h


class Product:
    """stored(values) @ (weights * scales).T + bias, by weights that stay where they are.

    Each row of values is stored in 8 bits: to the nearest 127th of the largest of it. Where the
    product is `bent`, a result x becomes x * sigmoid(1.702 x): about the Gaussian error linear
    unit (Hendrycks and Gimpel, arXiv 1606.08415). A row's result is the same bits whatever rows
    are beside it.
    """

    def __init__(
        self,
        weights: NDArray[np.int8],
        scales: FloatArray,
        bias: FloatArray,
        *,
        bent: bool = False,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        """Weights (outputs, inputs), and a scale and a bias of each output.

        Weights are not copied where the weights of each input lie side by side, in whole tiles.
        `arithmetic` is the fastest of this machine by default. Raises ValueError where shapes or
        types do not fit, or for what it cannot do.
        """
        way = fastest() if arithmetic is None else arithmetic
        fits = (
            way is not None
            and multiplies(way)
            and weights.ndim == 2
            and weights.dtype == np.int8
            and all(1 <= count <= MOST for count in weights.shape)
            and weights.size <= MOST_WEIGHTS
            and scales.shape == bias.shape == weights.shape[:1]
            and scales.dtype == bias.dtype == np.float32
            and bool(np.isfinite(scales).all() and np.isfinite(bias).all())
        )
        if way is None or not fits:
            raise ValueError("the native kernel does not compute products of these shapes")
        self.outputs, self.inputs = weights.shape
        self.bent = bent
        self._arithmetic = int(way)
        missing = -self.outputs % TILE
        by_input = np.pad(weights.T, [(0, 0), (0, missing)]) if missing else weights.T
        self._weights = np.ascontiguousarray(by_input)
        self._scales, self._bias = (np.pad(each, (0, missing)) for each in (scales, bias))

    def __call__(self, values: NDArray[Any]) -> FloatArray:
        """(count, outputs) of values (count, inputs); float32 both.

        Rows of values may overlap in memory. Raises ValueError for values of another shape, and
        for more than MOST_FLOATS numbers that go in or come out.
        """
        count, padded = len(values), len(self._scales)
        most = MOST_FLOATS // max(padded, self.inputs)
        if values.shape != (count, self.inputs) or not 1 <= count <= most:
            raise ValueError(f"expected values (count, {self.inputs}), got {values.shape}")
        apart, rest = divmod(values.strides[0], 4)
        strided = values.dtype == np.float32 and values.strides[1] == 4 and not rest
        if not strided or not 0 <= apart <= MOST_FLOATS // count:
            values = np.ascontiguousarray(values, np.float32)
            apart = self.inputs
        run = -(-self.inputs // 4) * 4
        scratch = np.empty((count + 1 + _PANEL) * run, np.uint8)
        steps, sums = np.empty(count, np.float32), np.empty((count, padded), np.float32)
        library().kws_product(
            values.ctypes.data,
            count,
            apart,
            self.inputs,
            self._weights.ctypes.data,
            self._scales.ctypes.data,
            self._bias.ctypes.data,
            padded,
            int(self.bent),
            self._arithmetic,
            scratch.ctypes.data,
            steps.ctypes.data,
            sums.ctypes.data,
        )
        return sums[:, : self.outputs]
