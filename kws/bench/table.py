"""What `kws bench` found, for a terminal and for a spreadsheet."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kws.bench.measure import BY_ROUND

# Heads of two lines, so that a terminal of 80 columns holds them.
COLUMNS = (
    ("artefact", "{artefact}"),
    ("runs\non", "{provider}"),
    ("p50\nus", "{network[p50_us]:.0f}"),
    ("speech\nms/s", "{cpu_ms_per_second_of_speech:.2f}"),
    ("silence\nms/s", "{cpu_ms_per_second_of_silence:.2f}"),
    ("real\ntime", "{times_real_time:.0f}x"),
    ("start\nms", "{start_ms:.0f}"),
    ("peak\nMB", "{peak_mb}"),
    ("file\nkB", "{file_kb:.0f}"),
)


def print_tables(found: dict[str, Any]) -> None:
    """Print everything to standard output."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    # A pipe has no width of its own; there a line that is cut or folded helps nobody.
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, markup=False, width=160)
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    console.print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}")
    governor = f", governor {machine['governor']}" if machine["governor"] else ""
    load = "unknown" if machine["load_average"] is None else machine["load_average"]
    console.print(f"Python {machine['python']}, {versions}; load average {load}{governor}")
    _print(console, f"\nmodel {found['model']}", _artefacts(found))
    console.print(
        "us: one call of the network. ms/s: processor time per second of audio, whole detector."
    )
    _print(console, "\nstage by stage, while the gate is open", _stages(found))
    _print(console, "\nnetwork on several threads, us per call (p50)", _threads(found))
    _print(console, "\nbatches, hours of audio per second", _throughput(found))
    for name, reason in found["not_run"].items():
        console.print(f"{name} was not measured: {reason}", soft_wrap=True)
    noise = found["noise"]
    if noise["noisy"]:
        console.print(
            f"NOISY: rounds differ by {noise['median_spread']:.0%} and other programs took "
            f"{noise['median_waiting']:.0%} of the time; close them and measure again.",
            soft_wrap=True,
        )


def write_csv(found: dict[str, Any], path: Path) -> None:
    """One row per artefact and processor, every figure a column of its own."""
    rows = [dict(_flat(row)) for row in found["artefacts"]]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if key == BY_ROUND:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}_")
        else:
            yield prefix + key, value


def _print(console: Any, title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first row is its head."""
    from rich.table import Table

    if len(rows) < 2:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    console.print(title)
    console.print(table)


def _artefacts(found: dict[str, Any]) -> list[list[str]]:
    rows = [[name for name, _ in COLUMNS]]
    for row in found["artefacts"]:
        peak = row["peak_bytes"]
        derived = {
            "times_real_time": 1 / row["real_time_factor"],
            "start_ms": 1e3 * (row["import_s"] + row["load_s"]),
            "peak_mb": "-" if peak is None else f"{peak / 1e6:.0f}",
            "file_kb": row["file_bytes"] / 1e3,
        }
        rows.append([form.format(**row, **derived) for _, form in COLUMNS])
    return rows


def _stages(found: dict[str, Any]) -> list[list[str]]:
    rows = [["stage", "p50 us", "p95 us", "p99 us", "calls/s", "ms/s"]]
    timed = list(found["stages"].items())
    timed += [
        (f"network {row['artefact']} {row['provider']}", row["network"])
        for row in found["artefacts"]
    ]
    for name, row in timed:
        percentiles = [f"{row[f'p{percent}_us']:.1f}" for percent in (50, 95, 99)]
        per_second = [f"{row['calls_per_second']:.1f}", f"{row['cpu_ms_per_second']:.3f}"]
        rows.append([name, *percentiles, *per_second])
    return rows


def _threads(found: dict[str, Any]) -> list[list[str]]:
    counts = sorted({row["threads"] for row in found["threads"]})
    by_key = {(row["artefact"], row["threads"]): row["p50_us"] for row in found["threads"]}
    rows = [["artefact", *(f"{count} thread{'s' if count > 1 else ''}" for count in counts)]]
    for key in dict.fromkeys(row["artefact"] for row in found["threads"]):
        rows.append([key, *(f"{by_key[key, count]:.0f}" for count in counts)])
    return rows


def _throughput(found: dict[str, Any]) -> list[list[str]]:
    rows = [["artefact", "runs on", "batch", "hours/s"]]
    for row in found["throughput"]:
        if "error" in row:
            rows.append([row["artefact"], row["provider"], "-", row["error"]])
        else:
            hours = f"{row['hours_per_second']:.3f}"
            rows.append([row["artefact"], row["provider"], str(row["batch"]), hours])
    return rows
