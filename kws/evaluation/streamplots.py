"""The DET curve and the misses of a stream evaluation as pictures; needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kws.evaluation.report import require_matplotlib

__all__ = ["require_matplotlib", "write_plots"]


def write_plots(figures: Mapping[str, Any], folder: Path, prefix: str = "") -> None:
    """Write det.png and scenes.png, as far as the figures hold them, into a folder, made if new.

    The names begin with the prefix. Raises OSError where that fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if figures.get("det"):
        _det(figures).savefig(folder / f"{prefix}det.png")
    if figures.get("scenes"):
        _scenes(figures["scenes"]).savefig(folder / f"{prefix}scenes.png")


def _figure() -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(8.0, 4.5), dpi=120, layout="constrained")


def _det(figures: Mapping[str, Any]) -> Any:
    """Misses of each scene over the false accepts per hour of all sources together."""
    curve = figures["det"]
    found = curve[0]["false_accepts_per_hour"]
    sources = [name for name, rate in found.items() if rate is not None]
    hours = {name: figures["negatives"][name]["hours"] for name in sources}
    rates = [
        sum(point["false_accepts_per_hour"][name] * hours[name] for name in hours)
        / sum(hours.values())
        for point in curve
    ]
    figure = _figure()
    axes = figure.subplots()
    for name in curve[0]["miss_rate"]:
        axes.plot(rates, [100 * point["miss_rate"][name] for point in curve], "o-", label=name)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlabel("false accepts per hour, all sources without keywords")
    axes.set_ylabel("missed, %")
    axes.set_title(f"{figures['model']}, {figures['mode']}")
    axes.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside right upper")  # curves end at every height
    return figure


def _scenes(scenes: Mapping[str, Any]) -> Any:
    figure = _figure()
    axes = figure.subplots()
    names = list(scenes)
    axes.barh(names, [100 * scenes[name]["miss_rate"] for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("missed, %")
    return figure
