"""The figures of benchmarks.product.rooms: difficult conditions, speakers, and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.text import Row, share, table
from kws.evaluation.intervals import rate_text
from kws.model.manifest import MODES, SENSITIVITIES

Points = Mapping[str, Mapping[str, Any]]  # by operating point, as benchmarks.product.rooms names it

MODEL, FILE = "commands", "stream.onnx"
FIRMWARE = "stream.int8.tflite"  # whose posteriors are the firmware's
VERIFIED = ", verified"
# Columns of the short table: which file and operating point each is.
SHOWN = {
    "default": (FILE, f"isolated medium{VERIFIED}"),
    "`--connected`": (FILE, f"connected medium{VERIFIED}"),
    "TFLite and firmware": (FIRMWARE, "isolated medium"),
    "the same, `--connected`": (FIRMWARE, "connected medium"),
}
HEAD = "difficult rooms and voices"
LEFT_TO_THE_PAGE = (", f", ", m")
SOURCES = {
    "speech/librispeech": "read speech",
    "speech/orders": "coffee orders",
    "speech/speechocean": "English of Mandarin speakers",
}


def short_table(figures: Mapping[str, Any]) -> str:
    """The medium presets of both modes, with the verifier and as the firmware does without."""
    return _shown(figures, LEFT_TO_THE_PAGE)


def card_table(figures: Mapping[str, Any]) -> str:
    """The same with groups of speakers."""
    return _shown(figures, ())


def _shown(figures: Mapping[str, Any], left_out: tuple[str, ...]) -> str:
    files: Mapping[str, Points] = figures.get(MODEL, {})
    points = {
        title: files[file][point]
        for title, (file, point) in SHOWN.items()
        if point in files.get(file, {})
    }
    # Of each kind of noise and of other words the page tells.
    rows = [row for row in _rows(points) if ": " not in row[0]] if points else []
    rows = [row for row in rows if not row[0].endswith(left_out)] if left_out else rows
    return table((HEAD, *points), rows) if rows else ""


def page_tables(figures: Mapping[str, Mapping[str, Points]]) -> Iterator[str]:
    """For each file of each model: its presets, with the verifier and without, and a sweep."""
    for model, files in figures.items():
        for file, points in files.items():
            for suffix in (VERIFIED, ""):
                presets = {
                    f"{mode} {sensitivity}": points[f"{mode} {sensitivity}{suffix}"]
                    for mode in MODES
                    for sensitivity in SENSITIVITIES
                    if f"{mode} {sensitivity}{suffix}" in points
                }
                if presets:
                    told = "with verifier" if suffix else "without verifier"
                    yield f"## {model}, {file}, {told}"
                    yield table(("", *presets), list(_rows(presets)))
                for mode in MODES:
                    begin = f"{mode} at "
                    sweep = {
                        name.removeprefix(begin).removesuffix(suffix): point
                        for name, point in points.items()
                        if name.startswith(begin) and name.endswith(VERIFIED) == bool(suffix)
                    }
                    if sweep:
                        yield f"One threshold for all words, {mode}, {told}:"
                        yield table(("threshold", *sweep), list(_rows(sweep)))


def _rows(points: Points) -> Iterator[Row]:
    """Misses by condition and false accepts by source and by speakers, a column per point."""
    first = next(iter(points.values()))
    for condition in first["missed"]:
        found = [point["missed"].get(condition) for point in points.values()]
        yield (
            f"commands missed, {condition}",
            *(share(row["share"], row["words"]) if row else "" for row in found),
        )
    for group in ("false_accepts", "speakers"):
        for source in first.get(group, {}):
            found = [point.get(group, {}).get(source) for point in points.values()]
            name, comma, group_name = source.partition(", ")
            name = SOURCES.get(name, name.removeprefix("speech/"))
            name = name.replace("_", " ").replace("/", ": ") + comma + group_name
            if source.startswith("other_words"):
                told = f"recordings that fire, {name}"
                cells = [_fired(row) for row in found]
            else:
                told = f"false accepts, {name}"
                cells = [rate_text(row["events"], row["hours"]) if row else "" for row in found]
            yield (told, *cells)


def _fired(row: Mapping[str, Any] | None) -> str:
    if not row:
        return ""
    return share(row["recordings_that_fire"] / row["recordings"], row["recordings"])
