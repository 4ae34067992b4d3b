"""Accuracy of a shipped model on speakers, words, noises, rooms and devices never trained on.

`python -m benchmarks.product.accuracy` measures every file of the model that takes whole windows
and that a runtime found here can run, and writes benchmarks/results/accuracy.json. Clips are
processed as `kws eval` does, in three windows; one figure is that of a clip's own window
alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import held_out
from benchmarks.product.spotting import stream, surround
from benchmarks.program import keep, program
from benchmarks.results import FOLDER
from kws import Detector
from kws.config import SILENCE, UNKNOWN
from kws.errors import BackendUnavailable
from kws.evaluation.evalset import EvaluationSet
from kws.evaluation.evaluate import Evaluation, clip_posteriors
from kws.model.load import Model, load_model
from kws.model.manifest import DEFAULT_MODEL, Manifest, find_manifest, read_manifest
from kws.recordings.data import Int16Array, corpus_root, find_corpus, read_recordings, split_noise
from kws.recordings.held_out import NOISE_FOLDERS


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.accuracy", __doc__)
    parser.set_defaults(out=None)  # accuracy.json, or accuracy_MODEL.json of another model
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    figures = measure(options.model, options.data)
    default = "accuracy" if figures["model"] == DEFAULT_MODEL else f"accuracy_{figures['model']}"
    options.out = options.out or FOLDER / f"{default}.json"
    return figures


def measure(model: str | None, data: Path) -> dict[str, Any]:
    """Every figure of every artefact that runs here, as one JSON-ready object."""
    manifest = read_manifest(find_manifest(model))
    conditions = dict(held_out.conditions(manifest.labels, data))
    unseen = dict(held_out.unseen_words(data))
    figures: dict[str, Any] = {
        "model": manifest.name,
        "parameters": manifest.parameters,
        "held_out": {
            "words": tuple(unseen),
            "noise": NOISE_FOLDERS,
        },
        "artefacts": {},
        "not_run": {},
    }
    for key in sorted(key for key in manifest.artefacts if key.startswith("window.")):
        try:
            loaded = load_model(model, artefact=key)
        except BackendUnavailable as error:
            figures["not_run"][key] = str(error)
            continue
        print(f"{manifest.name} {key}")
        figures["artefacts"][key] = _measure_one(loaded, conditions, unseen)
    print(f"{manifest.name} in a stream")
    figures["unseen_in_a_stream"] = _fired(model, data, unseen)
    return figures


def _fired(model: str | None, data: Path, unseen: dict[str, list[Int16Array]]) -> dict[str, Any]:
    """How many recordings let a detector fire, each with half a second of noise around it."""
    noise, _, _ = read_recordings(find_corpus(corpus_root(data)).noise)
    background = [split_noise(recording)[1] for recording in noise]
    generator = np.random.default_rng(0)
    fired: dict[str, Any] = {}
    with Detector(model) as detector:
        for word, recordings in unseen.items():
            detections = [
                stream(detector, surround(r, background[generator.integers(len(noise))], generator))
                for r in recordings
            ]
            taken = sum(map(bool, detections))
            fired[word] = {
                "clips": len(detections),
                "fired": taken,
                "share": taken / max(1, len(detections)),
            }
    clips, taken = (sum(row[key] for row in fired.values()) for key in ("clips", "fired"))
    fired["all"] = {"clips": clips, "fired": taken, "share": taken / max(1, clips)}
    print(f"  unseen words that fire {100 * fired['all']['share']:.2f} %")
    return fired


def _measure_one(
    model: Model, conditions: dict[str, EvaluationSet], unseen: dict[str, list[Int16Array]]
) -> dict[str, Any]:
    figures: dict[str, Any] = {"conditions": {}}
    for name, clips in conditions.items():
        found = Evaluation(
            model.manifest, model.artefact, clips, clip_posteriors(model, clips.audio)
        )
        every = found.figures()
        recall = every["recall"]
        worst = min(recall, key=recall.__getitem__)
        figures["conditions"][name] = {
            "clips": every["clips"],
            "accuracy": every["accuracy"],
            "accuracy_of_one_window": _accuracy_of_one_window(found, model),
            "accuracy_without_silence": _accuracy_without(found, SILENCE),
            "mean_recall": every["mean_recall"],
            "recall": recall,
            "worst": worst,
            "keyword_recall": _keyword_recall(found),
            "keyword_recall_at_threshold": every["keyword_recall_at_threshold"],
            "false_accepts_at_threshold": every["false_accepts_at_threshold"],
            "calibration_error": every["calibration_error"],
        }
        print(
            f"  {name:<14} accuracy {100 * every['accuracy']:.2f} %, "
            f"worst recall {worst} {100 * recall[worst]:.1f} %"
        )
    figures["unseen_words"] = {word: _taken(model, clips) for word, clips in unseen.items()}
    clips = sum(found["clips"] for found in figures["unseen_words"].values())
    taken = sum(found["taken"] for found in figures["unseen_words"].values())
    clean = figures["conditions"]["clean"]
    figures["unseen"] = {
        "clips": clips,
        "taken_for_a_keyword": taken / clips if clips else None,
        "recall_lost": clean["keyword_recall"] - clean["keyword_recall_at_threshold"],
    }
    print(
        f"  unseen words taken for a keyword {100 * taken / max(1, clips):.2f} %, "
        f"recall lost to the threshold {100 * figures['unseen']['recall_lost']:.2f} points"
    )
    return figures


def _taken(model: Model, recordings: list[Int16Array]) -> dict[str, Any]:
    """How many recordings have a window that reaches a keyword's threshold, and as which."""
    seconds, owners = held_out.seconds_of(recordings)
    keyword = _accepted(model.manifest, clip_posteriors(model, seconds))
    by_keyword: dict[str, int] = {}
    first: dict[int, str] = {}
    for owner, accepted in zip(owners.tolist(), keyword, strict=True):
        if accepted is not None:
            first.setdefault(owner, accepted)
    for accepted in first.values():
        by_keyword[accepted] = by_keyword.get(accepted, 0) + 1
    return {
        "clips": len(recordings),
        "taken": len(first),
        "share": len(first) / max(1, len(recordings)),
        "as": dict(sorted(by_keyword.items(), key=lambda item: -item[1])),
    }


def _accepted(manifest: Manifest, posteriors: NDArray[Any]) -> list[str | None]:
    best = posteriors.argmax(axis=1) if len(posteriors) else []
    names = [manifest.labels[index] for index in best]
    return [
        name if name not in (SILENCE, UNKNOWN) and score >= manifest.threshold(name) else None
        for name, score in zip(names, posteriors.max(axis=1, initial=0.0), strict=True)
    ]


def _accuracy_of_one_window(found: Evaluation, model: Model) -> float:
    """Accuracy of a clip's own window alone, as most publications measure."""
    chosen = clip_posteriors(model, found.clips.audio, (0,)).argmax(axis=1)
    return float((chosen == found.clips.targets).mean())


def _accuracy_without(found: Evaluation, label: str) -> float | None:
    """Accuracy over the clips of the other labels; a clip of it in noise is only more noise."""
    others = found.clips.targets != found.manifest.labels.index(label)
    right = found.predicted == found.clips.targets
    return float(right[others].mean()) if others.any() else None


def _keyword_recall(found: Evaluation) -> float:
    labels = found.manifest.labels
    keywords = [labels.index(keyword) for keyword in found.manifest.keywords]
    spoken = np.isin(found.clips.targets, keywords)
    return float((found.predicted == found.clips.targets)[spoken].mean())


if __name__ == "__main__":
    sys.exit(main())
