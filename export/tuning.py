"""Which times, isolation and thresholds suit a network, by what training-side material shows.

False accepts on recordings without commands, and misses of commands in silence, in noise and over
talk, are each held against a target. Of all candidates, that one is taken whose figures exceed
their targets least, as a sum of logarithms; of those that exceed none, the one with the least sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import DecisionConfig
from kws.evaluation.calibrate import keyword_offsets, log_odds, peaks, spoken_thresholds
from kws.evaluation.replay import PosteriorRecorder, PosteriorTrack, record_files
from kws.evaluation.scenes import Scene
from kws.evaluation.streameval import build_scenes, choose_clips
from kws.model.load import Model
from kws.recordings.data import corpus_root, find_corpus, read_recordings, split_noise
from kws.recordings.negatives import negatives

FloatArray = NDArray[np.float64]

MISSED = {  # share of the commands of a scene
    "silence": 0.04,
    "noise 20 dB": 0.05,
    "noise 10 dB": 0.07,
    "talk 20 dB": 0.07,
    "talk 10 dB": 0.18,
    "talk 5 dB": 0.35,
}
FALSE_ACCEPTS = {"speech/librispeech": 2.0, "noise": 3.0, "speech": 6.0}  # per hour
WORDS, WORDS_THAT_FIRE = "other_words", 0.03  # share of its recordings
FAMILIAR = 6.0  # what the network was trained on fires so much less often than what is new to it
BEYOND = 0.1  # how much a figure that keeps its target weighs, against one that does not
STRICTER, APART = 3.0, 0.3  # "low" has a third of the false accepts of "medium"; least log-odds

ISOLATIONS = (0.3, 0.5, 0.7, 0.9, 1.0)
SMOOTHING_MS = (360, 440)  # longer ones would detect later
OFFSETS = np.round(np.arange(-3.0, 5.01, 0.05), 2)  # log-odds
CLIPS = 40  # of each keyword
MOST_HOURS = 0.25  # of each source of other words, evenly taken


@dataclass(frozen=True)
class Recorded:
    """Training-side material as a network sees it."""

    scenes: Mapping[str, tuple[Scene, PosteriorTrack]]
    quiet: Mapping[str, Sequence[PosteriorTrack]]  # recordings without commands, by source

    def without_verifier(self) -> Recorded:
        """The same as the first network alone sees it."""
        return Recorded(
            {
                name: (scene, track.without_verifier())
                for name, (scene, track) in self.scenes.items()
            },
            {name: [t.without_verifier() for t in tracks] for name, tracks in self.quiet.items()},
        )

    @property
    def hours(self) -> float:
        """Of recordings without commands."""
        return sum(each.seconds for tracks in self.quiet.values() for each in tracks) / 3600.0


@dataclass(frozen=True)
class Curve:
    """Figures at every offset of OFFSETS, in log-odds, from thresholds of one shape."""

    config: DecisionConfig
    shape: Mapping[str, float]  # log-odds of each keyword's threshold at offset 0
    missed: Mapping[str, FloatArray]  # share of each scene's commands, (offsets,)
    false_accepts: Mapping[str, FloatArray]  # of each source, (offsets,)
    limits: Mapping[str, float]  # false accepts of each source that its target allows
    hours: float  # of speech and noise

    @property
    def regret(self) -> FloatArray:
        """By how much the targets are exceeded, (offsets,); see the top of this module."""
        ratios = [share / MISSED[name] for name, share in self.missed.items()]
        ratios += [
            (FAMILIAR * count + 0.5) / (limit + 0.5)
            for name, count in self.false_accepts.items()
            if (limit := self.limits[name])
        ]
        logs = np.log(np.maximum(np.stack(ratios), 1e-3))
        regret: FloatArray = (np.maximum(logs, 0.0) + BEYOND * logs).sum(axis=0)
        return regret

    def thresholds(self, place: int) -> dict[str, float]:
        """Each keyword's threshold at OFFSETS[place]."""
        return {
            word: round(float(1.0 / (1.0 + np.exp(-odds - OFFSETS[place]))), 4)
            for word, odds in self.shape.items()
        }

    def presets(self) -> dict[str, int]:
        """The places of the three sensitivities in OFFSETS."""
        medium = int(self.regret.argmin())
        total = np.sum(list(self.false_accepts.values()), axis=0)
        apart = int(np.searchsorted(OFFSETS, OFFSETS[0] + APART))
        few = np.flatnonzero(total <= total[medium] / STRICTER)
        low = max(medium + apart, int(few[0]) if len(few) else len(OFFSETS) - 1)
        many = np.flatnonzero(total <= max(1.0, total[medium]) * STRICTER)
        high = min(medium - apart, int(many[0]))
        return {"low": min(low, len(OFFSETS) - 1), "medium": medium, "high": max(high, 0)}

    def figures(self) -> dict[str, Any]:
        """For JSON: the curve, at every fourth offset, and the presets on it."""
        presets = {name: self._at(place) for name, place in self.presets().items()}
        points = [self._at(place) for place in range(0, len(OFFSETS), 4)]
        return {"config": asdict(self.config), "presets": presets, "points": points}

    def _at(self, place: int) -> dict[str, Any]:
        counts = {name: float(each[place]) for name, each in self.false_accepts.items()}
        total = sum(count for name, count in counts.items() if name != WORDS)
        return {
            "offset": float(OFFSETS[place]),
            "false_accepts": counts,
            "false_accepts_per_hour": total / self.hours,
            "miss_rate": {name: float(each[place]) for name, each in self.missed.items()},
        }


def record(model: Model, folder: Path, seed: int = 0) -> Recorded:
    """Recordings without commands and scenes of training speakers' commands, none held out.

    Sentences without a transcript are talk behind commands and nothing else: what is detected in
    them may well be a command.

    Raises DataError where the folder holds no corpus.
    """
    keywords = model.manifest.keywords
    corpus = find_corpus(corpus_root(folder))
    sources = negatives(folder, held_out=False, keywords=keywords)
    counted = negatives(folder, held_out=False, keywords=keywords, transcribed=True)
    counted = {
        name: _some(paths) if name.startswith(WORDS) else paths for name, paths in counted.items()
    }
    source_of = {str(path): name for name, paths in counted.items() for path in paths}
    quiet: dict[str, list[PosteriorTrack]] = {name: [] for name in counted}
    for track in record_files([Path(path) for path in source_of], model)[0]:
        quiet[source_of[track.name]].append(track)
    recorder = PosteriorRecorder(model)
    hum = [split_noise(recording)[0] for recording in read_recordings(corpus.noise)[0]]
    quiet[f"noise/{corpus.root.name}"] = [recorder.record("noise", [audio]) for audio in hum]
    beds: dict[str, list[NDArray[np.int16]]] = {"noise": hum, "speech": []}
    for name, paths in sources.items():
        if (kind := name.split("/")[0]) in beds:
            beds[kind] += read_recordings(paths)[0]
    clips = choose_clips(corpus, "training", keywords, CLIPS, seed)
    scenes = build_scenes(clips, keywords, beds["noise"], beds["speech"], seed)
    return Recorded(
        {
            name: (scene, recorder.record(name, [scene.audio]))
            for name, scene in scenes.items()
            if name in MISSED
        },
        quiet,
    )


def candidates(base: DecisionConfig) -> list[DecisionConfig]:
    """The settings among which `tune` chooses."""
    return [
        replace(base, isolation=isolation, smoothing_ms=smoothing)
        for isolation, smoothing in itertools.product(ISOLATIONS, SMOOTHING_MS)
    ]


def tune(recorded: Recorded, labels: Sequence[str], configs: Sequence[DecisionConfig]) -> Curve:
    """The curve of those settings that reach the least regret."""
    curves = (curve_of(recorded, labels, config) for config in configs)
    return min(curves, key=lambda curve: float(curve.regret.min()))


def curve_of(recorded: Recorded, labels: Sequence[str], config: DecisionConfig) -> Curve:
    """What thresholds that are moved together do with these settings."""
    false = {
        name: [peak for track in tracks for peak in peaks(track, labels, config)]
        for name, tracks in recorded.quiet.items()
    }
    true = {
        name: spoken_thresholds(track, scene.spoken, labels, config)
        for name, (scene, track) in recorded.scenes.items()
    }
    spoken = [each for found in true.values() for each in found]
    shape = keyword_offsets([p for found in false.values() for p in found], recorded.hours, spoken)
    # The offset up to which each word, or each false accept, is detected.
    missed = {
        name: _share_below([log_odds(value) - shape[word] for word, value in found])
        for name, found in true.items()
    }
    counts: dict[str, FloatArray] = {}
    limits: dict[str, float] = {}
    for name, found in false.items():
        group = group_of(name)
        limit = _limit(group, recorded.quiet[name])
        reached = [log_odds(p.threshold) - shape[p.keyword] for p in found if p.keyword in shape]
        above = len(reached) * (1.0 - _share_below(reached)) if reached else 0.0 * OFFSETS
        counts[group] = counts.get(group, 0.0 * OFFSETS) + above
        limits[group] = limits.get(group, 0.0) + limit
    hours = sum(
        track.seconds / 3600.0
        for name, tracks in recorded.quiet.items()
        if not name.startswith(WORDS)
        for track in tracks
    )
    return Curve(config, shape, missed, counts, limits, hours)


def group_of(source: str) -> str:
    """What a source is counted as: all noise together, all other words, each source of speech."""
    kind = source.split("/")[0]
    return source if kind == "speech" else kind


def _limit(group: str, tracks: Sequence[PosteriorTrack]) -> float:
    """How many false accepts the target of a group allows in these recordings of it."""
    if group == WORDS:
        return WORDS_THAT_FIRE * len(tracks)
    hours = sum(each.seconds for each in tracks) / 3600.0
    return FALSE_ACCEPTS.get(group, FALSE_ACCEPTS["speech"]) * hours


def _share_below(reached: Sequence[float]) -> FloatArray:
    below = np.searchsorted(np.sort(np.array(reached)), OFFSETS, side="left")
    share: FloatArray = below / len(reached)
    return share


def _some(paths: list[Path]) -> list[Path]:
    """Recordings of a second or two, evenly taken, about MOST_HOURS of them."""
    most = int(MOST_HOURS * 3600 / 1.5)
    return paths[:: max(1, -(-len(paths) // most))]
