"""The range of every tensor on training-side clips, which decides the int8 scales."""

from __future__ import annotations

from export.network import FloatArithmetic, FloatArray, FoldedNetwork, walk


def calibrate(network: FoldedNetwork, features: FloatArray) -> dict[str, tuple[float, float]]:
    """(least, largest) value of each tensor over windows (clips, frames, bands).

    Rounded to four digits, so that sums in another order, on another machine, change no integer.
    """
    ranges: dict[str, tuple[float, float]] = {}

    def observe(name: str, value: FloatArray) -> None:
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))

    observe("features", features)
    for start in range(0, len(features), 64):
        walk(network, features[start : start + 64], FloatArithmetic(observe))
    return {
        name: (float(f"{low:.4g}"), float(f"{high:.4g}")) for name, (low, high) in ranges.items()
    }
