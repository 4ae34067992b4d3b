"""`python -m kws.train.curves RUN... --out FILE`: training against validation, as one picture.

Each RUN is a folder that `python -m kws.train --out` names. It may still be training: what its
log.jsonl holds by now is drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from kws.errors import DataError, KwsError, writing

Rows = Sequence[Mapping[str, Any]]
Style = Literal["-", "--", "-.", ":"]

# Each panel: its title, the factor to its unit, and the keys of a row with how they are drawn.
PANELS: tuple[tuple[str, float, dict[str, Style]], ...] = (
    (
        "loss",
        1.0,
        {
            "loss": "-",
            "validation_loss": "--",
            "teacher_loss": "-.",
            "teacher_validation_loss": ":",
        },
    ),
    (
        "accuracy (%)",
        100.0,
        {
            "accuracy": "-",
            "validation_accuracy": "--",
            "teacher_accuracy": "-.",
            "teacher_validation_accuracy": ":",
        },
    ),
    ("false accepts in validation (%)", 100.0, {"validation_false_accepts": "--"}),
    ("learning rate", 1.0, {"learning_rate": "-"}),
)
STYLES: dict[Style, str] = {
    "-": "training",
    "--": "validation",
    "-.": "teacher, training",
    ":": "teacher, validation",
}


def read_log(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's log.jsonl, one per epoch; a last line that was cut off is left out.

    Raises DataError where there is none.
    """
    path = run / "log.jsonl"
    if not path.is_file():
        raise DataError(f"there is no {path}; name a folder that `python -m kws.train --out` wrote")
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break  # written when the run was killed
    if not rows or not all(isinstance(row, dict) and "epoch" in row for row in rows):
        raise DataError(f"{path} holds no epochs; expected a line of JSON for each")
    return rows


def write_curves(logs: Mapping[str, Rows], path: Path) -> None:
    """Draw runs, by name, into a PNG; raises OSError where it cannot be written.

    A run is one colour. A dot marks the epoch of its best checkpoint. What no run logged has no
    panel.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    logged = {key for rows in logs.values() for row in rows for key in row}
    panels = [panel for panel in PANELS if logged & panel[2].keys()]
    figure = Figure(figsize=(11.0, 3.6 * ((len(panels) + 1) // 2)), dpi=100, layout="constrained")
    drawn = set()
    for place, (title, factor, keys) in enumerate(panels):
        axes = figure.add_subplot((len(panels) + 1) // 2, 2, place + 1)
        for number, rows in enumerate(logs.values()):
            for key, style in keys.items():
                points = [(row["epoch"], factor * row[key]) for row in rows if key in row]
                if points:
                    drawn.add(style)
                    axes.plot(*zip(*points, strict=True), style, color=f"C{number}", linewidth=1.2)
            best = max(rows, key=lambda row: row.get("criterion", 0.0))
            for key in keys:
                if key.startswith("validation_") and key in best:
                    axes.plot(best["epoch"], factor * best[key], "o", color=f"C{number}")
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
    handles = [Line2D([], [], color=f"C{n}", label=name) for n, name in enumerate(logs)]
    handles += [
        Line2D([], [], color="black", linestyle=style, label=name)
        for style, name in STYLES.items()
        if style in drawn
    ]
    best_mark = Line2D([], [], color="black", marker="o", linestyle="", label="best checkpoint")
    figure.legend(handles=[*handles, best_mark], loc="outside lower center", ncols=4)
    figure.savefig(path, format="png")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kws.train.curves", description=__doc__)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="PNG to write")
    options = parser.parse_args(arguments)
    try:
        logs = {str(run): read_log(run) for run in options.runs}
        with writing(options.out):
            write_curves(logs, options.out)
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
