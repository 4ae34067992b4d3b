"""`python -m benchmarks.product.latency`: what `kws bench` measures, kept as a result."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks.program import keep, program
from benchmarks.results import FOLDER
from kws.bench.measure import FULL, QUICK, measure
from kws.bench.plot import write_plot
from kws.bench.table import print_tables


def tables(found: dict[str, Any]) -> dict[str, Any]:
    """The same figures as rows with names, as results keep them."""
    machine = found["machine"]
    rows = {f"{row['artefact']} {row['provider']}": row for row in found["artefacts"]}
    plain = {
        name: {key: value for key, value in row.items() if not isinstance(value, dict)}
        for name, row in rows.items()
    }
    return {
        "model": found["model"],
        "governor": machine["governor"] or "not readable",
        "load_average_before": machine["load_average"],
        "load_average_after": machine["load_average_after"],
        **found["noise"],
        "artefacts": plain,
        "one_call_of_the_network": {name: row["network"] for name, row in rows.items()},
        "stages_while_the_gate_is_open": found["stages"],
        "threads": {
            f"{row['artefact']} {row['threads']}": {
                "p50_us": row["p50_us"],
                "cpu_us": row["cpu_us"],
            }
            for row in found["threads"]
        },
        "batches": {
            f"{row['artefact']} {row['provider']} {row.get('batch', '')}".strip(): {
                key: row[key] for key in ("p50_us", "hours_per_second", "error") if key in row
            }
            for row in found["throughput"]
        },
        "not_measured": found["not_run"],
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.latency", __doc__, recordings=False)
    parser.set_defaults(out=None)  # latency.json, or cuda.json
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument("--quick", action="store_true", help="rough figures")
    parser.add_argument("--cuda", action="store_true", help="on CUDA, which must be there")
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    name, providers = ("cuda", ("cuda",)) if options.cuda else ("latency", ("cpu", "cuda"))
    options.out = options.out or FOLDER / f"{name}.json"
    found = measure(options.model, providers, QUICK if options.quick else FULL)
    print_tables(found)
    write_plot(found, options.out.with_suffix(".png"))
    return tables(found)


if __name__ == "__main__":
    sys.exit(main())
