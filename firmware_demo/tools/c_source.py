"""Numbers as C99 source."""

from __future__ import annotations

import textwrap

import numpy as np
from numpy.typing import NDArray

_WIDTH = 100


def number(value: np.generic | float | int) -> str:
    """One number as a C literal; a float32 reads back as the same bits."""
    if isinstance(value, np.floating | float):
        text = repr(float(np.float32(value)))  # the digits of a float64 name a float32 exactly
        return f"{text}f"
    if int(value) == -(2**31):
        return "INT32_MIN"  # -2147483648 is an expression of a wider type
    return str(int(value))


def array(kind: str, name: str, values: NDArray[np.generic], static: bool = True) -> str:
    """A constant array; two-dimensional values become an array of structs."""
    if values.ndim == 2:
        items = ["{" + ", ".join(number(v) for v in row) + "}" for row in values]
    else:
        items = [number(v) for v in values]
    body = textwrap.fill(
        ", ".join(items), _WIDTH, initial_indent="    ", subsequent_indent="    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    prefix = "static " if static else ""
    return f"{prefix}const {kind} {name}[{len(values)}] = {{\n{body}\n}};\n"
