"""The curves by which thresholds were chosen, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kws.evaluation.report import require_matplotlib

__all__ = ["require_matplotlib", "write_curves"]


def write_curves(curves: Mapping[str, Any], title: str, file: Path) -> None:
    """Misses of each scene over false accepts per hour of all speech and noise, a panel per mode.

    Rings are the presets. Raises OSError where the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(curves), 4.4), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (mode, curve) in zip(panels, curves.items(), strict=True):
        points = curve["points"]
        rates = [point["false_accepts_per_hour"] for point in points]
        for name in points[0]["miss_rate"]:
            missed = [100 * point["miss_rate"][name] for point in points]
            (line,) = axes.plot(rates, missed, label=name if axes is panels[0] else None)
            chosen = curve["presets"].values()
            axes.plot(
                [point["false_accepts_per_hour"] for point in chosen],
                [100 * point["miss_rate"][name] for point in chosen],
                "o",
                mfc="none",
                color=line.get_color(),
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(0.5, 100)
        axes.set_ylim(1, 100)
        axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axes.set_xlabel("false accepts per hour, training side")
        axes.set_title(mode, fontsize="medium")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("missed, %")
    figure.suptitle(title)
    figure.legend(fontsize="small", loc="outside right upper")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
