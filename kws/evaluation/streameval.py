"""A model on streams: false accepts by source, misses by scene, and the curve of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kws.decision import Detection
from kws.errors import DataError
from kws.evaluation.repetition import DISTANCES, repeated
from kws.evaluation.repetition import figures as repetition_figures
from kws.evaluation.replay import PosteriorRecorder, PosteriorTrack, record_files
from kws.evaluation.scenes import LOUDNESS, Scene, build_scene
from kws.evaluation.spotting import Outcome, false_accept_figures, match
from kws.model.load import Model
from kws.operating_point import OperatingPoint
from kws.recordings.data import (
    Clip,
    Corpus,
    Int16Array,
    Problem,
    corpus_root,
    find_corpus,
    label_of,
    read_clips,
    read_recordings,
    split_noise,
)
from kws.recordings.negatives import negatives, sentences

SNRS_DB = (20.0, 10.0, 5.0, 0.0)
CHILD = 12  # years, up to which a speaker is counted as a child
OFFSETS = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # of the DET, in log-odds


class Evaluator:
    """Measures one model at one operating point."""

    def __init__(
        self, model: Model, point: OperatingPoint, vad: bool = True, jobs: int | None = None
    ) -> None:
        self.model, self.point, self.vad, self.jobs = model, point, vad, jobs
        self._labels = model.manifest.labels
        self._keywords = point.keywords

    def settings(self) -> dict[str, Any]:
        """What was measured, for JSON."""
        return {
            "model": self.model.manifest.name,
            "artefact": self.model.artefact,
            "mode": self.point.mode,
            "sensitivity": self.point.sensitivity,
            "thresholds": dict(self.point.thresholds),
            "gate": self.vad,
            "verified": self.point.verified,
        }

    def detections(self, track: PosteriorTrack, offset: float = 0.0) -> list[Detection]:
        """What the operating point, moved by `offset`, finds in a recording."""
        thresholds = self.point.moved(offset) if offset else self.point.thresholds
        return track.detections(self._labels, thresholds, self.point.config, self._keywords)

    def negatives(self, paths: Sequence[Path]) -> dict[str, Any]:
        """Recordings that hold no keyword; raises DataError where none can be read."""
        tracks, problems = self.record_files(paths)
        if not tracks:
            first = f"; the first that failed: {problems[0]}" if problems else ""
            raise DataError(f"there is no readable recording{first}")
        return self.false_accepts(tracks) | {"not_used": [str(problem) for problem in problems]}

    def false_accepts(self, tracks: Sequence[PosteriorTrack]) -> dict[str, Any]:
        """The figures of recordings without keywords, all taken together."""
        found = [self.detections(each) for each in tracks]
        hours = sum(each.seconds for each in tracks) / 3600.0
        everything = [detection for each in found for detection in each]
        figures = false_accept_figures(everything, hours, self._keywords)
        return figures | {
            "recordings": len(tracks),
            "recordings_with_false_accepts": sum(map(bool, found)),
        }

    def scene(self, scene: Scene) -> dict[str, Any]:
        """One labelled recording; words that are no keywords of the model are not missed."""
        return self.outcome(self.record(scene)).figures()

    def record(self, scene: Scene) -> tuple[Scene, PosteriorTrack]:
        """A scene with its rows."""
        keywords = tuple(word for word in scene.spoken if word.word in self._keywords)
        scene = Scene(scene.audio, keywords)
        recorder = PosteriorRecorder(self.model, self.vad, self.point.verified)
        return scene, recorder.record("scene", [scene.audio])

    def record_files(self, paths: Sequence[Path]) -> tuple[list[PosteriorTrack], list[Problem]]:
        """Recordings with their rows, and those that cannot be read."""
        return record_files(paths, self.model, self.vad, self.jobs, self.point.verified)

    def outcome(self, recorded: tuple[Scene, PosteriorTrack], offset: float = 0.0) -> Outcome:
        """What becomes of a scene's words."""
        scene, rows = recorded
        return match(scene.spoken, self.detections(rows, offset))

    def development(
        self,
        folder: Path,
        seed: int = 0,
        clips: int = 60,
    ) -> dict[str, Any]:
        """Scenes of a folder's validation clips, and what is beside it without commands.

        The scenes are laid over what lies below noise/ and speech/, and over the last fifth of
        each noise of the corpus. Of each kind of recordings only those are taken that training
        holds out, where there are any.
        """
        corpus = find_corpus(corpus_root(folder))
        beside = reported(folder, self._keywords)
        problems: list[Problem] = []

        def read(kind: str) -> list[Int16Array]:
            paths = [p for name, each in beside.items() if name.startswith(kind) for p in each]
            recordings, _, bad = read_recordings(paths)
            problems.extend(bad)
            return recordings

        hum = read("noise/")
        hum += [split_noise(recording)[1] for recording in read_recordings(corpus.noise)[0]]
        chosen = choose_clips(corpus, "validation", self._keywords, clips, seed)
        scenes = build_scenes(chosen, self._keywords, hum, read("speech/"), seed)
        recorded = {name: self.record(scene) for name, scene in scenes.items()}
        quiet: dict[str, list[PosteriorTrack]] = {}
        for name, paths in beside.items():
            quiet[name], bad = self.record_files(paths)
            problems += bad
        speakers = {
            group: self.false_accepts(tracks)
            for name, tracks in quiet.items()
            if name.startswith("speech/")
            for group, tracks in by_speaker(name, folder / name, tracks).items()
        }
        return {
            "mixture": {
                "words_dbfs": round(20.0 * np.log10(LOUDNESS / 32_768), 1),
                "below_words_db": list(SNRS_DB),
                "by": "the loud parts of both",
                "talk": sorted(name for name in beside if name.startswith("speech/")),
            },
            "scenes": {name: self.outcome(each).figures() for name, each in recorded.items()},
            "negatives": {name: self.false_accepts(each) for name, each in quiet.items() if each},
            "speakers": speakers,
            "repetition": self.repetition(chosen[:: max(1, clips // 5)]),
            "det": list(det_curve(self, recorded, quiet)),
            "not_used": [str(problem) for problem in problems],
        }

    def repetition(self, clips: Sequence[tuple[str, Int16Array]]) -> dict[str, Any]:
        """How many of a word said several times in a row are detected, ever closer together."""
        spoken = [(word, audio) for word, audio in clips if word in self._keywords]
        return repetition_figures(
            {distance: self._detected(repeated(spoken, distance)) for distance in DISTANCES},
            self._detected(repeated(spoken, DISTANCES[-1], times=1)),
        )

    def _detected(self, scene: Scene) -> list[tuple[str, bool]]:
        """The words of a scene in their order, and whether each was detected."""
        hits = {word for word, _ in self.outcome(self.record(scene)).hits}
        return [(each.word, each in hits) for each in scene.spoken]


def reported(folder: Path, keywords: Sequence[str]) -> dict[str, list[Path]]:
    """Recordings without commands by source, of each kind those that training holds out.

    Of a kind of which nothing is held out, as of your own recordings, all.
    """
    held_out = negatives(folder, held_out=True, keywords=keywords)
    kinds = {name.split("/")[0] for name in held_out}
    everything = negatives(folder, keywords=keywords)
    rest = {name: found for name, found in everything.items() if name.split("/")[0] not in kinds}
    return held_out | rest


def by_speaker(
    source: str, folder: Path, tracks: Sequence[PosteriorTrack]
) -> dict[str, list[PosteriorTrack]]:
    """The tracks of a source by what its tables say of the speakers: age and gender."""
    known = {str(each.path): each for each in sentences(folder)[0]}
    groups: dict[str, list[PosteriorTrack]] = {}
    for track in tracks:
        speaker = known.get(track.name)
        if speaker is None:
            continue
        if speaker.age is not None:
            age = f"to {CHILD} years" if speaker.age <= CHILD else f"over {CHILD} years"
            groups.setdefault(f"{source}, {age}", []).append(track)
        if speaker.gender:
            groups.setdefault(f"{source}, {speaker.gender}", []).append(track)
    return dict(sorted(groups.items()))


def det_curve(
    evaluator: Evaluator,
    scenes: Mapping[str, tuple[Scene, PosteriorTrack]],
    quiet: Mapping[str, Sequence[PosteriorTrack]],
) -> Iterator[dict[str, Any]]:
    """False accepts per hour of each source and misses of each scene, by offset of OFFSETS."""
    for offset in OFFSETS:
        rates = {}
        for name, tracks in quiet.items():
            hours = sum(each.seconds for each in tracks) / 3600.0
            count = sum(len(evaluator.detections(each, offset)) for each in tracks)
            rates[name] = count / hours if hours else None
        missed = {
            name: evaluator.outcome(each, offset).figures()["miss_rate"]
            for name, each in scenes.items()
        }
        yield {"offset": offset, "false_accepts_per_hour": rates, "miss_rate": missed}


def choose_clips(
    corpus: Corpus, split: str, keywords: Sequence[str], most: int, seed: int
) -> list[tuple[str, Int16Array]]:
    """At most so many clips of each word of a split, as (word, audio); of other words a tenth."""
    generator = np.random.default_rng(seed)
    by_word: dict[str, list[Clip]] = {}
    for clip in corpus.split(split):
        label = label_of(clip.word, keywords)
        clip = replace(clip, word=label) if label in keywords else clip  # in its spelling
        by_word.setdefault(clip.word, []).append(clip)
    chosen = []
    for word, found in sorted(by_word.items()):
        count = min(len(found), most if word in keywords else max(1, most // 10))
        chosen += [found[index] for index in generator.permutation(len(found))[:count]]
    audio, used, _ = read_clips(chosen)
    return [(clip.word, samples) for clip, samples in zip(used, audio, strict=True)]


def build_scenes(
    clips: Sequence[tuple[str, Int16Array]],
    keywords: Sequence[str],
    noise: Sequence[Int16Array],
    talk: Sequence[Int16Array],
    seed: int,
) -> dict[str, Scene]:
    """The same clips in silence, among other words, in noise and over talk, by name."""
    commands = [(word, audio) for word, audio in clips if word in keywords]

    def scene(some: Sequence[tuple[str, Int16Array]], *over: Any) -> Scene:
        return build_scene(some, keywords, np.random.default_rng(seed), *over)

    scenes = {"silence": scene(commands), "other words": scene(clips)}
    for name, background in (("noise", noise), ("talk", talk)):
        if background:
            for snr_db in SNRS_DB:
                scenes[f"{name} {snr_db:g} dB"] = scene(commands, background, snr_db)
    return scenes


def rows_of_figures(figures: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The figures as lines of CSV: a dotted name and a value."""
    if not path:
        yield "figure,value\n"
    for key, value in figures.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from rows_of_figures(value, name)
        elif isinstance(value, list):
            numbered = {str(index): item for index, item in enumerate(value)}
            yield from rows_of_figures(numbered, name)
        else:
            text = "" if value is None else str(value).replace('"', '""')
            yield f'{name},"{text}"\n' if isinstance(value, str) else f"{name},{text}\n"
