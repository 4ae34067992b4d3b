"""The figures that README and RESULTS.md show, each read from one measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.difficult import card_table, short_table
from benchmarks.product import installations
from benchmarks.targets import WITH, beside_pymicro
from benchmarks.text import Row, megabytes, share, table
from benchmarks.timed import timed_text, too_noisy
from kws.evaluation.intervals import rate_text

Results = Mapping[str, Mapping[str, Any]]  # by name, as benchmarks.results reads them

# The presets of benchmarks.product.streaming that are shown, by what the table calls them.
PRESETS = {
    "isolated medium": "default",
    "connected medium": "`--connected`",
    "isolated medium, without verifier": "without verifier",
}
QUIET = "conversation and noise"  # of which false accepts are counted
SIMILAR = {"other_words/jarvis": "*jarvis*", "other_words/view_glass": "*view glass*"}
SCENES = {
    "silence": "no noise",
    "noise 20 dB": "unseen noises at 20 dB SNR",
    "noise 10 dB": "unseen noises at 10 dB SNR",
    "talk 20 dB": "talk in the background at 20 dB",
    "talk 10 dB": "talk in the background at 10 dB",
}
CONDITIONS = {
    "clean": "speakers never trained on",
    "10 dB": "with unseen noises at 10 dB SNR",
    "0 dB": "with unseen noises at 0 dB SNR",
    "rooms": "in simulated rooms",
    "telephone": "over a telephone line",
}


def streams(results: Results) -> str:
    """False accepts, misses and delay on streams: a row per condition, a column per preset."""
    points = _figures(results, "streaming").get("operating_points", {})
    columns = [points[preset] for preset in PRESETS if preset in points]
    head = ("on streams", *(PRESETS[preset] for preset in PRESETS if preset in points))
    rows: list[Row] = []

    def row(text: str, *cells: str | None) -> None:
        if any(cells):
            rows.append((text, *(each or "" for each in cells)))

    row("false accepts on speech and unseen noises", *map(_false_accepts, columns))
    scenes = {} if "rooms" in results else SCENES  # it tells more of them
    for name, text in scenes.items():
        row(f"commands missed, {text}", *(_missed(point, name) for point in columns))
    for name, text in SIMILAR.items():
        row(f"recordings of {text} that fire", *(_fired(point, name) for point in columns))
    row(
        "delay from the end of a word, median",
        *(_seconds(point, "delay at 10 dB, median, s") for point in columns),
    )
    return table(head, rows) if rows else ""


def difficult(results: Results) -> str:
    """Talk in the background, other accents, children, and the files without verifier."""
    return short_table(_figures(results, "rooms"))


def card(results: Results) -> str:
    """The same with groups of speakers, for the model card."""
    return card_table(_figures(results, "rooms"))


def clips(results: Results) -> str:
    """Accuracy over 12 classes: of one window, as everybody measures, and of three beside it."""
    models = {
        "commands": ("accuracy", "window.onnx"),
        "accurate": ("accuracy_accurate", "window.int8.onnx"),
    }
    found = {
        name: _figures(results, result)["artefacts"][artefact]["conditions"]
        for name, (result, artefact) in models.items()
        if _figures(results, result)
    }
    head = ["accuracy over 12 classes"]
    for name in found:
        head += [f"`{name}`", f"`{name}`, three windows"]
    rows = []
    for condition, text in CONDITIONS.items():
        cells = []
        for conditions in found.values():
            figures = conditions[condition]
            for key in ("accuracy_of_one_window", "accuracy"):
                cells.append(share(figures[key], figures["clips"]))
        rows.append((text, *cells))
    return table(tuple(head), rows) if found else ""


def cost(results: Results) -> str:
    """Processor time, memory, sizes and speed; rows whose measurement was too noisy are absent."""
    rows = [
        *_spotting(results),
        *_processor_time(results),
        *_whole_program(results),
        *_sizes(results),
        *_archive(results),
    ]
    return table(("what", "measured", "from"), rows) if rows else ""


def _false_accepts(point: Mapping[str, Any]) -> str | None:
    count, hours = point.get(f"{QUIET}, false accepts"), point.get(f"{QUIET}, hours")
    return None if count is None or not hours else rate_text(count, hours)


def _missed(point: Mapping[str, Any], name: str) -> str | None:
    missed = point.get(f"{name}, missed")
    return None if missed is None else share(missed, point.get(f"{name}, spoken"))


def _fired(point: Mapping[str, Any], name: str) -> str | None:
    count = point.get(f"{name}, clips")
    return share(point[f"{name}, clips that fire"] / count, count) if count else None


def _seconds(point: Mapping[str, Any], key: str) -> str | None:
    return f"{point[key]:.2f} s" if point.get(key) is not None else None


def _spotting(results: Results) -> Iterator[Row]:
    if figures := _figures(results, "spotting"):
        spotted = share(figures["spotted"], figures["keyword_clips"])
        yield ("keywords spotted in a stream, single words", spotted, _link("spotting"))
        fired = share(figures["unknown_fired"], figures["unknown_clips"])
        yield ("other words that fire in the same stream", fired, _link("spotting"))
    if figures := _figures(results, "accuracy"):
        unseen = figures["unseen_in_a_stream"]["all"]
        fired = share(unseen["share"], unseen["clips"])
        yield ("recordings of four words never trained on that fire", fired, _link("accuracy"))


def _processor_time(results: Results) -> Iterator[Row]:
    before = _figures(results, "before")
    ours = before.get(WITH, {}).get("after", {})
    kinds = {
        "speech": "speech",
        "read_speech": "dense read speech",
        "silence": "digital silence",
        "faint_noise": "faint noise",
    }
    for kind, text in kinds.items():
        if kind not in ours:
            continue
        if not too_noisy(row := ours[kind]["ms_per_second"]):
            time = timed_text(row, unit=" ms")
            yield (f"the detector, processor time per second of {text}", time, _link("before"))
        if beside := beside_pymicro(WITH, kind)(before):
            over = f"processor time over that of pymicro-wakeword, {text}"
            yield (over, beside.text, _link("before"))
    peer = _figures(results, "peers").get("paired_processor_time", {}).get("pocketsphinx 1e-2", {})
    if peer and not too_noisy(row := peer["speech"]["relative_processor_time"]):
        text = "processor time of pocketsphinx, the same ten words, over that of the detector"
        yield (text, timed_text(row), _link("peers"))


def _whole_program(results: Results) -> Iterator[Row]:
    programs = _figures(results, "listening").get("paired_processor_time", {})
    for name, row in programs.items():
        shares = [row[kind]["share_of_a_core"] for kind in ("silence", "talk")]
        if not any(map(too_noisy, shares)):
            silence, talk = (timed_text(each, "{:.2%}") for each in shares)
            yield (
                f"`{name}`, the whole program" if name.startswith("kws") else name,
                f"of a core in silence {silence}, in talk {talk}",
                _link("listening"),
            )
        added = [kind["difference"] for kind in row.values() if "difference" in kind]
        if name == "kws listen with live view" and added and not any(map(too_noisy, added)):
            silence, talk = (timed_text(each, "{:.2%}") for each in added)
            yield (
                "what the live view adds",
                f"of a core in silence {silence}, in talk {talk}",
                _link("listening"),
            )


def _sizes(results: Results) -> Iterator[Row]:
    if figures := _figures(results, "footprint"):
        wheel = megabytes(figures["wheel_bytes"])
        yield ("the wheel, with every format of the models", wheel, _link("footprint"))
    if figures := _figures(results, "installations"):
        base, plain = (figures["ways"][way] for way in (installations.BASE, installations.PLAIN))
        for text, way, key in (
            ("installed with all that it needs, `--no-compile`", base, "installed_bytes"),
            ("the same with the bytecode that pip makes", plain, "installed_bytes"),
            ("memory of `kws listen` at its most", base, "resident_bytes"),
        ):
            yield (text, megabytes(way[key]), _link("installations"))


def _archive(results: Results) -> Iterator[Row]:
    row = _figures(results, "scanning").get("ways", {}).get("kws scan, 2 processes")
    if row and not too_noisy(row["times_real_time"]):
        speed = timed_text(row["times_real_time"], "{:.0f}", " times real time")
        yield ("an archive on two cores", speed, _link("scanning"))


def _figures(results: Results, name: str) -> Mapping[str, Any]:
    return results.get(name, {}).get("figures", {})


def _link(name: str) -> str:
    return f"[{name.replace('_', ' ')}](pages/{name}.md)"
