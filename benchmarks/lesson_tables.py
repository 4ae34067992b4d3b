"""The page of benchmarks.studies.lessons: what was trained, what each row misses and accepts."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.text import Row, share, table
from kws.evaluation.intervals import rate_text

WORDS = "other_words"
NOT_REACHED = "not reached"

Point = Mapping[str, Any]  # a threshold, and what is missed and accepted there
Runs = Sequence[Mapping[str, Any]]  # of one row


def lesson_tables(figures: Mapping[str, Any]) -> Iterator[str]:
    """The rows; then for each way of isolation both comparisons; then the sums of logarithms."""
    rows, material = figures["rows"], figures["material"]
    speech = sum(
        group["hours"]
        for name, group in material["negatives"].items()
        if name.startswith("speech/")
    )
    yield "## What was trained"
    yield table(
        ("", "weights", "epochs", "talk", "mined every", "teachers", "seeds"),
        [(name, *_trained(row)) for name, row in rows.items()],
    )
    yield (
        "Talk is the share of clips and streams with talk behind them; hard negatives are mined "
        "every so many epochs."
    )
    decision = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in figures["decision"].items()
    )
    yield (
        f"{material['words']} words in each condition. One threshold for all words, in "
        f"{len(figures['thresholds'])} steps from {figures['thresholds'][0]:g} to "
        f"{figures['thresholds'][-1]:g}. In brackets: of one run the 95 % interval, of several "
        f"seeds the lowest and the highest. Decided with: {decision}."
    )
    first = next(iter(rows.values()))["runs"][0]
    for way, measured in first["ways"].items():
        for limit in measured["at_most"]:
            yield (
                f"## {way[0].upper()}{way[1:]}, at most {limit} false accepts in {speech:.2f} h of "
                "speech"
            )
            points = {
                name: [run["ways"][way]["at_most"][limit] for run in row["runs"]]
                for name, row in rows.items()
            }
            yield table(
                ("commands missed", *measured["missed"]),
                [(name, *_missed(each, material)) for name, each in points.items()],
            )
            yield table(
                ("false accepts", "threshold", "speech", "noise", "other words that fire", "sum"),
                [(name, *_accepted(each, material, speech)) for name, each in points.items()],
            )
    yield "## Least sum of logarithms"
    yield (
        "Of (missed + 0.5) / words in each condition, (false accepts + 0.5) / hours of each source "
        "of speech and of noise, and (fired + 0.5) / recordings of other words; lower is better. "
        "The threshold is the one at which the sum is least: half an event weighs so little that "
        "it lies where hardly anything is accepted, and more is missed than anybody would put up "
        "with. The tables above have the sum at their thresholds."
    )
    yield table(
        ("", *(part for way in first["ways"] for part in (way, "threshold"))),
        [(name, *_sums(row["runs"])) for name, row in rows.items()],
    )


def _trained(row: Mapping[str, Any]) -> Row:
    every = row["mined_every_epochs"]
    return (
        f"{row['weights']:,}",
        str(row["epochs"]),
        f"{row['talk']:g}",
        f"{every} epochs" if every else "never",
        str(row["teachers"]),
        ", ".join(str(run["seed"]) for run in row["runs"]),
    )


def _missed(points: Sequence[Point | None], material: Mapping[str, Any]) -> Iterator[str]:
    conditions = next((list(point["missed"]) for point in points if point), [])
    for condition in conditions:
        yield _share(points, "missed", condition, material["words"])


def _share(points: Sequence[Point | None], part: str, name: str, whole: int) -> str:
    """A share with its interval, or the mean over seeds, the lowest and the highest."""
    found = [point[part][name] / whole for point in points if point]
    if len(found) < len(points):
        return NOT_REACHED
    if len(found) == 1:
        return share(found[0], whole)
    low, high = 100 * min(found), 100 * max(found)
    return f"{statistics.mean(found):.1%} ({low:.1f} to {high:.1f})"


def _accepted(
    points: Sequence[Point | None], material: Mapping[str, Any], speech: float
) -> Iterator[str]:
    groups = material["negatives"]
    yield ", ".join(f"{point['threshold']:.2f}" if point else NOT_REACHED for point in points)
    noise = groups.get("noise", {}).get("hours", 0.0)
    for hours, kind in ((speech, "speech/"), (noise, "noise")):
        counts = [
            sum(count for name, count in point["counts"].items() if name.startswith(kind))
            for point in points
            if point
        ]
        yield _events(counts, hours)
    recordings = groups.get(WORDS, {}).get("recordings", 0)
    yield _share(points, "counts", WORDS, recordings) if recordings else ""
    yield _mean([point["sum"] for point in points if point])


def _events(counts: Sequence[int], hours: float) -> str:
    """Events of one run, or of several seeds one after the other, each on the same recordings."""
    if not counts or not hours:
        return ""
    if len(counts) == 1:
        return rate_text(counts[0], hours)
    return f"{', '.join(map(str, counts))} in {hours:.2f} h each"


def _mean(sums: Sequence[float]) -> str:
    """Over seeds, with the lowest and the highest."""
    if not sums:
        return ""
    text = f"{statistics.mean(sums):.2f}"
    return text if len(sums) == 1 else f"{text} ({min(sums):.2f} to {max(sums):.2f})"


def _sums(runs: Runs) -> Iterator[str]:
    for way in runs[0]["ways"]:
        best = [run["ways"][way]["least_sum"] for run in runs]
        yield _mean([each["sum"] for each in best])
        yield ", ".join(f"{each['threshold']:.2f}" for each in best)
