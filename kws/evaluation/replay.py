"""Posterior tracks: compute the posteriors of recordings once and decide on them often."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.audio import AudioFile
from kws.config import SAMPLE_RATE, SILENCE, DecisionConfig
from kws.decision import Decider, Detection
from kws.errors import KwsError
from kws.frontend import FloatArray
from kws.gated_stream import GatedStreams
from kws.keyword_streams import clip_end, silence_after
from kws.model.load import Model, load_model
from kws.recordings.data import Problem

Int16Array = NDArray[np.int16]

_TOO_FEW = 16  # recordings, for which a second process is not worth its start


@dataclass(frozen=True)
class PosteriorTrack:
    """The posteriors of one recording."""

    name: str
    seconds: float
    rows: FloatArray  # (rows, labels), one per 20 ms; of silence while the gate was closed
    unverified: FloatArray  # likewise, as the first network gave them
    levels: FloatArray  # (rows,), dB; 0 while the gate was closed

    def without_verifier(self) -> PosteriorTrack:
        """The track of the first network alone."""
        return replace(self, rows=self.unverified)

    def detections(
        self,
        labels: Sequence[str],
        thresholds: Mapping[str, float],
        config: DecisionConfig,
        keywords: Collection[str] | None = None,
    ) -> list[Detection]:
        """What a detector with these settings finds in the recording."""
        found = Decider(labels, thresholds, config, keywords).update(self.rows, self.levels)
        return [clip_end(each, self.seconds) for each in found]


class PosteriorRecorder:
    """Turns audio into rows; the gate and the network are those of a Detector."""

    def __init__(self, model: Model, vad: bool = True, verify: bool = True) -> None:
        self.model = model
        self._streams = GatedStreams(model, 1, vad, verify)
        self._silence = np.zeros((1, len(model.manifest.labels)), np.float32)
        if SILENCE in model.manifest.labels:
            self._silence[0, model.manifest.labels.index(SILENCE)] = 1.0

    def record(self, name: str, blocks: Iterable[Int16Array]) -> PosteriorTrack:
        """A whole recording, given block by block, and the silence after it."""
        streams = self._streams
        streams.reset(0)
        samples = 0
        rows, unverified = [self._silence[:0]], [self._silence[:0]]
        levels = [np.empty(0, np.float32)]
        tail = silence_after(self.model.manifest)
        for block in itertools.chain(blocks, (tail,)):
            samples += len(block)
            for hop in streams.cut([block]):
                for new in streams.rows(*hop):
                    rested = new.rested[0]
                    silence = np.repeat(self._silence, rested, axis=0)
                    rows += [silence, new.posteriors[0]]
                    unverified += [silence, new.unverified[0]]
                    levels += [np.zeros(rested, np.float32), new.levels[0]]
        seconds = (samples - len(tail)) / SAMPLE_RATE
        parts = (np.concatenate(each) for each in (rows, unverified, levels))
        return PosteriorTrack(name, seconds, *parts)


def record_files(
    paths: Sequence[Path],
    model: Model,
    vad: bool = True,
    jobs: int | None = None,
    verify: bool = True,
) -> tuple[list[PosteriorTrack], list[Problem]]:
    """Process files of any format and rate, on all processors unless `jobs` says how many.

    Returns their posterior tracks, in the order of `paths`, and the files that cannot be read.
    """
    jobs = min(jobs or os.cpu_count() or 1, -(-len(paths) // _TOO_FEW))
    outcomes: Iterable[PosteriorTrack | Problem]
    if jobs <= 1:
        recorder = PosteriorRecorder(model, vad, verify)
        outcomes = [_record_file(recorder, path) for path in paths]
    else:
        # Not forked: what ONNX Runtime and others hold of threads and locks would be torn.
        context = multiprocessing.get_context("spawn")
        settings = (model.path, model.artefact, vad, verify)
        with ProcessPoolExecutor(jobs, context, _begin, settings) as pool:
            chunk = max(1, min(32, len(paths) // (4 * jobs)))
            outcomes = list(pool.map(_record_in_worker, paths, chunksize=chunk))
    tracks = [outcome for outcome in outcomes if isinstance(outcome, PosteriorTrack)]
    return tracks, [outcome for outcome in outcomes if isinstance(outcome, Problem)]


def _record_file(recorder: PosteriorRecorder, path: Path) -> PosteriorTrack | Problem:
    try:
        with AudioFile(path) as source:
            return recorder.record(str(path), source)
    except KwsError as error:
        return Problem(path, str(error).removeprefix(f"{path} "))


_worker: PosteriorRecorder


def _begin(path: Path, artefact: str, vad: bool, verify: bool) -> None:
    global _worker
    _worker = PosteriorRecorder(load_model(path, artefact=artefact), vad, verify)


def _record_in_worker(path: Path) -> PosteriorTrack | Problem:
    return _record_file(_worker, path)
