"""`python -m kws.train.average RUN/last.pt OTHER/last.pt --out FILE`: the mean of several runs.

Weights of networks that began with the same ones may be averaged, and the mean is often better than
each (Wortsman et al., Model soups, arXiv 2203.05482). It can be exported and training can begin
with it (`--start`), but no run goes on from it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from kws.errors import KwsError, ModelError, writing
from kws.train import checkpoint


@torch.no_grad()
def average(sources: Sequence[Path], out: Path) -> None:
    """Write the mean of the averaged weights of two checkpoints or more, without class shares.

    Raises ModelError where one is none, or they are of different networks or did not begin with the
    same published weights or model.
    """
    read = [checkpoint.load_network(path) for path in sources]
    network, features, labels, first = read[0]
    for path, (other, theirs, known, its) in zip(sources, read, strict=True):
        if (other.config, theirs, known) != (network.config, features, labels):
            raise ModelError(f"{path} is of another network than {sources[0]}")
        if its.get("started_from") != first.get("started_from"):
            raise ModelError(
                f"{path} and {sources[0]} did not begin with the same weights; their mean would "
                "know nothing"
            )
    weights = [each.state_dict() for each, *_ in read]
    mean = {
        name: torch.stack([each[name] for each in weights]).mean(0)
        if content.is_floating_point()
        else content
        for name, content in weights[0].items()
    }
    runs = []
    for path, (*_, its) in zip(sources, read, strict=True):
        with checkpoint.fitting(path):
            runs.append({key: its[key] for key in ("options", "sources", "started_from", "epoch")})
    others = [{**run["options"], "epochs_done": run["epoch"]} for run in runs[1:]]
    about = checkpoint.describe(network, features, labels)
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(out, {**about, **runs[0], "averaged_with": others, "average": mean})


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kws.train.average", description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    if len(options.checkpoints) < 2:
        parser.error("expected two checkpoints or more")
    try:
        average(options.checkpoints, options.out)
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: the mean of {len(options.checkpoints)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
