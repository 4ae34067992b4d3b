"""What the programs that measure have in common: recordings, the result's file, and errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environments import EnvironmentFailed
from benchmarks.results import FOLDER, command_of, write_result
from kws.errors import KwsError


def program(module: str, about: str | None, recordings: bool = True) -> argparse.ArgumentParser:
    """The parser of `python -m benchmarks.MODULE`: with --data, where it needs recordings, and
    --out, by default a file in results/ with the module's name."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if recordings:
        data = os.environ.get("KWS_DATA")
        parser.add_argument(
            "--data",
            type=Path,
            default=data,
            required=not data,
            metavar="DIR",
            help="the recordings (default: KWS_DATA)",
        )
    out = FOLDER / f"{module.rpartition('.')[2]}.json"
    parser.add_argument("--out", type=Path, default=out, help="where the result goes")
    return parser


def keep(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
) -> int:
    """Parse, measure, and keep the figures with the command that gives them again.

    `measure` may name another file than --out's default in `options.out`. Returns the exit code: 1,
    with one line, where something that a user can mend was in the way.
    """
    options = parser.parse_args(arguments)
    try:
        figures = measure(options)
    except (KwsError, EnvironmentFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_result(options.out, command_of(parser, options), figures)
    print(f"written: {options.out}")
    return 0
