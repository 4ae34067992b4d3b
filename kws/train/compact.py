"""`python -m kws.train.compact RUN/last.pt --out FILE`: a checkpoint of the averaged weights alone.

It can be exported and training can begin with it (`--start`), but no run goes on from it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kws.errors import KwsError, writing
from kws.train import checkpoint

LEFT_OUT = ("weights", "optimizer", "teacher", "steps", "mined", "best", "version")


def compact(source: Path, out: Path) -> int:
    """Write the compact checkpoint; returns its bytes. Raises ModelError where source is none."""
    state = checkpoint.load(source)
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(out, {key: state[key] for key in state.keys() - set(LEFT_OUT)})
    return out.stat().st_size


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kws.train.compact", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        size = compact(options.checkpoint, options.out)
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
