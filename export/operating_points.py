"""`python -m export.operating_points --data DIR`: calibrate a model's presets, into its manifest.

The thresholds are chosen on training-side material only: training speakers, and the sounds without
commands that training may use; benchmarks/streaming.py reports on what is held out. With a verifier
there are presets for its posteriors beside those for the first network alone. The margins
below, and the settings of DecisionConfig and VadConfig, were chosen with the held-out material in
view, so that its figures are those of a development set, not of a test.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.model_card import write_model_card
from kws.errors import KwsError, ModelError
from kws.evaluation.calibrate import choose_thresholds, peaks, spoken_thresholds
from kws.evaluation.replay import PosteriorRecorder, PosteriorTrack, record_files
from kws.evaluation.scenes import Scene
from kws.evaluation.streameval import Evaluator, build_scenes, choose_clips
from kws.model.load import Model, load_model
from kws.model.manifest import (
    MODES,
    Manifest,
    VerifierEntry,
    find_manifest,
    read_manifest,
    write_manifest,
)
from kws.operating_point import OperatingPoint
from kws.recordings.data import (
    corpus_root,
    find_corpus,
    read_recordings,
    split_noise,
)
from kws.recordings.negatives import negatives

# False accepts per hour on this material, and the margin for what is not like it, in log-odds.
# The network was trained on the material: sounds that are new to it score higher. Two
# networks hardly err on the same ones, so that together they need less of a margin. Rates and
# margins were chosen with the streams of benchmarks.product.streaming and the unseen words of
# benchmarks.product.accuracy in view: what those report flatters them a little.
TARGETS = {"low": (2.0, 1.25), "medium": (2.0, 0.25), "high": (8.0, 0.0)}
VERIFIED_TARGETS = {"low": (2.0, 0.75), "medium": (2.5, 0.1), "high": (8.0, 0.0)}
SCENES = ("silence", "noise 20 dB", "noise 10 dB", "noise 5 dB")
CLIPS = 40  # of each keyword
CANDIDATE = 0.25  # posterior above which the verifier runs
VERIFYING = ("window.int8.onnx", "window.onnx")  # artefacts that can verify, the best first


def calibrate(model: Model, folder: Path, seed: int = 0) -> Manifest:
    """The model's manifest with new thresholds, presets, and what was measured at each.

    Raises DataError where the folder holds no corpus.
    """
    presets, measured = _calibrate(model, folder, seed, verify=False)
    manifest = replace(model.manifest, thresholds=presets[MODES[0]]["medium"], presets=presets)
    measurements = {**manifest.measurements, "operating_points": measured}
    measurements.pop("verified_operating_points", None)
    if manifest.verifier:
        presets, measured = _calibrate(model, folder, seed, verify=True)
        thresholds = presets[MODES[0]]["medium"]
        verifier = replace(manifest.verifier, thresholds=thresholds, presets=presets)
        manifest = replace(manifest, verifier=verifier)
        measurements["verified_operating_points"] = measured
    return replace(manifest, measurements=measurements)


def add_verifier(model: Model, name: str) -> Model:
    """The model with another one, which lies in the same folder, as its verifier.

    Raises ModelError where the other model does not fit.
    """
    path = find_manifest(name)
    manifest = read_manifest(path)
    key = next((key for key in VERIFYING if key in manifest.artefacts), None)
    alike = all(
        getattr(manifest, part) == getattr(model.manifest, part) for part in ("labels", "features")
    )
    if key is None or not alike or path.parent.resolve() != model.path.parent.resolve():
        raise ModelError(
            f"{path} cannot verify for {model.path}: expected a model in the same folder with the "
            f"same labels and features and one of {', '.join(VERIFYING)}"
        )
    entry = VerifierEntry(manifest.artefacts[key], CANDIDATE, {}, {})
    return replace(model, manifest=replace(model.manifest, verifier=entry))


def _calibrate(
    model: Model, folder: Path, seed: int, verify: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    manifest = model.manifest
    corpus = find_corpus(corpus_root(folder))
    without = negatives(folder, held_out=False, keywords=manifest.keywords)
    quiet_paths = [path for paths in without.values() for path in paths]
    quiet, _ = record_files([*quiet_paths, *corpus.noise], model, verify=verify)
    noise = [split_noise(recording)[0] for recording in read_recordings(corpus.noise)[0]]
    noise += read_recordings([p for p in quiet_paths if p.parent.parent.name == "noise"])[0]
    clips = choose_clips(corpus, "training", manifest.keywords, CLIPS, seed)
    scenes = build_scenes(clips, manifest.keywords, noise, [], seed)
    recorder = PosteriorRecorder(model, verify=verify)
    recorded = {
        name: (scenes[name], recorder.record(name, [scenes[name].audio])) for name in SCENES
    }
    hours = sum(each.seconds for each in quiet) / 3600.0

    presets: dict[str, Any] = {}
    measured: dict[str, Any] = {"hours": round(hours, 2)}
    for mode in MODES:
        config = manifest.decision if mode == MODES[0] else manifest.decision.connected()
        false = [peak for each in quiet for peak in peaks(each, manifest.labels, config)]
        true = [
            found
            for scene, rows in recorded.values()
            for found in spoken_thresholds(rows, scene.spoken, manifest.labels, config)
        ]
        presets[mode], measured[mode] = {}, {}
        for name, (target, margin) in (VERIFIED_TARGETS if verify else TARGETS).items():
            thresholds = choose_thresholds(false, hours, true, target, margin)
            point = OperatingPoint(mode, name, thresholds, config, verify)
            presets[mode][name] = thresholds
            measured[mode][name] = _measure(point, model, quiet, recorded, hours)
    return presets, measured


def _measure(
    point: OperatingPoint,
    model: Model,
    quiet: Sequence[PosteriorTrack],
    recorded: dict[str, tuple[Scene, PosteriorTrack]],
    hours: float,
) -> dict[str, Any]:
    evaluator = Evaluator(model, point)
    count = sum(len(evaluator.detections(each)) for each in quiet)
    missed = {
        name: evaluator.outcome(each).figures()["miss_rate"] for name, each in recorded.items()
    }
    return {
        "false_accepts_per_hour": round(count / hours, 3),
        "miss_rate": {name: round(rate, 4) for name, rate in missed.items()},
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m export.operating_points", description=__doc__)
    data = os.environ.get("KWS_DATA")
    parser.add_argument("--data", type=Path, default=data, required=not data, metavar="DIR")
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument(
        "--verifier",
        metavar="MODEL",
        help="a larger model in the same folder that confirms this one's candidates "
        "(default: the one that the manifest names)",
    )
    options = parser.parse_args(arguments)
    try:
        model = load_model(options.model)
        if options.verifier:
            model = add_verifier(model, options.verifier)
            write_manifest(model.manifest, model.path)  # the worker processes read it from there
        manifest = calibrate(model, options.data)
        write_manifest(manifest, model.path)
        write_model_card(model.path.parent)
    except KwsError as error:
        print(f"operating points: error: {error}", file=sys.stderr)
        return 1
    for name in ("operating_points", "verified_operating_points"):
        for mode, points in manifest.measurements.get(name, {}).items():
            print(name.replace("_", " "), mode, points)
    return 0


if __name__ == "__main__":
    sys.exit(main())
