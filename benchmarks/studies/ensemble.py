"""What several networks know together: majority vote, average and weighted average, each measured.

`python -m benchmarks.studies.ensemble CHECKPOINT...` takes checkpoints of any networks with the
same labels, such as the best.pt of some seeds and a teacher.pt. The weights of the weighted
average are fitted to every second clean clip. `kws eval --ensemble` does the same for exported
models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.options import parse
from benchmarks.results import FOLDER, write_result
from benchmarks.studies.checkpoints import (
    RECALL_LOST,
    FloatArray,
    Network,
    as_text,
    load_conditions,
    measure,
    read_checkpoint,
)
from kws.errors import DataError, KwsError
from kws.evaluation.ensemble import fit_weights, vote
from kws.recordings.data import Int16Array


def combine(paths: Sequence[Path], data: Path) -> dict[str, Any]:
    """Each network's figures and those of all together, as one JSON-ready object."""
    trained = {f"{path.resolve().parent.name} {path.stem}": read_checkpoint(path) for path in paths}
    if len(trained) < 2 or len(trained) < len(paths):
        raise DataError("expected two checkpoints or more, from run folders of different names")
    conditions = load_conditions(data, trained)
    members = {name: _remembering(one.posteriors) for name, one in trained.items()}
    clean = conditions.clips["clean"]
    known = np.stack([network(clean.audio)[::2] for network in members.values()])
    weights = fit_weights(known, clean.targets[::2])
    ways: dict[str, Callable[[FloatArray], FloatArray]] = {
        "majority vote": vote,
        "average": lambda members: members.mean(axis=0),
        "weighted average": lambda members: np.tensordot(weights, members, axes=1),
    }
    together = {way: _joined(list(members.values()), join) for way, join in ways.items()}
    found = {}
    for name, network in {**members, **together}.items():
        found[name] = measure(network, conditions)
        print(f"{name}: {as_text(found[name])}", flush=True)
    return {
        "clips": len(clean.targets),
        "unseen_recordings": conditions.recordings,
        "recall_lost_to_the_threshold": RECALL_LOST,
        "weights": dict(zip(members, weights.tolist(), strict=True)),
        "members": {
            name: {"parameters": one.parameters, **found[name]} for name, one in trained.items()
        },
        "combinations": {way: found[way] for way in together},
    }


def _remembering(network: Network) -> Network:
    """The same, run once on each array."""
    known: dict[int, FloatArray] = {}

    def again(audio: Int16Array) -> FloatArray:
        if id(audio) not in known:
            known[id(audio)] = network(audio)
        return known[id(audio)]

    return again


def _joined(members: Sequence[Network], join: Callable[[FloatArray], FloatArray]) -> Network:
    return lambda audio: join(np.stack([network(audio) for network in members]))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.ensemble", description=__doc__
    )
    parser.add_argument("checkpoints", metavar="CHECKPOINT", type=Path, nargs="+")
    options = parse(parser, arguments, FOLDER / "ensemble.json")
    try:
        figures = combine(options.checkpoints, options.data)
    except KwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    names = " ".join(f"{path.resolve().parent.name}/{path.name}" for path in options.checkpoints)
    write_result(options.out, f"python -m benchmarks.studies.ensemble {names}", figures)
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
