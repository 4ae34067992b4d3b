"""What benchmarks that train or run checkpoints have in common on the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, out: Path | None
) -> argparse.Namespace:
    """Parse with --data, --threads and --out added; the threads are set.

    Without recordings named by --data or KWS_DATA it is a usage error.
    """
    parser.add_argument("--data", type=Path, default=os.environ.get("KWS_DATA"))
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("name the recordings with --data DIR or the environment variable KWS_DATA")
    options.data = Path(options.data)
    if options.threads:
        torch.set_num_threads(options.threads)
    return options
