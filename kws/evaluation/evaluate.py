"""A model on an evaluation set: posteriors of whole clips, and every figure that follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import SILENCE, FeatureConfig
from kws.errors import DataError
from kws.evaluation import metrics
from kws.evaluation.evalset import EvaluationSet
from kws.frontend import FloatArray, log_mel
from kws.model.load import Model
from kws.model.manifest import Manifest
from kws.recordings.data import CLIP_SAMPLES, Int16Array
from kws.recordings.mix import add_noise, level

SNRS_DB = (20.0, 10.0, 5.0, 0.0, -5.0)
PLACES_MS = (-80, 0, 80)  # of the windows that cover a clip; 0 is the clip itself
_BATCH = 256  # clips; large enough that ONNX Runtime's call costs nothing


def clip_features(model: Model, audio: Int16Array) -> FloatArray:
    """Features (clips, frames, bands) of audio (clips, samples)."""
    return np.stack([log_mel(clip, model.manifest.features) for clip in audio])


def windows_of_clip(
    config: FeatureConfig, places_ms: Sequence[int] = PLACES_MS
) -> tuple[int, list[int]]:
    """How windows at these places cover a clip: samples of silence to put on either side of it, and
    the frame with which each window then begins."""
    frame_ms = 1000 * config.hop / config.sample_rate
    shifts = [round(place / frame_ms) for place in places_ms]
    reach = max(map(abs, shifts))
    return reach * config.hop, [reach + shift for shift in shifts]


def clip_posteriors(
    model: Model, audio: Int16Array, places_ms: Sequence[int] = PLACES_MS
) -> FloatArray:
    """Posteriors (clips, labels) of audio (clips, 16000), by a model that takes whole windows.

    A clip is processed like a word in a stream: with digital silence around it, in windows that
    lie so many milliseconds after its own, whose posteriors are averaged as the decision smooths.
    At the places (0,) only the clip's own window is used.
    """
    rows = [np.empty((0, len(model.manifest.labels)), np.float32)]
    silence, begins = windows_of_clip(model.manifest.features, places_ms)
    for start in range(0, len(audio), _BATCH):
        clips = np.pad(audio[start : start + _BATCH], ((0, 0), (silence, silence)))
        frames = clip_features(model, clips)
        posteriors = [
            model.backend.run(frames[:, begin : begin + model.frames]) for begin in begins
        ]
        rows.append(np.mean(posteriors, axis=0))
    return np.concatenate(rows)


@dataclass(frozen=True)
class Evaluation:
    """The posteriors of a model on an evaluation set."""

    manifest: Manifest
    artefact: str
    clips: EvaluationSet
    posteriors: FloatArray  # (clips, labels)
    accuracy_by_snr: dict[float, float] = field(default_factory=dict)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable label of each clip, as an index."""
        best: NDArray[np.int64] = self.posteriors.argmax(axis=1)
        return best

    @property
    def accuracy(self) -> float:
        """Share of clips whose most probable label is the right one."""
        return float((self.predicted == self.clips.targets).mean())

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (labels, labels); rows are the truth."""
        return metrics.confusion(self.clips.targets, self.predicted, len(self.manifest.labels))

    def accepted(self) -> tuple[float, float]:
        """Recall of the keywords and false accepts of the rest, at the manifest's thresholds.

        A clip counts as accepted where its most probable label is a keyword and reaches that
        keyword's threshold. Either share is NaN where it has no clips.
        """
        labels, keywords = self.manifest.labels, self.manifest.keywords
        limits = np.array([self.manifest.threshold(k) if k in keywords else np.inf for k in labels])
        taken = self.posteriors.max(axis=1) >= limits[self.predicted]
        spoken = np.isin(self.clips.targets, [labels.index(keyword) for keyword in keywords])
        right = taken & (self.predicted == self.clips.targets)
        return _mean(right[spoken]), _mean(taken[~spoken])

    def figures(self) -> dict[str, Any]:
        """Everything as one JSON-ready object; shares in [0, 1], classes without clips left out."""
        labels, counts = self.manifest.labels, self.confusion
        targets = self.clips.targets
        recall = _by_label(labels, metrics.recall(counts))
        keyword_recall, false_accepts = self.accepted()
        return {
            "model": self.manifest.name,
            "artefact": self.artefact,
            "split": self.clips.split,
            "clips": len(targets),
            "accuracy": self.accuracy,
            "mean_recall": sum(recall.values()) / len(recall),
            "recall": recall,
            "precision": _by_label(labels, metrics.precision(counts)),
            "keyword_recall_at_threshold": _finite(keyword_recall),
            "false_accepts_at_threshold": _finite(false_accepts),
            "label_ranking_average_precision": metrics.ranking_precision(targets, self.posteriors),
            "log_loss": metrics.log_loss(targets, self.posteriors),
            **metrics.calibration(targets, self.posteriors),
            "accuracy_by_snr_db": {f"{snr:g}": a for snr, a in self.accuracy_by_snr.items()},
            "labels": list(labels),
            "confusion": counts.tolist(),
            "not_used": [str(problem) for problem in self.clips.problems],
        }


def evaluate(
    model: Model,
    clips: EvaluationSet,
    noise: Sequence[Int16Array] = (),
    snrs_db: Iterable[float] = SNRS_DB,
) -> Evaluation:
    """Run a model over an evaluation set; with noise recordings, also at each of the ratios."""
    by_snr = {}
    if noise:
        for snr_db in snrs_db:
            noisy = add_noise_to_all(clips, model.manifest.labels, noise, snr_db)
            right = clip_posteriors(model, noisy).argmax(axis=1) == clips.targets
            by_snr[snr_db] = float(right.mean())
    return Evaluation(
        model.manifest, model.window_artefact, clips, clip_posteriors(model, clips.audio), by_snr
    )


def add_noise_to_all(
    clips: EvaluationSet, labels: Sequence[str], noise: Sequence[Int16Array], snr_db: float
) -> Int16Array:
    """The clips' audio, each with a random second of a random noise recording.

    The same clip meets the same noise at every ratio. To a clip of silence, which has no level of
    its own to go by, noise is added as loud as to the median of the others. Raises DataError where
    no noise recording lasts a second.
    """
    long_enough = [recording for recording in noise if len(recording) >= CLIP_SAMPLES]
    if not long_enough:
        raise DataError("expected noise recordings of at least one second, got none")
    silent = clips.targets == (labels.index(SILENCE) if SILENCE in labels else -1)
    spoken = [level(clip) for clip in clips.audio[~silent]]
    usual = float(np.median(spoken)) if spoken else 1000.0
    generator = np.random.default_rng(0)
    noisy = np.empty_like(clips.audio)
    for row, clip in enumerate(clips.audio):
        recording = long_enough[generator.integers(len(long_enough))]
        start = generator.integers(len(recording) - CLIP_SAMPLES + 1)
        second = recording[start : start + CLIP_SAMPLES]
        noisy[row] = add_noise(clip, second, snr_db, usual if silent[row] else None)
    return noisy


def _mean(shares: NDArray[np.bool_]) -> float:
    return float(shares.mean()) if len(shares) else float("nan")


def _finite(share: float) -> float | None:
    return None if np.isnan(share) else share


def _by_label(labels: Sequence[str], shares: NDArray[np.float64]) -> dict[str, float]:
    return {
        label: float(share)
        for label, share in zip(labels, shares, strict=True)
        if not np.isnan(share)
    }
