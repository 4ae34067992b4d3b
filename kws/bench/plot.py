"""What `kws bench` found, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_plot(found: dict[str, Any], path: Path) -> None:
    """Draw the latency of each network and where the processor time goes into a PNG.

    Raises OSError where the file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = found["artefacts"]
    figure = Figure(figsize=(12, 1.8 + 0.35 * len(rows)), layout="constrained")
    # Names that need no turning: one line for each file, the same one on both sides.
    latency, breakdown = figure.subplots(1, 2, sharey=True)
    _draw_latency(latency, rows)
    _draw_stages(breakdown, rows, found["stages"])
    latency.set_yticks(range(len(rows)), _names(rows))
    latency.invert_yaxis()
    figure.legend(*breakdown.get_legend_handles_labels(), loc="outside lower right", ncols=5)
    figure.savefig(path, dpi=120, format="png")


def _names(rows: list[dict[str, Any]]) -> list[str]:
    """The files, with what they ran on where that was not the same for all."""
    alone = len({row["provider"] for row in rows}) == 1
    return [row["artefact"] if alone else f"{row['artefact']}, {row['provider']}" for row in rows]


def _draw_latency(axes: Any, rows: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    places = range(len(rows))
    us = {q: [row["network"][f"p{q}_us"] for row in rows] for q in (5, 25, 50, 75, 99)}
    axes.hlines(places, us[5], us[99], linewidth=1.5)
    axes.hlines(places, us[25], us[75], linewidth=8)
    axes.plot(us[50], places, "|", markersize=14, color="black")
    for place, median, end in zip(places, us[50], us[99], strict=True):
        where = {"textcoords": "offset points", "xytext": (6, 0), "va": "center"}
        axes.annotate(f"{median:.0f}", (end, place), **where)
    axes.set_title("one call of the network: median, 25 to 75 %, 5 to 99 %")
    axes.set_xlabel("us")
    axes.set_xscale("log")  # a busy machine interrupts a few calls for many times their length
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15)


def _draw_stages(axes: Any, rows: list[dict[str, Any]], stages: dict[str, Any]) -> None:
    places = range(len(rows))
    left = [0.0] * len(rows)
    parts = {name: [stage["cpu_ms_per_second"]] * len(rows) for name, stage in stages.items()}
    if "verifier" in parts:  # of the ONNX files alone
        of_onnx = (float(row["artefact"].endswith(".onnx")) for row in rows)
        parts["verifier"] = [stages["verifier"]["cpu_ms_per_second"] * share for share in of_onnx]
    parts["network"] = [row["network"]["cpu_ms_per_second"] for row in rows]
    for name, widths in parts.items():
        axes.barh(places, widths, left=left, label=name)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_title("where the processor time goes while the gate is open")
    axes.set_xlabel("ms per second of audio")
