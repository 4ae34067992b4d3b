"""Which networks go together: a first network, and one or two that verify its candidates.

`python -m benchmarks.studies.verified FIRST+VERIFIER+OTHER...` takes names of checkpoints in
export/checkpoints. With --encoder CHECKPOINT..., of networks of --network encoder each of which
verifies, it takes FIRST alone, such as small, which ships, and writes
benchmarks/results/encoders.json. Each combination is exported as what ships is, and measured in the
scenes and on the recordings of benchmarks.product.rooms. Its verifier's thresholds are those that
ship, all moved by so many log-odds, so that combinations are compared where they have equally many
false accepts on speech. Nothing is chosen by it.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.product.rooms import CLIPS, Material, Replayed, held_out
from benchmarks.program import keep, program
from benchmarks.results import FOLDER
from benchmarks.studies.lessons import material_figures, sum_of_logs
from export.__main__ import main as export
from export.operating_points import add_verifier
from export.together import ARTEFACT
from export.tuning import group_of
from kws.errors import DataError, KwsError
from kws.model.load import Model, load_model
from kws.operating_point import OperatingPoint

CHECKPOINTS = Path(__file__).parent.parent.parent / "export" / "checkpoints"
SHIFTS = tuple(step / 4 for step in range(-4, 7))  # log-odds
LIMITS = (6, 4)  # false accepts on all speech, at which combinations are compared


def read_combination(name: str, folder: Path, data: Path, encoder: Path | None = None) -> Model:
    """Export FIRST+VERIFIER+OTHER, or FIRST and a checkpoint that verifies, into a new folder.

    Raises DataError for another form or a checkpoint that is not kept, and KwsError where one of
    them cannot be exported.
    """
    first, *others = [CHECKPOINTS / f"{part}.pt" for part in name.split("+")]
    if len(others) != (0 if encoder else 2):
        raise DataError(f"expected {'FIRST' if encoder else 'FIRST+VERIFIER+OTHER'}, got {name}")
    for path in (first, *others):
        if not path.exists():
            raise DataError(f"{path} is not there; expected a name of {CHECKPOINTS}")
    rest = ["--data", str(data), "--out", str(folder), "--name"]
    commands = [[str(first), *rest, "first", "--only", "stream.onnx"]]
    if encoder:
        commands.append([str(encoder), *rest, "verifier", "--only", ARTEFACT])
    else:
        verifier, other = map(str, others)
        beside = ["--together-with", str(folder / "other.json")]
        commands += [
            [other, *rest, "other", "--only", "window.onnx"],
            [verifier, *rest, "verifier", "--only", ARTEFACT, *beside],
        ]
    for command in commands:
        if export(command) != 0:
            raise KwsError(f"{command[0]} could not be exported")
    model = load_model(folder / "first.json")
    decision = load_model().manifest.decision
    model = replace(model, manifest=replace(model.manifest, decision=decision))
    return add_verifier(model, str(folder / "verifier.json"))


def moved(thresholds: Mapping[str, float], shift: float) -> dict[str, float]:
    """Thresholds in (0, 1), each moved by so many log-odds."""
    odds = {word: math.log(each / (1 - each)) + shift for word, each in thresholds.items()}
    return {word: 1 / (1 + math.exp(-each)) for word, each in odds.items()}


def measure(model: Model, material: Material, data: Path) -> list[dict[str, Any]]:
    """Misses and false accepts at each shift."""
    replayed = Replayed(model, material, data)
    thresholds = OperatingPoint.of(load_model(), sensitivity="medium").thresholds
    about = material_figures(material)
    found = []
    for shift in SHIFTS:
        own = moved(thresholds, shift)
        figures = replayed.figures(OperatingPoint.of(model, threshold=own))
        point = {
            "missed": {name: each["missed"] for name, each in figures["missed"].items()},
            "counts": _counts(figures["false_accepts"], material),
        }
        found.append({"shift": shift, "sum": sum_of_logs(point, about), **point})
    return found


def _counts(accepted: Mapping[str, Mapping[str, int]], material: Material) -> dict[str, int]:
    """Events of each group; of other words the recordings that fire."""
    counts: dict[str, int] = {}
    for source in material.quiet:
        group = group_of(source)
        key = "recordings_that_fire" if group == "other_words" else "events"
        counts[group] = counts.get(group, 0) + accepted[source][key]
    return counts


def at_most(points: Sequence[Mapping[str, Any]], limit: int) -> Mapping[str, Any] | None:
    """The point of the lowest thresholds with at most so many false accepts on speech."""
    for point in points:
        counts: Mapping[str, int] = point["counts"]
        if sum(each for name, each in counts.items() if name.startswith("speech/")) <= limit:
            return point
    return None


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("studies.verified", __doc__)
    parser.add_argument("combinations", metavar="FIRST[+VERIFIER+OTHER]", nargs="+")
    parser.add_argument(
        "--encoder", type=Path, metavar="CHECKPOINT", nargs="+", default=(), help="which verify"
    )
    parser.set_defaults(out=None)  # verified.json, or encoders.json
    parser.add_argument("--clips", type=int, default=CLIPS, help="of each word")
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    options.out = options.out or FOLDER / f"{'encoders' if options.encoder else 'verified'}.json"
    material = held_out(options.data, load_model().manifest.keywords, options.clips)
    rows: dict[str, Any] = {}
    for name, encoder in product(options.combinations, options.encoder or (None,)):
        with tempfile.TemporaryDirectory() as folder:
            model = read_combination(name, Path(folder), options.data, encoder)
            points = measure(model, material, options.data)
        at = {str(limit): at_most(points, limit) for limit in LIMITS}
        least = min(points, key=lambda point: float(point["sum"]))
        row = f"{name}+{encoder.stem}" if encoder else name
        rows[row] = {"points": points, "at_most": at, "least_sum": least}
        print(f"{row}: least sum {least['sum']:.2f} at a shift of {least['shift']:g}", flush=True)
    return {"material": material_figures(material), "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
