"""`python -m kws.train.average CHECKPOINT CHECKPOINT --out OUT.pt`: the mean of what runs learnt.

Weights of a run and of one that began where it ended lie in one basin of the loss, and their mean
is as good as either or better, for the cost of one network (Wortsman et al., "Model soups",
arXiv 2203.05482): what the second run unlearnt of the first is half there again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kws.errors import KwsError, ModelError
from kws.train import checkpoint

ALIKE = ("network", "features", "labels", "shares")


def average(paths: Sequence[Path]) -> dict[str, Any]:
    """The last of these checkpoints with the mean of the averaged weights of all.

    It cannot be resumed, only begun with or exported; `average_of` says what it is made of.
    Raises ModelError where there are not two checkpoints of the same kind of network.
    """
    if len(paths) < 2:
        raise ModelError(f"expected two checkpoints or more to average, got {len(paths)}")
    states = [checkpoint.load(path) for path in paths]
    last = states[-1]
    for path, state in zip(paths, states, strict=True):
        for part in ALIKE:
            if state.get(part) != last.get(part):
                raise ModelError(
                    f"{path} and {paths[-1]} differ in their {part}; average runs that began "
                    "where another ended"
                )
    weights = {}
    for name, value in last["average"].items():
        every = torch.stack([state["average"][name] for state in states])
        weights[name] = every.mean(0) if every.is_floating_point() else value
    kept = (*ALIKE, "options", "sources", "started_from", "epoch")
    return {
        **{part: last[part] for part in kept if part in last},
        "average": weights,
        "average_of": [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths],
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m kws.train.average", description=description)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        checkpoint.save(options.out, average(options.checkpoints))
    except (KwsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
