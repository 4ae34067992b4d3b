"""`python -m export.operating_points --data DIR`: calibrate a model's presets, into its manifest.

Isolation, smoothing and thresholds are chosen on training-side material only, see export/tuning.py;
`python -m benchmarks.product.rooms` reports on what is held out. With a verifier there are presets
for its posteriors beside those for the first network alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.curve_plot import require_matplotlib, write_curves
from export.model_card import write_model_card
from export.tuning import Recorded, candidates, curve_of, group_of, record, tune
from kws.config import DecisionConfig
from kws.errors import KwsError, ModelError
from kws.evaluation.replay import PosteriorTrack
from kws.evaluation.streameval import Evaluator
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

CANDIDATE = 0.25  # posterior above which the verifier runs
VERIFYING = ("window.int8.onnx", "window.onnx")  # artefacts that can verify, the best first


def calibrate(model: Model, folder: Path, seed: int = 0) -> tuple[Manifest, dict[str, Any]]:
    """The model's manifest with new settings, thresholds and presets, and the curves behind them.

    Isolation and smoothing are those that suit the posteriors that a detector decides on: the
    verifier's, where there is one. Raises DataError where the folder holds no corpus.
    """
    manifest = model.manifest
    base = replace(DecisionConfig(), hop_ms=manifest.decision.hop_ms)
    configs = candidates(base)
    measurements = dict(manifest.measurements)
    curves: dict[str, Any] = {}
    recorded = record(model, folder, seed)
    for verify in (True, False) if manifest.verifier else (False,):
        if not verify:
            recorded = recorded.without_verifier()
        found = {MODES[0]: tune(recorded, manifest.labels, configs)}
        configs = [found[MODES[0]].config]
        found[MODES[1]] = curve_of(recorded, manifest.labels, configs[0].connected())
        presets: dict[str, Any] = {}
        measured: dict[str, Any] = {"hours": round(recorded.hours, 2)}
        for mode, curve in found.items():
            name = f"{mode}, verified" if verify else mode
            curves[name] = curve.figures()
            presets[mode] = {
                sensitivity: curve.thresholds(place)
                for sensitivity, place in curve.presets().items()
            }
            measured[mode] = {
                sensitivity: _measure(
                    OperatingPoint(mode, sensitivity, thresholds, curve.config, verify),
                    model,
                    recorded,
                )
                for sensitivity, thresholds in presets[mode].items()
            }
        thresholds = presets[MODES[0]]["medium"]
        if verify and manifest.verifier:
            verifier = replace(manifest.verifier, thresholds=thresholds, presets=presets)
            manifest = replace(manifest, verifier=verifier)
            measurements["verified_operating_points"] = measured
        else:
            manifest = replace(manifest, thresholds=thresholds, presets=presets)
            measurements["operating_points"] = measured
    if not manifest.verifier:
        measurements.pop("verified_operating_points", None)
    return replace(manifest, decision=configs[0], measurements=measurements), curves


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


def _measure(point: OperatingPoint, model: Model, recorded: Recorded) -> dict[str, Any]:
    """What a detector would do: false accepts of each source, and misses of each scene."""
    evaluator = Evaluator(model, point)
    groups: dict[str, list[PosteriorTrack]] = {}
    for name, tracks in recorded.quiet.items():
        groups.setdefault(group_of(name), []).extend(tracks)
    counts = {
        name: {
            "events": sum(len(evaluator.detections(each)) for each in tracks),
            "hours": round(sum(each.seconds for each in tracks) / 3600.0, 3),
        }
        for name, tracks in groups.items()
    }
    missed = {
        name: evaluator.outcome(each).figures()["miss_rate"]
        for name, each in recorded.scenes.items()
    }
    total = sum(each["events"] for each in counts.values())
    return {
        "false_accepts_per_hour": round(total / recorded.hours, 3),
        "false_accepts": counts,
        "miss_rate": {name: round(rate, 4) for name, rate in missed.items()},
    }


def give_to_verifier(manifest: Manifest, folder: Path) -> None:
    """Write the presets for a verifier's posteriors into its own manifest, if it has one there.

    They are the same posteriors, whether it runs on candidates alone or all the time.
    """
    if manifest.verifier is None:
        return
    for path in sorted(folder.glob("*.json")):
        own = read_manifest(path)
        if manifest.verifier.artefact in own.artefacts.values():
            measurements = dict(own.measurements)
            measurements.pop("operating_points", None)
            decided = replace(
                own,
                decision=replace(manifest.decision, hop_ms=own.decision.hop_ms),
                thresholds=manifest.verifier.thresholds,
                presets=manifest.verifier.presets,
                measurements=measurements,
            )
            write_manifest(decided, path)


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
    parser.add_argument(
        "--curves",
        metavar="FILE",
        type=Path,
        help="picture of the curves by which the thresholds are chosen, with the figures as JSON "
        "beside it",
    )
    options = parser.parse_args(arguments)
    try:
        if options.curves:
            require_matplotlib()
        model = load_model(options.model)
        if options.verifier:
            model = add_verifier(model, options.verifier)
            write_manifest(model.manifest, model.path)  # the worker processes read it from there
        manifest, curves = calibrate(model, options.data)
        write_manifest(manifest, model.path)
        give_to_verifier(manifest, model.path.parent)
        write_model_card(model.path.parent)
        if options.curves:
            write_curves(curves, manifest.name, options.curves)
            text = json.dumps(curves, indent=1)
            options.curves.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    except KwsError as error:
        print(f"operating points: error: {error}", file=sys.stderr)
        return 1
    for name in ("operating_points", "verified_operating_points"):
        for mode, points in manifest.measurements.get(name, {}).items():
            print(name.replace("_", " "), mode, points)
    return 0


if __name__ == "__main__":
    sys.exit(main())
