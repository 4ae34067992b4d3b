"""A picture of the lessons: misses over talk against false accepts, as thresholds rise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

LEAST = 0.5  # false accepts, where there are none, so that a logarithm has a place for it
Counts = Mapping[str, Sequence[float]]


def picture(figures: Mapping[str, Any]) -> Figure:
    """What `benchmarks.studies.lessons` measured: every row by level, and the first in each way.

    Each seed is a line of its own, in the colour of its row. Dots are where rows are compared.
    """
    figure = Figure(figsize=(11.0, 6.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    rows: Mapping[str, Any] = figures["rows"]
    for number, (name, row) in enumerate(rows.items()):
        for seed, run in enumerate(row["runs"]):
            (by_level, *_) = run["ways"].values()
            _draw(left, by_level, figures, name if seed == 0 else "", f"C{number}")
    first, row = next(iter(rows.items()))
    for number, (way, measured) in enumerate(row["runs"][0]["ways"].items()):
        _draw(right, measured, figures, way, f"C{number}")
    left.set_ylabel("commands missed over talk, mean of its conditions, %")
    for axes, title in ((left, "every row, by level"), (right, first)):
        axes.set_title(title, fontsize=10)
        axes.set_xscale("log")
        axes.set_xlabel("false accepts per hour of speech (left edge: none)")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(0, 100)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return figure


def _draw(
    axes: Axes, measured: Mapping[str, Any], figures: Mapping[str, Any], label: str, colour: str
) -> None:
    """One curve, and the points of its limits; no false accepts are at the left edge."""
    negatives = figures["material"]["negatives"]
    hours = sum(each["hours"] for name, each in negatives.items() if name.startswith("speech/"))

    def places(missed: Counts, counts: Counts) -> tuple[list[float], list[float]]:
        speech = [each for name, each in counts.items() if name.startswith("speech/")]
        talk = [each for name, each in missed.items() if name.startswith("talk")]
        events = [max(LEAST, sum(each)) for each in zip(*speech, strict=True)]
        words = figures["material"]["words"] * len(talk)
        shares = [100 * sum(each) / words for each in zip(*talk, strict=True)]
        return [count / hours for count in events], shares

    axes.plot(
        *places(measured["missed"], measured["counts"]), color=colour, label=label, linewidth=1.2
    )
    for point in measured["at_most"].values():
        if point:
            alone = [
                {name: [count] for name, count in point[part].items()}
                for part in ("missed", "counts")
            ]
            axes.plot(*places(*alone), "o", color=colour, markersize=5)
