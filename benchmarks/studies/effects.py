"""A picture of an ablation: what each option changes, beside what a seed does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

FEWER_IS_BETTER = "unseen taken"
WIDEST = 5.0  # points; what differs by more is an arrow with its figure


def picture(figures: Mapping[str, Any]) -> Figure:
    """What `benchmarks.studies.ablation` measured, a panel for each condition; right is better.

    Grey is what lies within twice the standard deviation of the first row over its seeds.
    """
    differences: Mapping[str, Mapping[str, float]] = figures["difference_from_the_first_in_points"]
    first = next(iter(figures["mean"]))
    deviations = figures["standard_deviation_over_seeds"].get(first, {})
    conditions = list(next(iter(differences.values())))
    figure = Figure(figsize=(2.0 + 1.4 * len(conditions), 1.2 + 0.25 * len(differences)))
    panels = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    for condition, axes in zip(conditions, panels, strict=True):
        spread = 200 * deviations.get(condition, 0.0)
        _panel(axes, condition, [row[condition] for row in differences.values()], spread)
    panels[0].set_yticks(range(len(differences)), list(differences), fontsize=8)
    panels[0].set_ylim(len(differences) - 0.5, -0.5)  # the first row on top
    figure.supxlabel("difference in points, right is better", fontsize=9)
    figure.set_layout_engine("constrained")
    return figure


def _panel(axes: Axes, condition: str, differences: list[float], spread: float) -> None:
    better = -1.0 if condition == FEWER_IS_BETTER else 1.0
    for row, difference in enumerate(differences):
        colour = "tab:green" if better * difference > 0 else "tab:red"
        if abs(difference) <= spread:
            colour = "0.5"
        edge = better * max(-WIDEST, min(WIDEST, difference))
        if abs(difference) <= WIDEST:
            axes.plot(better * difference, row, "o", color=colour, markersize=4)
            continue
        beyond = edge > 0
        axes.plot(edge, row, ">" if beyond else "<", color=colour, markersize=5)
        axes.annotate(
            f"{difference:+.0f}",
            (edge, row),
            (-6 if beyond else 6, 0),
            textcoords="offset points",
            ha="right" if beyond else "left",
            va="center",
            fontsize=7,
        )
    axes.axvspan(-spread, spread, color="0.9", zorder=0)
    axes.axvline(0.0, color="0.5", linewidth=0.8)
    axes.set_xlim(-WIDEST - 0.5, WIDEST + 0.5)
    axes.set_title(condition, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="0.93", zorder=0)
