"""What `kws bench` found, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_plot(found: dict[str, Any], path: Path) -> None:
    """Draw the latency of each network and where the processor time goes into a PNG.

    Raises OSError where the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    latency, breakdown = figure.subplots(1, 2)
    _draw_latency(latency, found["artefacts"])
    _draw_stages(breakdown, found)
    figure.savefig(path, dpi=120, format="png")


def _draw_latency(axes: Any, rows: list[dict[str, Any]]) -> None:
    boxes = [
        {
            "label": f"{row['artefact']}\n{row['provider']}",
            "whislo": row["network"]["p5_us"],
            "q1": row["network"]["p25_us"],
            "med": row["network"]["p50_us"],
            "q3": row["network"]["p75_us"],
            "whishi": row["network"]["p99_us"],
        }
        for row in rows
    ]
    axes.bxp(boxes, showfliers=False)
    axes.set_ylabel("one call of the network, us (5, 25, 50, 75, 99 %)")
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", labelrotation=30)


def _draw_stages(axes: Any, found: dict[str, Any]) -> None:
    names = [f"{row['artefact']}\n{row['provider']}" for row in found["artefacts"]]
    bottom = [0.0] * len(names)
    for stage, row in found["stages"].items():
        axes.bar(names, [row["cpu_ms_per_second"]] * len(names), bottom=bottom, label=stage)
        bottom = [height + row["cpu_ms_per_second"] for height in bottom]
    own = [row["network"]["cpu_ms_per_second"] for row in found["artefacts"]]
    axes.bar(names, own, bottom=bottom, label="network")
    axes.set_ylabel("processor time per second of speech, ms")
    axes.tick_params(axis="x", labelrotation=30)
    axes.legend()
