"""What each option of training is worth: runs that differ in little, measured alike.

`python -m benchmarks.ablation RUN...` measures the best checkpoint of each run folder under the
conditions of benchmarks.accuracy. Runs of equal options are one row, whatever their seed: the mean
over them, and their standard deviation. The first run's row is what the others are compared with.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import held_out
from benchmarks.results import FOLDER, write_result
from kws.config import SILENCE, UNKNOWN, FeatureConfig
from kws.errors import DataError, KwsError
from kws.evaluation.evalset import EvaluationSet
from kws.recordings.data import Int16Array
from kws.train import checkpoint
from kws.train.curves import read_log
from kws.train.features import LogMel

SNRS_DB = (10.0, 0.0)
RECALL_LOST = 0.03  # of the commands, to the threshold that unseen words are counted at
ABSENT = "none"  # an option that a run does not have

Figures = dict[str, float]
FloatArray = NDArray[np.float32]
Answer = Callable[[Int16Array], FloatArray]  # clips (n, 16000) -> posteriors (n, labels)


@dataclass(frozen=True)
class Run:
    """One run folder, as far as its own files tell."""

    name: str
    network: nn.Module
    options: dict[str, Any]  # flat, by dotted names; the seed is not among them
    seed: int | None
    epochs: int
    minutes: float
    labels: tuple[str, ...]
    features: FeatureConfig


def read_run(folder: Path) -> Run:
    """Read what a run says of itself; raises KwsError where it holds no log or best checkpoint."""
    rows = read_log(folder)
    network, features, labels, state = checkpoint.load_network(folder / "best.pt")
    options = dict(_flat(state.get("options", {})))
    options["sources"] = ", ".join(state.get("sources", ()))
    if before := state.get("started_from"):
        options["started from epochs"] = before["epochs_done"]
    return Run(
        name=folder.name,
        network=network,
        seed=options.pop("seed", None),
        options=options,
        epochs=len(rows),
        minutes=sum(row.get("seconds", 0.0) for row in rows) / 60.0,
        labels=labels,
        features=features,
    )


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def difference(run: Run, first: Run) -> str:
    """The options of a run that are not those of the first, as `name value` (of each)."""
    names = dict.fromkeys((*first.options, *run.options))
    return ", ".join(
        f"{name} {_text(run.options.get(name, ABSENT))}"
        for name in names
        if run.options.get(name, ABSENT) != first.options.get(name, ABSENT)
    )


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "-".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def answering(run: Run) -> Answer:
    """The run's averaged network, asked about whole clips."""
    front_end = LogMel(run.features)

    def answer(audio: Int16Array) -> FloatArray:
        rows = [np.empty((0, len(run.labels)), np.float32)]
        with torch.no_grad():
            for start in range(0, len(audio), 256):
                clips = torch.from_numpy(audio[start : start + 256].astype(np.float32) / 32768.0)
                rows.append(run.network(front_end(clips))[:, -1].softmax(-1).numpy())
        return np.concatenate(rows)

    return answer


def measure_run(
    answer: Answer,
    labels: Sequence[str],
    conditions: Mapping[str, EvaluationSet],
    unseen: tuple[Int16Array, NDArray[np.int64]],
) -> Figures:
    """Accuracy under each condition, the worst recall, and unseen words taken for a command.

    Unseen words are counted at the one threshold that RECALL_LOST of the clean commands lie below:
    so a run that is surer of everything loses nothing by it. `unseen` is as of `seconds_of`.
    """
    figures: Figures = {}
    commands = [index for index, label in enumerate(labels) if label not in (SILENCE, UNKNOWN)]
    threshold = 1.0
    for name, clips in conditions.items():
        posteriors = answer(clips.audio)
        right = posteriors.argmax(axis=1) == clips.targets
        figures[name] = float(right.mean())
        if name == "clean":
            recall = [right[clips.targets == index].mean() for index in set(clips.targets.tolist())]
            figures["worst recall"] = float(min(recall))
            threshold = _threshold(posteriors, clips.targets, commands)
    seconds, owners = unseen
    taken = np.unique(owners[_command_score(answer(seconds), commands) >= threshold])
    figures["unseen taken"] = len(taken) / max(1, len(np.unique(owners)))
    return figures


def _threshold(posteriors: FloatArray, targets: NDArray[np.int64], commands: list[int]) -> float:
    """The score that RECALL_LOST of all clips of commands, recognised so far, do not reach."""
    spoken = np.isin(targets, commands)
    right = spoken & (posteriors.argmax(axis=1) == targets)
    scores = np.sort(posteriors.max(axis=1)[right])
    lost = int(RECALL_LOST * spoken.sum())
    return float(scores[lost]) if lost < len(scores) else 1.0


def _command_score(posteriors: FloatArray, commands: list[int]) -> FloatArray:
    """The posterior of each clip's most probable label, 0 where that is no command."""
    best = posteriors.argmax(axis=1)
    score: FloatArray = np.where(np.isin(best, commands), posteriors.max(axis=1), 0.0)
    return score


def table(runs: Sequence[Run], found: Sequence[Figures]) -> dict[str, Any]:
    """Rows by what differs from the first run: means, deviations over seeds, differences."""
    groups: dict[str, list[int]] = {}
    for index, run in enumerate(runs):
        groups.setdefault(difference(run, runs[0]) or "the first run's options", []).append(index)
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


def measure(folders: Sequence[Path], data: Path) -> dict[str, Any]:
    """Every run's figures as one JSON-ready object; raises KwsError for a folder that is no run."""
    runs = [read_run(folder) for folder in folders]
    for run in runs:
        if run.labels != runs[0].labels:
            raise DataError(f"{run.name} and {runs[0].name} have other labels; nothing compares")
    conditions = dict(held_out.conditions(runs[0].labels, data, SNRS_DB))
    unseen = held_out.seconds_of(
        [recording for _, found in held_out.unseen_words(data) for recording in found]
    )
    figures: list[Figures] = []
    for run in runs:
        figures.append(measure_run(answering(run), run.labels, conditions, unseen))
        shares = ", ".join(f"{key} {100 * share:.2f} %" for key, share in figures[-1].items())
        print(f"{run.name}: {shares}", flush=True)
    return {
        "clips": len(conditions["clean"].targets),
        "unseen_recordings": len(np.unique(unseen[1])),
        "recall_lost_to_the_threshold": RECALL_LOST,
        **table(runs, figures),
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, default=os.environ.get("KWS_DATA"))
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--out", type=Path, default=FOLDER / "ablation.json")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("name the recordings with --data DIR or the environment variable KWS_DATA")
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        figures = measure(options.runs, Path(options.data))
    except KwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    names = " ".join(run.resolve().name for run in options.runs)
    write_result(options.out, f"python -m benchmarks.ablation {names}", figures)
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
