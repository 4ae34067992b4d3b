"""What each option of training is worth: runs that differ in little, measured alike.

`python -m benchmarks.studies.ablation RUN...` measures the last checkpoint of each run folder
under the conditions of benchmarks.product.accuracy. Runs of equal options are one row, whatever
their seed: the mean over them, and their standard deviation. Their epochs may differ by a tenth,
as those of runs that were given equal time. The first run's row is what the others are compared
with."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.options import parse
from benchmarks.results import FOLDER, write_result
from benchmarks.studies import effects
from benchmarks.studies.checkpoints import (
    RECALL_LOST,
    Figures,
    Trained,
    as_text,
    load_conditions,
    measure,
    read_checkpoint,
)
from kws.errors import KwsError
from kws.train.curves import read_log
from kws.train.fit import FitConfig

CHECKPOINT = "last.pt"
NOTHING = "nothing"
ALIKE = 0.1  # share by which the epochs of runs of one row may differ


@dataclass(frozen=True)
class Run:
    """One run folder, as far as its own files tell."""

    name: str
    trained: Trained
    options: dict[str, Any]  # flat, by dotted names; neither seed nor epochs are among them
    seed: int | None
    epochs: int  # done
    minutes: float


def read_run(folder: Path, name: str) -> Run:
    """Read a run's log and checkpoint; raises KwsError where one is missing."""
    rows = read_log(folder)
    trained = read_checkpoint(folder / name)
    options = options_of(trained.state)
    return Run(
        name=folder.resolve().name,
        trained=trained,
        seed=options.pop("seed", None),
        options=options,
        epochs=len(rows),
        minutes=sum(row.get("seconds", 0.0) for row in rows) / 60.0,
    )


def options_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint tells of how it came about, flat, by dotted names; epochs are not among it.

    Options that are younger than the checkpoint have their defaults.
    """
    options = dict(_flat(_complete(state.get("options", {}))))
    options["sources"] = tuple(state.get("sources", ()))
    options["started from"] = _beginning(state.get("started_from") or {})
    options.pop("epochs", None)
    return options


def _beginning(before: Mapping[str, Any]) -> str:
    if "model" in before:
        return f"model {before['model']}"
    return f"{before['epochs_done']} epochs" if before else NOTHING


def _complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """With the defaults of options that a checkpoint lacks."""
    complete = asdict(FitConfig()) | dict(options)
    for section, defaults in asdict(FitConfig()).items():
        if section in ("learner", "sampler", "features"):
            complete[section] = defaults | options.get(section, {})
    return complete


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", tuple(value) if isinstance(value, list) else value


def difference(run: Run, first: Run) -> str:
    """The options of a run that are not those of the first, as `name value` (of each).

    A part of which they have different options, such as a network of another kind, is only named.
    """
    mine, theirs = run.options, first.options
    parts = dict.fromkeys(name.partition(".")[0] for name in mine.keys() ^ theirs.keys())
    told = [
        f"no {part}" if part in mine else f"a {part}" if part in theirs else f"another {part}"
        for part in sorted(parts)
    ]
    told += [
        f"no {name}" if value == () else f"{name} {_text(value)}"
        for name, value in mine.items()
        if name.partition(".")[0] not in (*parts, "sources") and value != theirs[name]
    ]
    told += [f"no {source}" for source in theirs["sources"] if source not in mine["sources"]]
    told += [f"{source} too" for source in mine["sources"] if source not in theirs["sources"]]
    if abs(run.epochs - first.epochs) > ALIKE * first.epochs:
        told.append(f"{run.epochs} epochs")
    return ", ".join(told)


def _text(value: Any) -> str:
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return str(len(value))  # of frozen_teachers, whose hashes tell a reader nothing
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "-".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def table(runs: Sequence[Run], found: Sequence[Figures]) -> dict[str, Any]:
    """Rows by what differs from the first run: means, deviations over seeds, differences."""
    groups: dict[str, list[int]] = {}
    for index, run in enumerate(runs):
        text = difference(run, runs[0]) or "the first run's options"
        if text in groups and runs[groups[text][0]].options != run.options:
            text = f"{text} ({run.name})"  # other parts of the same name
        groups.setdefault(text, []).append(index)
    means: dict[str, Any] = {}
    deviations: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    base: Figures = {}
    for text, members in groups.items():
        every = [found[index] for index in members]
        mean = {key: statistics.mean(one[key] for one in every) for key in every[0]}
        base = base or mean
        means[text] = {
            "runs": [runs[index].name for index in members],
            "seeds": len({runs[index].seed for index in members}),
            "epochs": [runs[index].epochs for index in members],
            "minutes": round(statistics.mean(runs[index].minutes for index in members), 1),
            **mean,
        }
        if mean is not base:
            differences[text] = {key: round(100 * (mean[key] - base[key]), 2) for key in mean}
        if len(every) > 1:
            deviations[text] = {key: statistics.stdev(one[key] for one in every) for key in mean}
    return {
        "mean": means,
        "standard_deviation_over_seeds": deviations,
        "difference_from_the_first_in_points": differences,
    }


def compare(folders: Sequence[Path], data: Path, name: str = CHECKPOINT) -> dict[str, Any]:
    """Every run's figures as one JSON-ready object; raises KwsError for a folder that is no run."""
    runs = [read_run(folder, name) for folder in folders]
    conditions = load_conditions(data, {run.name: run.trained for run in runs})
    found = []
    for run in runs:
        found.append(measure(run.trained.posteriors, conditions))
        print(f"{run.name}: {as_text(found[-1])}", flush=True)
    return {
        "clips": len(conditions.clips["clean"].targets),
        "unseen_recordings": conditions.recordings,
        "recall_lost_to_the_threshold": RECALL_LOST,
        **table(runs, found),
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.ablation", description=__doc__
    )
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    parser.add_argument("--checkpoint", default=CHECKPOINT, help="default: %(default)s")
    options = parse(parser, arguments, FOLDER / "ablation.json")
    try:
        figures = compare(options.runs, options.data, options.checkpoint)
    except KwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    named = [run.resolve().name for run in options.runs]
    if options.checkpoint != CHECKPOINT:
        named += ["--checkpoint", options.checkpoint]
    write_result(options.out, f"python -m benchmarks.studies.ablation {' '.join(named)}", figures)
    if figures["difference_from_the_first_in_points"]:
        effects.picture(figures).savefig(options.out.with_suffix(".png"), dpi=100)
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
