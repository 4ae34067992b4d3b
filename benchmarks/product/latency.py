"""`python -m benchmarks.product.latency`: what `kws bench` measures, kept as a result, and the time
that `import kws` takes in a fresh process."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.program import keep, program
from benchmarks.results import FOLDER
from benchmarks.timed import timed
from kws.bench.measure import BY_ROUND, FULL, measure
from kws.bench.plot import write_plot
from kws.bench.table import print_tables

STARTS = 15
IMPORT = "import time; begin = time.perf_counter(); import kws; print(time.perf_counter() - begin)"


def import_times() -> list[float]:
    """Seconds of `import kws` in fresh processes, after one that fills the disk's cache."""
    command = [sys.executable, "-c", IMPORT]
    return [float(subprocess.check_output(command)) for _ in range(STARTS + 1)][1:]


def tables(found: dict[str, Any]) -> dict[str, Any]:
    """The same figures as rows with names, as results keep them; times by their rounds."""
    machine, rows = found["machine"], found["artefacts"]
    return {
        "model": found["model"],
        "governor": machine["governor"] or "not readable",
        "load_average_before": machine["load_average"],
        "load_average_after": machine["load_average_after"],
        "artefacts": {_name(row): _row(row, "file_bytes", "peak_bytes") for row in rows},
        "one_call_of_the_network": {_name(row): _row(row["network"]) for row in rows},
        "stages_while_the_gate_is_open": {name: _row(row) for name, row in found["stages"].items()},
        "threads": {f"{row['artefact']} {row['threads']}": _row(row) for row in found["threads"]},
        "batches": {
            f"{_name(row)} {row.get('batch', '')}".strip(): _row(row, "error")
            for row in found["throughput"]
        },
        "not_measured": found["not_run"],
    }


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['artefact']} {row['provider']}"


def _row(row: Mapping[str, Any], *plain: str) -> dict[str, Any]:
    """What is measured in rounds as its median and interval, and some figures as they are."""
    kept = {key: row[key] for key in plain if key in row}
    return kept | {name: timed(values) for name, values in row.get(BY_ROUND, {}).items()}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.latency", __doc__, recordings=False)
    parser.set_defaults(out=None)  # latency.json, or cuda.json
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument("--cuda", action="store_true", help="on CUDA, which must be there")
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    name, providers = ("cuda", ("cuda",)) if options.cuda else ("latency", ("cpu", "cuda"))
    options.out = options.out or FOLDER / f"{name}.json"
    found = measure(options.model, providers, FULL)
    print_tables(found)
    write_plot(found, options.out.with_suffix(".png"))
    return tables(found) | {"import_kws_s": timed(import_times())}


if __name__ == "__main__":
    sys.exit(main())
