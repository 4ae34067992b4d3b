"""`python -m benchmarks.product.arming`: what a second condition is worth against false alarms.

False actions on recordings without commands that training never had, once with every detection and
once with those that count after another word or after a cool-down. The posteriors are recorded once
and the decisions replayed, which gives what `kws listen` gives. The recordings of a source follow
one another as in one stream, so that one may arm the next.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.product.rooms import add_models
from benchmarks.program import keep, program
from benchmarks.text import rate_text
from kws import KwsError
from kws.app.arming import Arming, ArmingConfig
from kws.decision import Detection
from kws.evaluation.intervals import poisson_interval
from kws.evaluation.replay import PosteriorTrack, record_files
from kws.model.load import Model, load_model
from kws.model.manifest import MODES, packaged_models
from kws.operating_point import OperatingPoint
from kws.recordings.negatives import negatives

WITHIN = 4.0  # seconds after the first word
COOL_DOWN = 5.0  # seconds
ALL = "all"


def conditions(keywords: Sequence[str]) -> dict[str, ArmingConfig]:
    """What is compared, by name: each word takes its turn as the first one."""
    return {
        "every detection": ArmingConfig(),
        f"cool-down of {COOL_DOWN:g} s": ArmingConfig(cool_down=dict.fromkeys(keywords, COOL_DOWN)),
        **{
            f"within {WITHIN:g} s after {word}": ArmingConfig(word, within=WITHIN)
            for word in keywords
        },
    }


def stream(
    tracks: Sequence[PosteriorTrack], model: Model, point: OperatingPoint
) -> list[Detection]:
    """What is detected in recordings that follow one another."""
    found, begin = [], 0.0
    for track in tracks:
        used = track if point.verified else track.without_verifier()
        for each in used.detections(model.manifest.labels, point.thresholds, point.config):
            found.append(replace(each, start=each.start + begin, end=each.end + begin))
        begin += track.seconds
    return found


def figures(
    sources: Mapping[str, Sequence[PosteriorTrack]], model: Model, point: OperatingPoint
) -> dict[str, Any]:
    """False actions of all recordings and by source, under each condition."""
    streams = {name: stream(tracks, model, point) for name, tracks in sources.items()}
    hours = {name: sum(t.seconds for t in tracks) / 3600.0 for name, tracks in sources.items()}
    made = {}
    for condition, config in conditions(point.keywords).items():
        counts = {}
        for name, detections in streams.items():
            arming = Arming(config)
            counts[name] = sum(arming.counts(each) for each in detections)
        row = _figures(ALL, sum(counts.values()), sum(hours.values()))
        for name, count in counts.items():
            row |= _figures(name.replace("_", " "), count, hours[name])
        made[condition] = row
    return made


def _figures(source: str, count: int, hours: float) -> dict[str, Any]:
    return {
        f"{source} false accepts": count,
        f"{source} hours": hours,
        f"{source} interval 95 % per hour": [each / hours for each in poisson_interval(count)],
    }


def measure(model: Model, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Both modes at their medium sensitivity, with the model's verifier and without.

    Raises KwsError where no recording without commands can be read.
    """
    sources = {}
    for name, paths in negatives(folder, held_out=True, keywords=model.manifest.keywords).items():
        tracks, problems = record_files(paths, model)
        for problem in problems:
            print(f"not used: {problem}", file=sys.stderr)
        if tracks:
            sources[name] = tracks
    if not sources:
        raise KwsError(f"no recordings without commands can be read in {folder}")
    for verify in (True, False) if model.verifier else (False,):
        for mode in MODES:
            point = OperatingPoint.of(model, isolated=mode == MODES[0], verify=verify)
            name = f"{mode}, {'with' if verify else 'without'} verifier"
            yield name, figures(sources, model, point)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.arming", __doc__)
    add_models(parser)
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    found = {}
    for name in options.model or packaged_models():
        model = load_model(name)
        for point, made in measure(model, options.data):
            found[f"{model.manifest.name}, {point}"] = made
            print(f"\n{model.manifest.name}, {point}")
            for condition, row in made.items():
                text = rate_text(row[f"{ALL} false accepts"], row[f"{ALL} hours"])
                print(f"{condition:<28}{text}")
    return found


if __name__ == "__main__":
    sys.exit(main())
