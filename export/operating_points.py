"""`python -m export.operating_points --data DIR`: calibrate a model's presets, into its manifest.

The thresholds are chosen on training-side material only: training speakers, and the sounds without
commands that training may use; benchmarks/streaming.py reports on what is held out. The margins
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
from kws.errors import KwsError
from kws.evaluation.calibrate import choose_thresholds, peaks, spoken_thresholds
from kws.evaluation.replay import Heard, Hearing, hear_files
from kws.evaluation.scenes import Scene
from kws.evaluation.streameval import OperatingPoint, build_scenes, choose_clips
from kws.manifest import MODES, write_manifest
from kws.model import Model, load_model
from kws.recordings.data import (
    corpus_root,
    find_corpus,
    find_recordings,
    read_recordings,
    split_noise,
)
from kws.train.materials import HELD_OUT_NOISE, HELD_OUT_PHRASES

# False accepts per hour on this material, and the margin for what is not like it, in log-odds.
# The network has heard the material in training: sounds that it did not hear score higher.
TARGETS = {"low": (2.0, 1.0), "medium": (2.0, 0.5), "high": (8.0, 0.0)}
SCENES = ("silence", "noise 20 dB", "noise 10 dB", "noise 5 dB")
CLIPS = 40  # of each keyword


def calibrate(model: Model, folder: Path, seed: int = 0) -> dict[str, Any]:
    """The manifest's new `presets` and what was measured at each.

    Raises DataError where the folder holds no corpus.
    """
    manifest = model.manifest
    corpus = find_corpus(corpus_root(folder))
    quiet_paths = [
        path
        for kind in ("speech/librispeech", "other_words", "noise")
        if (folder / kind).is_dir()
        for path in find_recordings(folder / kind)
        if path.parent.name not in (*HELD_OUT_NOISE, *HELD_OUT_PHRASES)
    ]
    quiet, _ = hear_files([*quiet_paths, *corpus.noise], model)
    noise = [split_noise(recording)[0] for recording in read_recordings(corpus.noise)[0]]
    noise += read_recordings([p for p in quiet_paths if p.parent.parent.name == "noise"])[0]
    clips = choose_clips(corpus, "training", manifest.keywords, CLIPS, seed)
    scenes = build_scenes(clips, manifest.keywords, noise, [], seed)
    hearing = Hearing(model)
    heard = {name: (scenes[name], hearing.hear(name, [scenes[name].audio])) for name in SCENES}
    hours = sum(each.seconds for each in quiet) / 3600.0

    presets: dict[str, Any] = {}
    measured: dict[str, Any] = {"hours": round(hours, 2)}
    for mode in MODES:
        config = OperatingPoint.of(manifest, isolated=mode == MODES[0]).config
        false = [peak for each in quiet for peak in peaks(each, manifest.labels, config)]
        true = [
            found
            for scene, rows in heard.values()
            for found in spoken_thresholds(rows, scene.spoken, manifest.labels, config)
        ]
        presets[mode], measured[mode] = {}, {}
        for name, (target, margin) in TARGETS.items():
            thresholds = choose_thresholds(false, hours, true, target, margin)
            point = OperatingPoint(mode, name, thresholds, config)
            presets[mode][name] = thresholds
            measured[mode][name] = _measure(point, model, quiet, heard, hours)
    return {"presets": presets, "measured": measured}


def _measure(
    point: OperatingPoint,
    model: Model,
    quiet: Sequence[Heard],
    heard: dict[str, tuple[Scene, Heard]],
    hours: float,
) -> dict[str, Any]:
    from kws.evaluation.streameval import Evaluator

    evaluator = Evaluator(model, point)
    count = sum(len(evaluator.detections(each)) for each in quiet)
    missed = {name: evaluator.outcome(each).figures()["miss_rate"] for name, each in heard.items()}
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
    options = parser.parse_args(arguments)
    try:
        model = load_model(options.model)
        found = calibrate(model, options.data)
        manifest = replace(
            model.manifest,
            presets=found["presets"],
            thresholds=found["presets"][MODES[0]]["medium"],
            measurements={**model.manifest.measurements, "operating_points": found["measured"]},
        )
        write_manifest(manifest, model.path)
        write_model_card(model.path.parent)
    except KwsError as error:
        print(f"operating points: error: {error}", file=sys.stderr)
        return 1
    for mode, points in found["measured"].items():
        print(mode, points)
    return 0


if __name__ == "__main__":
    sys.exit(main())
