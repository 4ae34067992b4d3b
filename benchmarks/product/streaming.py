"""`python -m benchmarks.product.streaming`: the model on streams that training never saw.

False accepts, misses and delay of every preset of both modes, the DET curve of the default, what
the gate costs in misses, and the memory of a process that listens for an hour. None of it is a
time that a busy machine would change. Speakers of the validation split, and the phrases,
conversation and noises that training holds out: a development set, on which the decision's and the
gate's settings were chosen. The thresholds were not chosen on it, but their rate and margin were.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import keep, program
from kws.config import SAMPLE_RATE
from kws.evaluation.replay import PosteriorTrack
from kws.evaluation.scenes import Scene, build_scene, word_extent
from kws.evaluation.streameval import (
    Evaluator,
    build_scenes,
    choose_clips,
    det_curve,
)
from kws.evaluation.streamplots import write_plots
from kws.model.load import Model, load_model
from kws.model.manifest import MODES, SENSITIVITIES
from kws.operating_point import OperatingPoint
from kws.recordings.data import (
    Int16Array,
    corpus_root,
    find_corpus,
    read_recordings,
    split_noise,
)
from kws.recordings.negatives import negatives

CONVERSATION = "speech/orders"
GATED = ("noise 20 dB", "noise 10 dB", "noise 5 dB")
CLIPS = 60  # at most, of each keyword

# What a process that listens needs, at the start and after an hour of audio at full speed.
LISTEN = """
import json, sys
import numpy as np
import webrtcvad
from kws import Detector
from kws.model.runtimes import import_onnxruntime
import_onnxruntime()
minute = np.load(sys.argv[1])
def megabytes(entry="VmRSS"):
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(entry))
    return int(line.split()[1]) / 1024
def listen(minutes):
    for _ in range(minutes):
        for start in range(0, len(minute), 320):
            detector.process(minute[start : start + 320])
bare = megabytes()
detector = Detector(sys.argv[2] or None)
model = megabytes() - bare
listen(1)
first = megabytes()
listen(59)
last, peak = megabytes(), megabytes("VmHWM")
names = ("model_mb", "after_a_minute_mb", "after_an_hour_mb", "peak_mb")
print(json.dumps(dict(zip(names, (model, first, last, peak)))))
"""


def held_out(folder: Path) -> dict[str, list[Path]]:
    """The recordings without commands that training never sees, by source."""
    return negatives(folder, held_out=True)


def scenes_of(model: Model, folder: Path, clips: int) -> dict[str, Scene]:
    """Validation clips over held-out noise and conversation."""
    corpus = find_corpus(corpus_root(folder))
    keywords = model.manifest.keywords
    sources = held_out(folder)
    paths = [path for name, found in sources.items() if name.startswith("noise") for path in found]
    noise = read_recordings(paths)[0]
    noise += [split_noise(recording)[1] for recording in read_recordings(corpus.noise)[0]]
    conversation = read_recordings(sources[CONVERSATION])[0]
    chosen = choose_clips(corpus, "validation", keywords, clips, seed=0)
    return build_scenes(chosen, keywords, noise, conversation, seed=0)


def quality(
    model: Model, scenes: Mapping[str, Scene], folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of every operating point, and those of the default with its curve."""
    default = Evaluator(model, OperatingPoint.of(model))
    recorded, quiet = _record(default, scenes, folder)
    everything = _with_total(quiet)
    points = {}
    for mode in MODES:
        for sensitivity in SENSITIVITIES:
            point = OperatingPoint.of(model, sensitivity=sensitivity, isolated=mode == MODES[0])
            points[f"{mode} {sensitivity}"] = _point(Evaluator(model, point), everything, recorded)
    if default.point.verified:
        alone = Evaluator(model, OperatingPoint.of(model, verify=False))
        recorded_alone, quiet_alone = _record(alone, scenes, folder)
        points["isolated medium, without verifier"] = _point(
            alone, _with_total(quiet_alone), recorded_alone
        )
    shown = default.settings() | {
        "negatives": {name: default.false_accepts(each) for name, each in everything.items()},
        "scenes": {name: default.outcome(each).figures() for name, each in recorded.items()},
        "det": list(det_curve(default, recorded, quiet)),
    }
    return points, shown


def _record(
    evaluator: Evaluator, scenes: Mapping[str, Scene], folder: Path
) -> tuple[dict[str, tuple[Scene, PosteriorTrack]], dict[str, list[PosteriorTrack]]]:
    """The scenes, and the recordings without commands by source."""
    recorded = {name: evaluator.record(scene) for name, scene in scenes.items()}
    quiet = {name: evaluator.record_files(paths)[0] for name, paths in held_out(folder).items()}
    return recorded, quiet


def _with_total(quiet: Mapping[str, list[PosteriorTrack]]) -> dict[str, list[PosteriorTrack]]:
    """And conversation and noise together: what false accepts per hour are told of."""
    kept = [each for name, found in quiet.items() if not name.startswith("other") for each in found]
    return {**quiet, "conversation and noise": kept}


def _point(
    evaluator: Evaluator,
    quiet: Mapping[str, Sequence[PosteriorTrack]],
    recorded: Mapping[str, tuple[Scene, PosteriorTrack]],
) -> dict[str, Any]:
    figures: dict[str, Any] = {"thresholds": dict(evaluator.point.thresholds)}
    for name, recordings in quiet.items():
        found = evaluator.false_accepts(recordings)
        if name.startswith("other"):
            figures[f"{name}, clips"] = found["recordings"]
            figures[f"{name}, clips that fire"] = found["recordings_with_false_accepts"]
        else:
            figures[f"{name}, false accepts"] = found["false_accepts"]
            figures[f"{name}, hours"] = found["hours"]
    for name, each in recorded.items():
        found = evaluator.outcome(each).figures()
        figures[f"{name}, spoken"] = found["spoken"]
        figures[f"{name}, missed"] = found["miss_rate"]
        figures[f"{name}, word error rate"] = found["word_error_rate"]
    delays = evaluator.outcome(recorded["noise 10 dB"]).figures()
    figures["delay at 10 dB, median, s"] = delays["delay_median_s"]
    figures["delay at 10 dB, 95 %, s"] = delays["delay_95_s"]
    return figures


def in_a_row(model: Model, folder: Path, clips: int) -> dict[str, Any]:
    """Words that follow each other at a distance, cut out of their clips."""
    keywords = model.manifest.keywords
    corpus = find_corpus(corpus_root(folder))
    chosen = choose_clips(corpus, "validation", keywords, clips, seed=0)
    cut = []
    for word, clip in chosen:
        if word in keywords:
            start, end = word_extent(clip)
            cut.append((word, clip[start:end]))
    evaluator = Evaluator(model, OperatingPoint.of(model))
    figures: dict[str, Any] = {}
    for pause in (0.6, 1.0, 2.0):
        generator = np.random.default_rng(0)
        scene = build_scene(cut, keywords, generator, pause=(pause, pause))
        found = evaluator.outcome(evaluator.record(scene)).figures()
        kept = ("spoken", "hits", "substitutions", "deletions", "insertions", "miss_rate")
        figures[f"{pause:g} s between words"] = {key: found[key] for key in kept}
    return figures


def gate(
    model: Model, scenes: Mapping[str, Scene], with_gate: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Misses with the gate, which are known of each scene, and without."""
    ungated = Evaluator(model, OperatingPoint.of(model), vad=False)
    missed: dict[str, Any] = {}
    for name in GATED:
        gated = with_gate[name]["miss_rate"]
        without = ungated.outcome(ungated.record(scenes[name])).figures()["miss_rate"]
        missed[name] = {"with": gated, "without": without, "difference": gated - without}
    return missed


def memory(model: str | None, speech: Int16Array) -> dict[str, Any]:
    """Resident memory of a process that listens, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        minute = Path(folder) / "minute.npy"
        np.save(minute, np.resize(speech, 60 * SAMPLE_RATE))
        printed = subprocess.run(
            [sys.executable, "-c", LISTEN, str(minute), model or ""],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.streaming", __doc__)
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument("--clips", type=int, default=CLIPS, help="at most, of each keyword")
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    model = load_model(options.model)
    scenes = scenes_of(model, options.data, options.clips)
    points, default = quality(model, scenes, options.data)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_plots(default, options.out.parent, f"{options.out.stem}_")
    figures = {
        "model": model.manifest.name,
        "operating_points": points,
        "words_in_a_row": in_a_row(model, options.data, options.clips),
        "gate_missed": gate(model, scenes, default["scenes"]),
    }
    if sys.platform == "linux":
        speech = np.concatenate(read_recordings(held_out(options.data)[CONVERSATION][:6])[0])
        figures["memory"] = memory(options.model, speech)
    print(json.dumps(figures, indent=1))
    return figures


if __name__ == "__main__":
    sys.exit(main())
