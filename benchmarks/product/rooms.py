"""`python -m benchmarks.product.rooms`: commands over talk, and what is no command, held out.

Every model and preset, verified and not, and the int8 stream file that the firmware equals bit for
bit: misses in silence, in noise and over talk, and false accepts on each kind of recording without
commands, with hours and the exact 95 % interval. Words are at -30 dBFS with a pause of 0.8 to 2.5 s
between them, noise or talk lies so many dB below them by the loud parts of both; a word is found
where its detection ends within 0.8 s of its clip. The posteriors are recorded once for each file
and the decisions replayed, which gives what `Detector` gives.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.program import keep, program
from kws.config import SAMPLE_RATE
from kws.decision import Detection
from kws.evaluation.intervals import poisson_interval
from kws.evaluation.replay import PosteriorRecorder, PosteriorTrack
from kws.evaluation.scenes import loudness
from kws.evaluation.streameval import by_speaker, choose_clips
from kws.model.load import Model, load_model
from kws.model.manifest import MODES, SENSITIVITIES, packaged_models
from kws.operating_point import OperatingPoint
from kws.recordings.data import (
    Int16Array,
    corpus_root,
    find_corpus,
    read_recordings,
    split_noise,
)
from kws.recordings.negatives import negatives

CLIPS = 30  # of each word
LATE = 0.8  # seconds after the end of a word's clip within which its detection ends
CONDITIONS: tuple[tuple[str, str, float | None], ...] = (
    ("silence", "", None),
    ("noise 20 dB", "noise", 20.0),
    ("noise 10 dB", "noise", 10.0),
    ("talk 20 dB", "talk", 20.0),
    ("talk 10 dB", "talk", 10.0),
    ("talk 5 dB", "talk", 5.0),
)
SWEEP = (0.4, 0.6, 0.8)  # one threshold for all words
FIRMWARE = "stream.int8.tflite"  # its posteriors are the firmware's, bit for bit

When = tuple[str, float, float]  # a word, and where its clip begins and ends, in seconds
Float = NDArray[np.float64]


def scene(
    clips: Sequence[tuple[str, Int16Array]],
    behind: Sequence[Int16Array],
    below_db: float | None,
    seed: int = 3,
) -> tuple[Int16Array, list[When]]:
    """Clips (word, audio) in random order over recordings, and where each word is."""
    generator = np.random.default_rng(seed)
    parts, when, at = [np.zeros(SAMPLE_RATE)], [], SAMPLE_RATE
    order = list(clips)
    generator.shuffle(order)  # type: ignore[arg-type]
    for word, audio in order:
        clip = _at_level(audio[:SAMPLE_RATE])
        gap = int(generator.uniform(0.8, 2.5) * SAMPLE_RATE)
        parts += [clip, np.zeros(gap)]
        when.append((word, at / SAMPLE_RATE, (at + len(clip)) / SAMPLE_RATE))
        at += len(clip) + gap
    mixed = np.concatenate(parts)
    if below_db is not None:
        bed: list[Float] = []
        while sum(map(len, bed)) < len(mixed):
            bed.append(_at_level(behind[int(generator.integers(len(behind)))]))
        mixed = mixed + np.concatenate(bed)[: len(mixed)] * 10 ** (-below_db / 20)
    return (np.clip(mixed, -1, 1) * 32767).astype(np.int16), when


def _at_level(audio: Int16Array) -> Float:
    """Samples in [-1, 1] whose loud parts are at -30 dBFS."""
    scaled: Float = audio / 32768.0
    level: Float = scaled * (0.03 / loudness(scaled))
    return level


def hits(found: Sequence[Detection], when: Sequence[When]) -> list[bool]:
    """Whether each word is found: by one detection of its own that ends at most LATE after it."""
    left, outcome = list(found), []
    for word, begin, end in when:
        own = [each for each in left if each.keyword == word and begin <= each.end <= end + LATE]
        outcome.append(bool(own))
        if own:
            left.remove(own[0])
    return outcome


@dataclass(frozen=True)
class Material:
    """What is reported on: scenes by condition, and recordings without commands by source."""

    scenes: Mapping[str, tuple[Int16Array, list[When]]]
    quiet: Mapping[str, Sequence[tuple[Path, Int16Array]]]


def held_out(folder: Path, keywords: Sequence[str], clips: int) -> Material:
    """Validation speakers' commands, and the recordings that training leaves out."""
    corpus = find_corpus(corpus_root(folder))
    quiet = {}
    for name, paths in negatives(folder, held_out=True, keywords=keywords).items():
        audio, used, _ = read_recordings(paths)
        quiet[name] = list(zip(used, audio, strict=True))
    behind = {
        "noise": [split_noise(recording)[1] for recording in read_recordings(corpus.noise)[0]],
        "talk": [],
        "": [],
    }
    for name, recordings in quiet.items():
        kind = {"noise": "noise", "speech": "talk"}.get(name.split("/")[0], "")
        behind[kind] += [audio for _, audio in recordings]
    chosen = choose_clips(corpus, "validation", keywords, clips, seed=0)
    words = [each for each in chosen if each[0] in keywords]
    scenes = {name: scene(words, behind[kind], below_db) for name, kind, below_db in CONDITIONS}
    return Material(scenes, quiet)


class Replayed:
    """One model's posteriors on the material, to decide on at any operating point."""

    def __init__(self, model: Model, material: Material, folder: Path) -> None:
        recorder = PosteriorRecorder(model)
        self._labels = model.manifest.labels
        self._scenes = {
            name: (recorder.record(name, [audio]), when)
            for name, (audio, when) in material.scenes.items()
        }
        self._quiet = {
            name: [recorder.record(str(path), [audio]) for path, audio in recordings]
            for name, recordings in material.quiet.items()
        }
        self._speakers = {
            group: tracks
            for name, recorded in self._quiet.items()
            if name.startswith("speech/")
            for group, tracks in by_speaker(name, folder / name, recorded).items()
        }

    def figures(self, point: OperatingPoint) -> dict[str, Any]:
        """Misses of each condition, and false accepts of each source and group of speakers."""
        missed = {}
        for name, (track, when) in self._scenes.items():
            outcome = hits(self._detections(track, point), when)
            missed[name] = {
                "words": len(outcome),
                "missed": outcome.count(False),
                "share": outcome.count(False) / len(outcome),
            }
        events = {
            track.name: len(self._detections(track, point))
            for tracks in self._quiet.values()
            for track in tracks
        }
        sources = {name: tracks for name, tracks in self._quiet.items() if tracks}
        return {
            "thresholds": dict(point.thresholds),
            "missed": missed,
            "false_accepts": _false_accepts(sources | dict(_joined(sources)), events),
            "speakers": _false_accepts(self._speakers, events),
        }

    def _detections(self, track: PosteriorTrack, point: OperatingPoint) -> list[Detection]:
        track = track if point.verified else track.without_verifier()
        return track.detections(self._labels, point.thresholds, point.config)


def _false_accepts(
    groups: Mapping[str, Sequence[PosteriorTrack]], events: Mapping[str, int]
) -> dict[str, Any]:
    """Of each group of recordings, by the events of each by name."""
    figures = {}
    for name, tracks in groups.items():
        counts = [events[track.name] for track in tracks]
        hours = sum(track.seconds for track in tracks) / 3600.0
        figures[name] = {
            "events": sum(counts),
            "hours": hours,
            "interval_95_per_hour": [each / hours for each in poisson_interval(sum(counts))],
            "recordings": len(counts),
            "recordings_that_fire": sum(count > 0 for count in counts),
        }
    return figures


def _joined(
    groups: Mapping[str, Sequence[PosteriorTrack]],
) -> Iterator[tuple[str, list[PosteriorTrack]]]:
    """All noise, and all other words, each taken together."""
    for kind in ("noise", "other_words"):
        tracks = [t for name, each in groups.items() if name.startswith(f"{kind}/") for t in each]
        if tracks:
            yield kind, tracks


def measure(model: Model, material: Material, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every preset of both modes, with the model's verifier and without, and a sweep."""
    replayed = Replayed(model, material, folder)
    for verify in (True, False) if model.verifier else (False,):
        for mode in MODES:
            isolated = mode == MODES[0]
            suffix = ", verified" if verify else ""
            for sensitivity in SENSITIVITIES:
                point = OperatingPoint.of(
                    model, sensitivity=sensitivity, isolated=isolated, verify=verify
                )
                yield f"{mode} {sensitivity}{suffix}", replayed.figures(point)
            for threshold in SWEEP:
                point = OperatingPoint.of(
                    model, threshold=threshold, isolated=isolated, verify=verify
                )
                figures = replayed.figures(point)
                del figures["thresholds"], figures["speakers"]
                yield f"{mode} at {threshold:g}{suffix}", figures


def rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """One operating point for a document: what was measured, and the figure with its count."""
    table = []
    for name, row in figures["missed"].items():
        table.append((f"missed, {name}", f"{row['share']:.1%} of {row['words']}"))
    for name, row in figures["false_accepts"].items():
        if name.startswith(("noise/", "other_words/")):
            continue
        if name == "other_words":
            share = row["recordings_that_fire"] / row["recordings"]
            table.append(("other words that fire", f"{share:.1%} of {row['recordings']}"))
            continue
        low, high = row["interval_95_per_hour"]
        text = f"{row['events']} in {row['hours']:.2f} h (95 %: {low:.1f} to {high:.1f} per hour)"
        table.append((f"false accepts, {name}", text))
    return table


def add_models(parser: argparse.ArgumentParser) -> None:
    """Declare which models are measured."""
    parser.add_argument(
        "--model",
        action="append",
        help="a packaged model's name, a folder or a manifest, any number of times "
        "(default: every packaged model)",
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.rooms", __doc__)
    add_models(parser)
    parser.add_argument("--clips", type=int, default=CLIPS, help="of each word")
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name in options.model or packaged_models():
        model = load_model(name)
        material = held_out(options.data, model.manifest.keywords, options.clips)
        files = [model]
        if FIRMWARE in model.manifest.artefacts and model.artefact != FIRMWARE:
            files.append(load_model(name, artefact=FIRMWARE))
        for each in files:
            found = dict(measure(each, material, options.data))
            figures.setdefault(model.manifest.name, {})[each.artefact] = found
            for point in (f"{MODES[0]} medium, verified", f"{MODES[0]} medium"):
                if point in found:
                    print(f"\n{model.manifest.name} ({each.artefact}), {point}")
                    print("\n".join(f"{what:<40}{value}" for what, value in rows(found[point])))
    return figures


if __name__ == "__main__":
    sys.exit(main())
