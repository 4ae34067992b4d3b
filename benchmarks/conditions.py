"""The page of a second condition: false actions on speech, other words and noise, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.text import table
from kws.evaluation.intervals import rate_text

ALL = "all"
KINDS = ("speech", "other words", "noise")  # what the names of sources begin with
COUNT, HOURS = " false accepts", " hours"

Counts = Mapping[str, float]  # COUNT and HOURS of each source


def condition_tables(figures: Mapping[str, Mapping[str, Counts]]) -> Iterator[str]:
    """One table for each model, mode and way; a row for each condition."""
    for point, conditions in figures.items():
        yield f"## {point}"
        rows = [
            (name, *(_counted(counts, kind) for kind in (ALL, *KINDS)))
            for name, counts in conditions.items()
        ]
        yield table(("what counts", ALL, *KINDS), rows)


def _counted(counts: Counts, kind: str) -> str:
    """The false accepts of all sources of a kind in their hours, with what that allows to say."""
    sources = [
        name.removesuffix(COUNT)
        for name in counts
        if name.endswith(COUNT) and (name == kind + COUNT or name.startswith(f"{kind}/"))
    ]
    hours = sum(counts[source + HOURS] for source in sources)
    events = int(sum(counts[source + COUNT] for source in sources))
    return rate_text(events, hours) if hours else ""
