"""What a seed is worth in streams: runs that differ in their seed alone, exported and measured.

`python -m benchmarks.studies.stream_seeds RUN...` exports the last checkpoint of each run folder
to a folder for the while, with thresholds chosen as those of what ships, and runs on the streams of
benchmarks.product.streaming at the default setting, without a verifier: the mean over the runs
and their standard deviation. With `--verifier C/last.pt`, a checkpoint of `--network embedding`,
each run is verified as `commands` is, by that network and itself together, whose seed is the same
throughout; the result is another file."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import parse
from benchmarks.product.streaming import CLIPS, default_point, scenes_of
from benchmarks.results import FOLDER, write_result
from benchmarks.studies.ablation import CHECKPOINT, difference, read_run
from export.__main__ import main as export
from export.operating_points import main as calibrate
from export.together import ARTEFACT
from kws.errors import KwsError
from kws.model.load import load_model

FILES = ("window.onnx", "stream.onnx")


def compare(folders: Sequence[Path], data: Path, verifier: Path | None = None) -> dict[str, Any]:
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
    found = [measure(folder / CHECKPOINT, data, verifier) for folder in folders]
    return {
        "runs": [run.name for run in runs],
        "epochs": [run.epochs for run in runs],
        "clips": CLIPS,
        "by_run": {run.name: one for run, one in zip(runs, found, strict=True)},
        "mean": {key: statistics.mean(one[key] for one in found) for key in found[0]},
        "standard_deviation_over_seeds": {
            key: statistics.stdev(one[key] for one in found) for key in found[0]
        },
    }


def measure(checkpoint: Path, data: Path, verifier: Path | None = None) -> Mapping[str, float]:
    """What one checkpoint does in streams; raises KwsError where one cannot be exported."""
    with tempfile.TemporaryDirectory() as folder:
        _export(checkpoint, folder, data, "--only", *FILES, "--calibrate")
        manifest = f"{folder}/commands.json"
        if verifier is not None:
            both = ("--name", "both", "--only", ARTEFACT, "--together-with", manifest)
            _export(verifier, folder, data, *both)
            chosen = ["--data", str(data), "--model", manifest, "--verifier", f"{folder}/both.json"]
            if calibrate(chosen) != 0:
                raise KwsError(f"{checkpoint} could not be calibrated with {verifier}")
        model = load_model(manifest)
        scenes = scenes_of(model, data, CLIPS)
        figures = default_point(model, scenes, data, verify=verifier is not None)
    kept = {
        name: value
        for name, value in figures.items()
        if name != "thresholds" and "word error rate" not in name
    }
    told = ("conversation and noise, false accepts", "silence, missed")
    print(f"{checkpoint.parent.name}: " + ", ".join(f"{name} {kept[name]:.3g}" for name in told))
    return kept


def _export(checkpoint: Path, folder: str, data: Path, *wanted: str) -> None:
    if export([str(checkpoint), "--out", folder, "--data", str(data), *wanted]) != 0:
        raise KwsError(f"{checkpoint} could not be exported")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.stream_seeds", description=__doc__
    )
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    parser.add_argument("--verifier", metavar="CHECKPOINT", type=Path)
    options = parse(parser, arguments, None)
    verified = options.verifier is not None
    options.out = options.out or FOLDER / f"stream_seeds{'_verified' if verified else ''}.json"
    try:
        figures = compare(options.runs, options.data, options.verifier)
    except KwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    named = " ".join(run.resolve().name for run in options.runs)
    if verified:
        named += f" --verifier {options.verifier.parent.resolve().name}/{options.verifier.name}"
    write_result(options.out, f"python -m benchmarks.studies.stream_seeds {named}", figures)
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
