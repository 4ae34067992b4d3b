"""The page of benchmarks.studies.verified: what each combination misses and accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.lesson_tables import NOT_REACHED, WORDS
from benchmarks.text import Row, share, table
from kws.evaluation.intervals import rate_text


def verified_tables(figures: Mapping[str, Any]) -> Iterator[str]:
    """Both comparisons, then the least sums of logarithms."""
    rows, material = figures["rows"], figures["material"]
    first = next(iter(rows.values()))
    sources = [name for name in first["points"][0]["counts"] if name != WORDS]
    for limit in first["at_most"]:
        yield f"## At most {limit} false accepts on speech"
        points = {name: row["at_most"][limit] for name, row in rows.items()}
        yield from _compared(points, material, sources)
    yield "## Least sum of logarithms"
    yield (
        "Of (missed + 0.5) / words in each condition, (false accepts + 0.5) / hours of each source "
        "of speech and of noise, and (fired + 0.5) / recordings of other words; lower is better."
    )
    yield from _compared({name: row["least_sum"] for name, row in rows.items()}, material, sources)


def _compared(
    points: Mapping[str, Mapping[str, Any] | None], material: Mapping[str, Any], sources: list[str]
) -> Iterator[str]:
    conditions = next((list(point["missed"]) for point in points.values() if point), [])
    groups, words = material["negatives"], material["words"]
    missed: list[Row] = []
    accepted: list[Row] = []
    for name, point in points.items():
        if point is None:
            missed.append((name, *[NOT_REACHED] * len(conditions)))
            accepted.append((name, *[NOT_REACHED] * (len(sources) + 3)))
            continue
        shares = (share(point["missed"][each] / words, words) for each in conditions)
        missed.append((name, *shares))
        events = (rate_text(point["counts"][each], groups[each]["hours"]) for each in sources)
        fired = ""
        if WORDS in groups:
            recordings = groups[WORDS]["recordings"]
            fired = share(point["counts"][WORDS] / recordings, recordings)
        accepted.append((name, f"{point['shift']:+g}", *events, fired, f"{point['sum']:.2f}"))
    yield table(("commands missed", *conditions), missed)
    yield table(("false accepts", "shift", *sources, "other words that fire", "sum"), accepted)
