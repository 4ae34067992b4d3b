"""Figures as text: cells, names, and tables of at most eight columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kws.evaluation.intervals import rate_text, share_interval

COLUMNS = 8  # at most, in any table
Row = tuple[str, ...]
NAMES = {"interval_95": "95 % interval", "range": "lowest and highest round"}  # of timed figures
UNITS = {"bytes": "", "mb": "MB", "s": "s", "us": "µs", "ms": "ms"}  # at the end of a key


def table(head: Row, rows: Sequence[Row]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def between(page: str, command: str, text: str) -> str:
    """A page with what `command` writes into it, between two marks, written again.

    Raises ValueError where a mark is gone.
    """
    begin, end = f"<!-- written by: {command} -->", f"<!-- end of: {command} -->"
    head, found, rest = page.partition(begin)
    _, ended, tail = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"expected the marks {begin} and {end}, in this order")
    return "\n\n".join((f"{head}{begin}", text, f"{end}{tail}"))


def write_between(path: Path, command: str, text: str) -> None:
    """Write such a page again."""
    path.write_text(between(path.read_text(encoding="utf-8"), command, text), encoding="utf-8")


def narrow_tables(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """The same as one table, turned where its columns are too many, or as several."""
    if len(head) <= COLUMNS:
        yield table(head, rows)
    elif len(rows) < COLUMNS:
        turned = list(zip(head, *rows, strict=True))
        yield table(turned[0], turned[1:])
    else:
        for begin in range(1, len(head), COLUMNS - 1):
            some = slice(begin, begin + COLUMNS - 1)
            yield table(head[:1] + head[some], [row[:1] + row[some] for row in rows])


def cell(value: Any, name: str = "") -> str:
    """A figure by its name: what is counted in bytes is shown in MB."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and name.endswith("_bytes"):
        return megabytes(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return (" to " if name in NAMES else ", ").join(map(cell, value))
    return str(value)


def words(name: str) -> str:
    """A key as a reader would write it, its unit after a comma."""
    if name in NAMES:
        return NAMES[name]
    stem, _, unit = name.rpartition("_")
    if unit in UNITS and stem:
        name = f"{stem}, {UNITS[unit]}" if UNITS[unit] else stem
    return name.replace("_", " ")


def megabytes(count: float) -> str:
    """Bytes as MB of 10^6."""
    return f"{count / 1e6:.1f} MB"


def share(value: float, count: int | None = None) -> str:
    """A share, with its 95 % interval where it is one of a counted whole."""
    if count is None:
        return f"{value:.1%}"
    low, high = share_interval(round(value * count), count)
    return f"{value:.1%} ({100 * low:.1f} to {100 * high:.1f})"


def counted(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures with every count of false accepts beside its hours as one text, and no bare rate.

    A count is a key that ends in "false accepts", and the audio beside it "hours" or "seconds".
    """
    made: dict[str, Any] = {}
    used = set()
    for key, value in figures.items():
        head = key.replace("_", " ").removesuffix("false accepts")
        if head == key.replace("_", " ") or not isinstance(value, int):
            continue
        for unit, scale in (("hours", 1.0), ("seconds", 3600.0)):
            length = f"{head}{unit}"
            if figures.get(length):
                made[key] = rate_text(value, figures[length] / scale)
                used.add(length)
                break
    return {
        key: made.get(key, value)
        for key, value in figures.items()
        if key not in used and not key.replace("_", " ").endswith("per hour")
    }
