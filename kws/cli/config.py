"""Print the options that `kws serve` would run with, as TOML, and where each came from.

It takes the same flags. What it prints is a file for --config, of `kws listen` too, which leaves
out what it has no option for.
"""

from __future__ import annotations

import argparse

from kws.cli import serve
from kws.cli.settings import Options, as_toml, keys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws config`, which are those of `kws serve`."""
    serve.add_arguments(parser)


def run(options: Options) -> int:
    """Print them; returns the exit code."""
    lines = []
    for key, action in keys(options.parser).items():
        value = getattr(options, action.dest)
        if value is None:
            what = action.metavar or "|".join(map(str, action.choices or [key.upper()]))
            lines.append((f"# {key} = {what}", "not set"))
        else:
            lines.append((f"{key} = {as_toml(value)}", options.origins[key]))
    width = max(len(line) for line, _ in lines if len(line) <= 50)
    for line, origin in lines:
        print(f"{line:<{width}}  # {origin}")
    return 0
