"""Measure a model on streams: false accepts per hour, misses, delay, the DET curve.

Without --negatives or --input, scenes are built from the validation clips below --data: words at
-30 dBFS in silence, noise and over talk, which lie so many dB below the words by the loud parts of
both. Recordings without commands that are beside them are counted for false accepts. Noise, talk
and recordings without commands are those that training holds out, as far as there are any.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from kws.cli.options import add_decision, count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws eval-stream`."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        default=os.environ.get("KWS_DATA"),
        help="recordings to build streams from (default: the environment variable KWS_DATA)",
    )
    source.add_argument(
        "--negatives", metavar="DIR", type=Path, help="only recordings that hold no keyword"
    )
    source.add_argument(
        "--input", metavar="FILE", type=Path, help="one recording, with its --labels"
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        type=Path,
        help="what --input says when: Audacity's labels, or CSV with the columns start,end,word",
    )
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument("--artefact", metavar="KEY", help="which file of it, such as window.onnx")
    add_decision(parser)
    parser.add_argument("--no-vad", action="store_true", help="run the network in silence too")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default: 0)")
    parser.add_argument(
        "--clips", type=count, default=60, help="at most so many of each word (default: 60)"
    )
    parser.add_argument("--jobs", type=count, help="processes (default: one per processor)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write every figure, one a line")
    parser.add_argument(
        "--plots", metavar="DIR", type=Path, help="write the DET curve and the delays as pictures"
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate and print; returns the exit code: 1 where a recording could not be read."""
    import json

    from kws.errors import DataError, writing
    from kws.evaluation.scenes import read_scene
    from kws.evaluation.streameval import Evaluator, rows_of_figures
    from kws.evaluation.streamplots import require_matplotlib, write_plots
    from kws.model.load import load_model
    from kws.operating_point import OperatingPoint
    from kws.recordings.data import find_recordings

    if (options.input is None) != (options.labels is None):
        raise DataError("--input and --labels belong together; give both or neither")
    if options.plots:
        require_matplotlib()
    model = load_model(options.model, artefact=options.artefact)
    point = OperatingPoint.of(
        model,
        threshold=options.threshold,
        sensitivity=options.sensitivity,
        keywords=options.keywords,
        isolated=not options.connected,
        verify=not options.no_verifier,
    )
    evaluator = Evaluator(model, point, vad=not options.no_vad, jobs=options.jobs)
    if options.negatives:
        figures = evaluator.negatives(find_recordings(options.negatives))
    elif options.input:
        figures = evaluator.scene(read_scene(options.input, options.labels))
    elif options.data is None:
        raise DataError(
            "name recordings with --negatives, --input or --data, "
            "or the environment variable KWS_DATA"
        )
    else:
        figures = evaluator.development(Path(options.data), options.seed, options.clips)
    figures = evaluator.settings() | figures
    if options.csv:
        with writing(options.csv):
            options.csv.write_text(
                "".join(rows_of_figures(figures)), encoding="utf-8", errors="surrogateescape"
            )
    if options.plots:
        with writing(options.plots):
            write_plots(figures, options.plots)
    if options.json:
        print(json.dumps(figures))
    else:
        _print(figures)
    return 1 if figures.get("not_used") else 0


def _print(figures: dict[str, Any]) -> None:
    print(f"{figures['model']} ({figures['artefact']}), {figures['mode']}", end=", ")
    print(f"sensitivity {figures['sensitivity']}")
    if "false_accepts" in figures:
        _print_negatives({"recordings": figures})
        words = {word: count for word, count in figures["words"].items() if count}
        print("words: " + (", ".join(f"{w} {n}" for w, n in words.items()) or "none"))
    if "negatives" in figures:
        _print_negatives(figures["negatives"])
    scenes = figures.get("scenes") or ({"recording": figures} if "spoken" in figures else {})
    if scenes:
        print(f"\n{'scene':<24}{'words':>7}{'missed':>9}{'word errors':>13}{'delay':>9}{'95 %':>8}")
    for name, row in scenes.items():
        print(
            f"{name:<24}{row['spoken']:>7}{_percent(row['miss_rate']):>9}"
            f"{_percent(row['word_error_rate']):>13}{_seconds(row['delay_median_s']):>9}"
            f"{_seconds(row['delay_95_s']):>8}"
        )
    if figures.get("speakers"):
        _print_negatives(figures["speakers"])
    if "repetition" in figures:
        _print_repetition(figures["repetition"])
    for problem in figures.get("not_used", []):
        print(f"not used: {problem}")


def _print_repetition(figures: dict[str, Any]) -> None:
    once, shortest = figures["once"]["detected"], figures["shortest_s"]
    print(f"\n{'the same word four times, from onset to onset':<48}{'detected':>9}{'again':>9}")
    print(f"{'said once':<48}{_percent(once):>9}")
    for name, row in figures["distances"].items():
        print(f"{name:<48}{_percent(row['detected']):>9}{_percent(row['again']):>9}")
    print("again: of the words that are detected when they are said once,")
    print(f"90 % are detected from {_seconds(shortest)} on")


def _print_negatives(sources: dict[str, Any]) -> None:
    print(
        f"\n{'without keywords':<40}{'hours':>7}{'false accepts':>15}{'per hour':>10}{'95 %':>16}"
    )
    for name, row in sources.items():
        print(
            f"{name:<40}{row['hours']:>7.2f}{row['false_accepts']:>15}"
            f"{_number(row['false_accepts_per_hour']):>10}"
            f"{_interval(row['interval_95_per_hour']):>16}"
        )


def _interval(limits: list[float] | None) -> str:
    return "-" if limits is None else f"{limits[0]:.1f} to {limits[1]:.1f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
