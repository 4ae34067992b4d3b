"""Checkpoints of training under the conditions of benchmarks.product.accuracy, without exporting
them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks import held_out
from kws.config import SILENCE, UNKNOWN
from kws.errors import DataError
from kws.evaluation.evalset import EvaluationSet
from kws.evaluation.evaluate import windows_of_clip
from kws.frontend import frame_count
from kws.recordings.data import CLIP_SAMPLES, Int16Array
from kws.train import checkpoint
from kws.train.features import LogMel
from kws.train.network import parameter_count

SNRS_DB = (10.0, 0.0)
RECALL_LOST = 0.03  # of the commands, to the threshold that unseen words are counted at

Figures = dict[str, float]
FloatArray = NDArray[np.float32]
Network = Callable[[Int16Array], FloatArray]  # clips (n, 16000) -> posteriors (n, labels)


@dataclass(frozen=True)
class Trained:
    """A checkpoint's averaged network, run on whole clips as `clip_posteriors` does."""

    labels: tuple[str, ...]
    parameters: int
    state: dict[str, Any]  # what else the checkpoint holds
    posteriors: Network


def read_checkpoint(path: Path) -> Trained:
    """Raises ModelError for a file that does not fit this version."""
    network, features, labels, state = checkpoint.load_network(path)
    front_end = LogMel(features)

    silence, begins = windows_of_clip(features)
    window = frame_count(CLIP_SAMPLES, features)

    @torch.no_grad()
    def posteriors(audio: Int16Array) -> FloatArray:
        rows = [np.empty((0, len(labels)), np.float32)]
        for start in range(0, len(audio), 256):
            clips = torch.from_numpy(audio[start : start + 256].astype(np.float32) / 32768.0)
            frames = front_end(functional.pad(clips, (silence, silence)))
            logits = [network(frames[:, begin : begin + window])[:, -1] for begin in begins]
            rows.append(torch.stack(logits).softmax(-1).mean(0).numpy())
        return np.concatenate(rows)

    return Trained(labels, parameter_count(network), state, posteriors)


@dataclass(frozen=True)
class Conditions:
    """Audio that every checkpoint is measured on."""

    labels: tuple[str, ...]
    clips: dict[str, EvaluationSet]  # clean, at each ratio, in rooms
    unseen: Int16Array  # seconds of words that training never had
    owners: NDArray[np.int64]  # the recording of each of them

    @property
    def recordings(self) -> int:
        """How many recordings of unseen words there are."""
        return len(np.unique(self.owners))


def load_conditions(data: Path, trained: Mapping[str, Trained]) -> Conditions:
    """Decode and mix once for all; raises DataError where the labels differ."""
    (first, *others) = trained
    labels = trained[first].labels
    for name in others:
        if trained[name].labels != labels:
            raise DataError(f"{name} and {first} have other labels, so that nothing compares")
    clips = dict(held_out.conditions(labels, data, SNRS_DB))
    unseen = [recording for _, found in held_out.unseen_words(data) for recording in found]
    return Conditions(labels, clips, *held_out.seconds_of(unseen))


def measure(network: Network, conditions: Conditions) -> Figures:
    """Accuracy under each condition, the worst recall, and unseen words taken for a command.

    Unseen words are counted at the one threshold that RECALL_LOST of the clean commands lie below,
    so that a network which is surer of everything loses nothing by it.
    """
    figures: Figures = {}
    labels = conditions.labels
    commands = [index for index, label in enumerate(labels) if label not in (SILENCE, UNKNOWN)]
    threshold = 1.0
    for name, clips in conditions.clips.items():
        posteriors = network(clips.audio)
        right = posteriors.argmax(axis=1) == clips.targets
        figures[name] = float(right.mean())
        if name == "clean":
            recall = [right[clips.targets == index].mean() for index in set(clips.targets.tolist())]
            figures["worst recall"] = float(min(recall))
            threshold = _threshold(posteriors, clips.targets, commands)
    score = _command_score(network(conditions.unseen), commands)
    taken = len(np.unique(conditions.owners[score >= threshold]))
    figures["unseen taken"] = taken / max(1, conditions.recordings)
    return figures


def _threshold(posteriors: FloatArray, targets: NDArray[np.int64], commands: list[int]) -> float:
    """The score that RECALL_LOST of all clips of commands, recognised so far, do not reach."""
    spoken = np.isin(targets, commands)
    right = spoken & (posteriors.argmax(axis=1) == targets)
    scores = np.sort(posteriors.max(axis=1)[right])
    lost = int(RECALL_LOST * spoken.sum())
    return float(scores[lost]) if lost < len(scores) else 1.0


def _command_score(posteriors: FloatArray, commands: list[int]) -> FloatArray:
    """The posterior of each clip's most probable label, 0 where that is no command."""
    best = posteriors.argmax(axis=1)
    score: FloatArray = np.where(np.isin(best, commands), posteriors.max(axis=1), 0.0)
    return score


def as_text(figures: Figures) -> str:
    """One line for a terminal."""
    return ", ".join(f"{key} {100 * share:.2f} %" for key, share in figures.items())
