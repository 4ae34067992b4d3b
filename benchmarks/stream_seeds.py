"""What a seed is worth in streams: runs that differ in their seed alone, exported and heard.

`python -m benchmarks.stream_seeds RUN...` exports the last checkpoint of each run folder to a
folder for the while, with thresholds chosen as those of what ships, and hears the streams of
benchmarks.streaming at the default setting, without a verifier: the mean over the runs and their
standard deviation.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ablation import CHECKPOINT, difference, read_run
from benchmarks.options import parse
from benchmarks.results import FOLDER, write_result
from benchmarks.streaming import CLIPS, scenes_of, without_verifier
from export.__main__ import main as export
from kws.errors import KwsError
from kws.model import load_model

FILES = ("window.onnx", "stream.onnx")


def compare(folders: Sequence[Path], data: Path) -> dict[str, Any]:
    """Figures over the runs; raises KwsError where they differ in more than their seed."""
    runs = [read_run(folder, CHECKPOINT) for folder in folders]
    for run in runs[1:]:
        if other := difference(run, runs[0]):
            raise KwsError(
                f"expected runs that differ in their seed alone; {run.name} has {other}, "
                f"{runs[0].name} has not"
            )
    if len({run.seed for run in runs}) < max(2, len(runs)):
        raise KwsError(
            f"expected two runs or more, each of another seed, got {len(runs)} of the seeds "
            + ", ".join(str(run.seed) for run in runs)
        )
    found = [hear(folder / CHECKPOINT, data) for folder in folders]
    return {
        "runs": [run.name for run in runs],
        "epochs": [run.epochs for run in runs],
        "clips": CLIPS,
        "mean": {key: statistics.mean(one[key] for one in found) for key in found[0]},
        "standard_deviation_over_seeds": {
            key: statistics.stdev(one[key] for one in found) for key in found[0]
        },
    }


def hear(checkpoint: Path, data: Path) -> Mapping[str, float]:
    """What one checkpoint does in streams; raises KwsError where it cannot be exported."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = ["--out", folder, "--data", str(data), "--only", *FILES, "--calibrate"]
        if export([str(checkpoint), *wanted]) != 0:
            raise KwsError(f"{checkpoint} could not be exported")
        model = load_model(folder)
        figures = without_verifier(model, scenes_of(model, data, CLIPS), data)
    kept = {
        name: value
        for name, value in figures.items()
        if name != "thresholds" and "word error rate" not in name
    }
    told = ("conversation and noise, false accepts per hour", "silence, missed")
    print(f"{checkpoint.parent.name}: " + ", ".join(f"{name} {kept[name]:.3g}" for name in told))
    return kept


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream_seeds", description=__doc__)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    options = parse(parser, arguments, FOLDER / "stream_seeds.json")
    try:
        figures = compare(options.runs, options.data)
    except KwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    named = " ".join(run.resolve().name for run in options.runs)
    write_result(options.out, f"python -m benchmarks.stream_seeds {named}", figures)
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
