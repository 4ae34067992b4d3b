"""Measure speed, start-up, memory and size of a model here: every file on every processor."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws bench`."""
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument(
        "--provider",
        choices=("cpu", "cuda", "all"),
        default="all",
        help="where the networks run (default: all, which says why if there is no CUDA)",
    )
    parser.add_argument("--quick", action="store_true", help="rough figures in under 20 seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="also write the table as CSV")
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="also draw latency and stages into a PNG"
    )


def run(options: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    import json

    from kws.bench.measure import FULL, QUICK, measure
    from kws.bench.table import print_tables, write_csv
    from kws.errors import writing

    if options.plot:
        from kws.evaluation.report import require_matplotlib

        require_matplotlib()
    providers = ("cpu", "cuda") if options.provider == "all" else (options.provider,)
    found = measure(options.model, providers, QUICK if options.quick else FULL)
    if options.csv:
        with writing(options.csv):
            write_csv(found, options.csv)
    if options.plot:
        from kws.bench.plot import write_plot

        with writing(options.plot):
            write_plot(found, options.plot)
    if options.json:
        print(json.dumps(found))
    else:
        print_tables(found)
    return 0
