"""What each lesson of training is worth, and each way of isolation, without verifier.

`python -m benchmarks.studies.lessons RUN...` takes folders of `python -m kws.train`, and
checkpoints. The averaged weights of each are measured in the scenes and on the recordings of
benchmarks.product.rooms, with the times of the default model's decision and one threshold for all
words. Networks are compared where they have equally many false accepts on speech, and where the sum
of all logarithms is least. There the decisions are replayed, which gives what `Detector` gives; the
curves between are of kws.evaluation.calibrate, of which thresholds are chosen too, and of all
thresholds at once.

A row is named after the options that its checkpoint records; runs that differ in their seed alone
are one row. What the result's file has already of the same weights, at the same commit and on the
same recordings, is kept: give the command again when more runs have ended.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.product.rooms import CLIPS, LATE, Material, held_out, hits
from benchmarks.program import keep, program
from benchmarks.results import commit, rounded
from benchmarks.studies.ablation import CHECKPOINT, NOTHING, options_of
from benchmarks.studies.lesson_curves import picture
from export.build import STREAM_STEPS
from export.fold import fold
from export.stream_graph import write_stream
from export.tuning import WORDS, group_of
from kws.config import SAMPLE_RATE, SILENCE, UNKNOWN, DecisionConfig
from kws.decision import Deciders, Detection
from kws.errors import DataError, ModelError
from kws.evaluation.calibrate import peaks, spoken_thresholds
from kws.evaluation.replay import PosteriorRecorder, PosteriorTrack
from kws.evaluation.scenes import Spoken
from kws.evaluation.spotting import SLACK
from kws.keyword_streams import clip_end
from kws.model.load import Model, load_model
from kws.model.manifest import describe_artefact, find_manifest, read_manifest, write_manifest
from kws.train.checkpoint import load_network
from kws.train.network import Network, parameter_count

STREAM = "stream.onnx"
SPEECH = "speech/"  # what the names of its sources begin with
LOWEST, HIGHEST, STEPS = 0.2, 0.98, 54  # thresholds of the sweep, equally far apart in log-odds
LIMITS = (8, 15)  # false accepts on all speech, at which networks are compared

Curve = dict[str, dict[str, list[int]]]  # "missed" by condition, "counts" by group, each a list


@dataclass(frozen=True)
class Trained:
    """A checkpoint's averaged network as a model that streams, and what it says of itself."""

    name: str  # of the run's folder, or of the file
    digest: str
    model: Model
    options: Mapping[str, Any]  # flat, without seed and epochs
    seed: int | None
    epochs: int

    @property
    def row(self) -> str:
        """What a reader calls it, whatever its seed."""
        teachers = len(self.options["frozen_teachers"])
        told = [
            f"{self.epochs} epochs of {self.model.manifest.parameters / 1000:.0f} K weights",
            "talk" if self.options["sampler.talk"] else "no talk",
            "mining" if self.options["mine_every"] else "no mining",
        ]
        if self.options["mended"]:
            told.append("mended labels")
        if teachers:
            told.append("a teacher" if teachers == 1 else f"{teachers} teachers")
        if self.options["started from"] != NOTHING:
            told.append(f"from {self.options['started from']}")
        return ", ".join(told)

    def figures(self) -> dict[str, Any]:
        """The same, each alone."""
        return {
            "weights": self.model.manifest.parameters,
            "epochs": self.epochs,
            "talk": self.options["sampler.talk"],
            "mined_every_epochs": self.options["mine_every"],
            "teachers": len(self.options["frozen_teachers"]),
            "started_from": self.options["started from"],
        }


def read_run(path: Path, folder: Path) -> Trained:
    """Export a run's last checkpoint, or a checkpoint, as a stream in float into a new folder.

    Raises ModelError for what is no checkpoint, or of a network that does not stream.
    """
    file = path / CHECKPOINT if path.is_dir() else path
    network, features, labels, state = load_network(file)
    if not isinstance(network, Network):
        raise ModelError(f"{file} holds a network that does not stream; expected one that does")
    folder.mkdir()
    artefact = folder / STREAM
    artefact.write_bytes(write_stream(fold(network), STREAM_STEPS, {}))
    manifest = replace(
        read_manifest(find_manifest()),
        labels=labels,
        features=features,
        thresholds={},
        presets={},
        verifier=None,
        artefacts={STREAM: describe_artefact(artefact)},
        parameters=parameter_count(network),
    )
    write_manifest(manifest, folder / "model.json")
    options = options_of(state)
    return Trained(
        name=path.resolve().name,
        digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        model=load_model(folder),
        seed=options.pop("seed", None),
        options=options,
        epochs=state["epoch"],
    )


def ways(config: DecisionConfig) -> dict[str, DecisionConfig]:
    """The three ways of isolation: by how loud earlier speech was, by any earlier speech, none."""
    return {
        "by level": config,
        "any speech before": replace(config, faint_db=0.0, loud_db=0.0),
        "connected": config.connected(),
    }


def thresholds(steps: int = STEPS) -> list[float]:
    """One after the other, for all words."""
    odds = np.linspace(math.log(LOWEST / (1 - LOWEST)), math.log(HIGHEST / (1 - HIGHEST)), steps)
    return [round(float(each), 4) for each in 1 / (1 + np.exp(-odds))]


class Recorded:
    """One network's posteriors on the material, recorded once, to decide on often."""

    def __init__(self, model: Model, material: Material) -> None:
        recorder = PosteriorRecorder(model, verify=False)
        self._labels = model.manifest.labels
        self._keywords = model.manifest.keywords
        columns = [self._labels.index(word) for word in self._keywords]
        self._when = {name: when for name, (_, when) in material.scenes.items()}
        self._scenes = {
            name: recorder.record(name, [audio]) for name, (audio, _) in material.scenes.items()
        }
        self._quiet: dict[str, list[tuple[float, PosteriorTrack]]] = {}
        for source, recordings in material.quiet.items():
            for path, audio in recordings:
                track = recorder.record(str(path), [audio])
                highest = float(track.rows[:, columns].max(initial=0.0))
                self._quiet.setdefault(group_of(source), []).append((highest, track))

    def curve(self, config: DecisionConfig, values: Sequence[float]) -> Curve:
        """About how many are missed in each scene, and accepted of each group, at each threshold.

        Of other words the recordings that fire are counted.
        """
        missed, counts = {}, {}
        for name, track in self._scenes.items():
            spoken = [Spoken(word, at, end + LATE - SLACK) for word, at, end in self._when[name]]
            found = spoken_thresholds(track, spoken, self._labels, config)
            missed[name] = [sum(most < value for _, most in found) for value in values]
        for name, tracks in self._quiet.items():
            reached: list[float] = []
            for highest, track in tracks:
                if highest < values[0]:
                    continue
                moments = [peak.threshold for peak in peaks(track, self._labels, config)]
                reached += moments[:1] if name == WORDS else moments  # the highest is the first
            counts[name] = [sum(most >= value for most in reached) for value in values]
        return {"missed": missed, "counts": counts}

    def point(self, config: DecisionConfig, value: float) -> dict[str, Any]:
        """The same at one threshold as `Detector` decides."""
        own = dict.fromkeys(self._keywords, value)
        found = decide(list(self._scenes.values()), self._labels, own, config)
        missed = {
            name: hits(detections, self._when[name]).count(False)
            for name, detections in zip(self._scenes, found, strict=True)
        }
        counts = {name: self._events(name, config, value) for name in self._quiet}
        return {"threshold": value, "missed": missed, "counts": counts}

    def on_speech(self, config: DecisionConfig, value: float) -> int:
        """False accepts on all sources of speech together, as `Detector` decides."""
        speech = [name for name in self._quiet if name.startswith(SPEECH)]
        return sum(self._events(name, config, value) for name in speech)

    def _events(self, name: str, config: DecisionConfig, value: float) -> int:
        own = dict.fromkeys(self._keywords, value)
        # A score is a mean of posteriors: where none is as high, nothing is detected.
        events = [
            len(track.detections(self._labels, own, config))
            for highest, track in self._quiet[name]
            if highest > value - 1e-6
        ]
        return sum(map(bool, events)) if name == WORDS else sum(events)


def decide(
    tracks: Sequence[PosteriorTrack],
    labels: Sequence[str],
    own: Mapping[str, float],
    config: DecisionConfig,
) -> list[list[Detection]]:
    """`PosteriorTrack.detections` of each; where they are about equally long in half the time."""
    longest = max(len(track.rows) for track in tracks)

    def padded(values: NDArray[np.float32]) -> NDArray[np.float32]:
        rest = np.zeros((longest - len(values), *values.shape[1:]), values.dtype)
        return np.concatenate((values, rest))

    rows = np.stack([padded(track.rows) for track in tracks])
    levels = np.stack([padded(track.levels) for track in tracks])
    found: list[list[Detection]] = [[] for _ in tracks]
    deciders = Deciders(labels, own, config, len(tracks))
    for stream, detection in deciders.update(range(len(tracks)), rows, levels):
        found[stream].append(clip_end(detection, tracks[stream].seconds))
    return found


def material_figures(material: Material) -> dict[str, Any]:
    """How much there is: words of a scene, and hours and recordings of each group."""
    groups: dict[str, dict[str, Any]] = {}
    for source, recordings in material.quiet.items():
        group = groups.setdefault(group_of(source), {"hours": 0.0, "recordings": 0})
        group["hours"] += sum(len(audio) for _, audio in recordings) / SAMPLE_RATE / 3600.0
        group["recordings"] += len(recordings)
    words = {len(when) for _, when in material.scenes.values()}
    return {"words": max(words), "negatives": groups}


def at_most(
    limit: int, on_speech: Callable[[float], int], curve: Curve, values: Sequence[float]
) -> float | None:
    """The lowest threshold at which there are at most so many false accepts on speech.

    `on_speech` counts them, from where the curve has as many up or down. None where the highest
    threshold has more.
    """
    speech = [counts for name, counts in curve["counts"].items() if name.startswith(SPEECH)]
    about = [sum(each) for each in zip(*speech, strict=True)]
    place = next((i for i, count in enumerate(about) if count <= limit), len(values) - 1)
    while place < len(values) and on_speech(values[place]) > limit:
        place += 1
    while 0 < place < len(values) and on_speech(values[place - 1]) <= limit:
        place -= 1
    return values[place] if place < len(values) else None


def least_sum(curve: Curve, values: Sequence[float], material: Mapping[str, Any]) -> float:
    """The threshold at which the sum of all logarithms is least by the curve."""
    sums = [
        sum_of_logs({part: _at(place, curve[part]) for part in curve}, material)
        for place in range(len(values))
    ]
    return values[int(np.argmin(sums))]


def _at(place: int, counts: Mapping[str, Sequence[int]]) -> dict[str, int]:
    return {name: each[place] for name, each in counts.items()}


def sum_of_logs(point: Mapping[str, Any], material: Mapping[str, Any]) -> float:
    """Of the share missed in each condition, the false accepts per hour of each source of speech
    and of noise, and the share of other words that fire; half an event is added to each."""
    sum_ = sum(math.log((count + 0.5) / material["words"]) for count in point["missed"].values())
    for name, count in point["counts"].items():
        group = material["negatives"][name]
        sum_ += math.log((count + 0.5) / group["recordings" if name == WORDS else "hours"])
    return sum_


def measure(
    trained: Trained, material: Material, found: Mapping[str, Any], config: DecisionConfig
) -> dict[str, Any]:
    """One run: for each way of isolation its curve, and the points at which rows are compared."""
    begin = time.process_time()
    recorded = Recorded(trained.model, material)
    values: Sequence[float] = found["thresholds"]
    figures = {}
    for way, each in ways(config).items():
        curve = recorded.curve(each, values)

        @functools.cache
        def point(value: float, config: DecisionConfig = each) -> dict[str, Any]:
            made = recorded.point(config, value)
            return {"sum": sum_of_logs(made, found["material"]), **made}

        on_speech = functools.cache(functools.partial(recorded.on_speech, each))
        points = {}
        for limit in LIMITS:
            value = at_most(limit, on_speech, curve, values)
            points[str(limit)] = None if value is None else point(value)
        best = point(least_sum(curve, values, found["material"]))
        figures[way] = {**curve, "at_most": points, "least_sum": best}
        taken = time.process_time() - begin
        print(f"{trained.name}, {way}: sum {best['sum']:.2f} ({taken:.0f} s)", flush=True)
    return figures


def compare(paths: Sequence[Path], data: Path, clips: int, before: Path) -> dict[str, Any]:
    """Every run's figures as one JSON-ready object; what `before` holds already is kept.

    Raises KwsError where runs do not compare, or one is none.
    """
    config = read_manifest(find_manifest()).decision
    with tempfile.TemporaryDirectory() as scratch:
        runs = [read_run(path, Path(scratch) / str(i)) for i, path in enumerate(paths)]
        for number, run in enumerate(runs):
            if run.digest in [each.digest for each in runs[:number]]:
                raise DataError(f"{run.name} is given twice")
            if run.model.manifest.labels != runs[0].model.manifest.labels:
                raise DataError(f"{run.name} and {runs[0].name} have other labels")
        keywords = [
            label for label in runs[0].model.manifest.labels if label not in (SILENCE, UNKNOWN)
        ]
        material = held_out(data, keywords, clips)
        found: dict[str, Any] = {
            "material": material_figures(material),
            "decision": asdict(config),
            "thresholds": thresholds(),
        }
        known = _known(before, found)
        rows: dict[str, dict[str, Any]] = {}
        options: dict[str, Any] = {}
        for run in runs:
            name = run.row
            if options.setdefault(name, run.options) != run.options:
                name = f"{name} ({run.name})"  # what else differs has no name here
            measured = known.get(run.digest) or measure(run, material, found, config)
            row = rows.setdefault(name, {**run.figures(), "runs": []})
            told = {"run": run.name, "seed": run.seed, "sha256": run.digest}
            row["runs"].append({**told, "ways": measured})
    return {**found, "rows": rows}


def _known(path: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of runs that a result has, by digest, where they would be the same again."""
    now = commit()
    if not path.exists() or now == "unknown" or now.endswith("+"):
        return {}
    result = json.loads(path.read_text(encoding="utf-8"))
    same = all(result["figures"][part] == rounded(value) for part, value in found.items())
    if result["commit"] != now or not same:
        return {}
    return {
        run["sha256"]: run["ways"]
        for row in result["figures"]["rows"].values()
        for run in row["runs"]
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("studies.lessons", __doc__)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    parser.add_argument("--clips", type=int, default=CLIPS, help="of each word")
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    figures = compare(options.runs, options.data, options.clips, options.out)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture(figures).savefig(options.out.with_suffix(".png"), dpi=110)
    return figures


if __name__ == "__main__":
    sys.exit(main())
