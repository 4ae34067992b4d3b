"""From posteriors to detections; knows nothing of audio or models."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kws.config import KEYWORD_CONTEXT_WEIGHT, SILENCE, STEP_MS, UNKNOWN, DecisionConfig

FloatArray = NDArray[np.float32]

WORD_MS = 600  # before a score rises, its word has begun no earlier than this


@dataclass(frozen=True)
class Detection:
    """One spoken keyword."""

    keyword: str
    score: float  # smoothed posterior, in (0, 1]
    start: float  # seconds of stream time; the keyword lies between start and end
    end: float  # seconds of stream time; when it was decided
    time: float | None = None  # Unix seconds of `end`, where the source knows


class Deciders:
    """Smoothing, thresholds, isolation, one detection per word, and the refractory period.

    A fixed number of streams, decided together and each on its own. A keyword is detected in the
    row in which

    * its score, the mean of its posteriors over `smoothing_ms`, reaches its threshold, raised by
      `isolation` times the share of other speech just before, as far as 1. Keywords are speech
      too, by KEYWORD_CONTEXT_WEIGHT of their posteriors, until one is detected: what led to it, and
      what is left of the word, is no longer other speech;
    * its posterior itself is not below `release` times the threshold, and has been that high for
      no longer than `longest_ms`: what stays longer than a word can is a noise;
    * it is armed: since it was detected last, its posterior has been lower than that for
      `rearm_ms`, because a word stays in the network's window for most of a second;
    * no other keyword scores higher, and none has been detected for `refractory_ms`.

    A stream begins with silence.
    """

    def __init__(
        self,
        labels: Sequence[str],
        thresholds: Mapping[str, float],
        config: DecisionConfig | None = None,
        streams: int = 1,
        keywords: Collection[str] | None = None,
    ) -> None:
        """`labels` in the order of the posteriors; keywords that `thresholds` lacks take the
        configuration's. Silence and unknown are never detected, nor what is not among `keywords`
        (default: all)."""
        self.config = config = config or DecisionConfig()
        self._keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
        # What is kept of a row of posteriors: each keyword's, and how much of it is other speech.
        # In silence all of it is zero.
        self._uses_context = UNKNOWN in labels and config.context_ms >= STEP_MS
        kept = [*self._keywords, *([UNKNOWN] if self._uses_context else [])]
        self._columns = [labels.index(label) for label in kept]
        self._thresholds = np.array([thresholds.get(keyword, config.threshold) for keyword in kept])
        self._released = (self._thresholds * config.release).astype(np.float32)
        for column, label in enumerate(kept):
            if label == UNKNOWN or (keywords is not None and label not in keywords):
                self._released[column] = np.inf  # never up
        self._smoothed = max(1, _rows(config.smoothing_ms))
        self._context_end = self._smoothed + _rows(config.lead_ms)  # rows ago
        self._context_begin = self._context_end + _rows(config.context_ms)
        self._longest = max(1, _rows(config.longest_ms))
        self._rearming = max(1, _rows(config.rearm_ms))
        self._history = max(self._context_begin, self._longest + 1, self._rearming)
        self._silence = np.zeros((1, self._history, len(labels)), np.float32)
        self._rows = np.zeros((streams, self._history, len(kept)), np.float32)
        self._armed = np.ones((streams, len(kept)), bool)
        self._disarmed = False  # whether any is
        self._count = [0] * streams  # rows since the stream began
        self._refractory_until = [0] * streams  # the row in which something may be detected again

    def reset(self, stream: int) -> None:
        """Forget the rows and detections of one stream."""
        self._rows[stream] = 0.0
        self._armed[stream] = True
        self._count[stream] = self._refractory_until[stream] = 0

    def rest(self, stream: int, rows: int) -> None:
        """Let so many steps of one stream pass in which the gate was closed."""
        kept = min(rows, self._history)
        if kept > 0:
            self.update([stream], self._silence[:, :kept])
            self._count[stream] += rows - kept

    def update(self, streams: Sequence[int], posteriors: FloatArray) -> list[tuple[int, Detection]]:
        """Take the next rows (streams, rows, labels), one per 20 ms, of these streams.

        `streams` are their numbers, ascending. Returns what has been spoken, and in which of them.
        """
        # A network that fails for a moment neither fires nor spoils every mean after it.
        if not math.isfinite(posteriors.sum()):
            posteriors = np.nan_to_num(posteriors, posinf=0.0, neginf=0.0)
        everyone = len(streams) == len(self._armed)
        new = posteriors.take(self._columns, axis=2)
        if self._uses_context:
            new[..., -1] += _keyword_context(new)
        before = self._rows if everyone else self._rows.take(streams, axis=0)
        rows = np.concatenate((before, new), axis=1)
        if everyone:
            self._rows = rows[:, -self._history :]
        else:
            self._rows[streams] = rows[:, -self._history :]
        for stream in streams:
            self._count[stream] += new.shape[1]
        # Most rows are far from any decision, and this is all that they cost.
        up: NDArray[np.bool_] = np.greater_equal(new, self._released)
        if not self._disarmed and not up.any():
            return []
        near = np.logical_or.reduce(up, axis=(1, 2))
        if self._disarmed:
            near |= ~np.logical_and.reduce(self._armed[streams], axis=1)
        if not near.all():
            streams = [stream for stream, is_near in zip(streams, near, strict=True) if is_near]
            rows, up = rows[near], up[near]
        return self._decide(streams, rows, up)

    def _decide(
        self, streams: Sequence[int], rows: FloatArray, up: NDArray[np.bool_]
    ) -> list[tuple[int, Detection]]:
        """What the last of these rows (streams, rows, kept) decide; `up` tells of those alone."""
        new = up.shape[1]
        first = [self._count[stream] - new for stream in streams]
        armed = self._armed[streams]
        disarmed = changed = not armed.all()
        raised = np.logical_or.reduce(up, axis=(0, 2)).tolist()
        detections = []
        for index in range(new):
            past = rows[:, : self._history + index + 1]
            if disarmed:
                self._leave_out(past[:, -1], ~armed)
                armed |= (past[:, -self._rearming :] < self._released).all(axis=1)
                disarmed = not armed.all()
            if not raised[index]:
                continue
            for place, best, score, rise in self._spoken(past, up[:, index] & armed):
                stream, count = streams[place], first[place] + index + 1
                if count <= self._refractory_until[stream]:
                    continue
                self._refractory_until[stream] = count + _rows(self.config.refractory_ms) - 1
                armed[place, best] = False
                disarmed = changed = True
                if self._uses_context:  # all of it so far has led to this
                    past[place, :, -1] = 0.0
                detection = Detection(
                    keyword=self._keywords[best],
                    score=score,
                    start=max(0, (count - rise) * STEP_MS - WORD_MS) / 1000.0,
                    end=count * STEP_MS / 1000.0,
                )
                detections.append((stream, detection))
        if changed:
            self._rows[streams] = rows[:, -self._history :]
        self._armed[streams] = armed
        self._disarmed = not self._armed.all()
        return detections

    def _leave_out(self, row: FloatArray, keywords: NDArray[np.bool_]) -> None:
        """Take what these keywords (streams, kept) have of a row (streams, kept) from its speech:
        the rest of a word that has been detected."""
        if self._uses_context:
            row[:, -1] -= _keyword_context(row * keywords)

    def _spoken(
        self, rows: FloatArray, up: NDArray[np.bool_]
    ) -> Iterator[tuple[int, int, float, int]]:
        """What the last of these rows (streams, rows, kept) decides, where it may.

        `up` (streams, kept) tells which armed keywords are. Yields the place of the stream, the
        keyword's column, its score, and how many rows ago its posterior rose.
        """
        if not up.any():
            return
        scores = _mean(rows[:, -self._smoothed :])
        reached: NDArray[np.bool_] = up & np.greater_equal(scores, self._thresholds)
        (some,) = np.logical_or.reduce(reached, axis=1).nonzero()
        if not len(some):  # as in most rows; the rest can only forbid what this allows
            return
        rows, scores = rows[some], scores[some]
        needed = self._thresholds + self._speech(rows) * (1.0 - self._thresholds)
        high = rows[:, -self._longest - 1 :] >= self._released
        spoken = up[some] & ~high.all(axis=1) & (scores >= needed)
        (ready,) = np.logical_or.reduce(spoken, axis=1).nonzero()
        for which in ready.tolist():
            best = int(np.where(spoken[which], scores[which], -1.0).argmax())
            rise = int(high[which, ::-1, best].argmin())
            yield int(some[which]), best, float(scores[which, best]), rise

    def _speech(self, rows: FloatArray) -> NDArray[np.float64] | float:
        """How much the thresholds rise on the way to 1, (streams, 1), for earlier speech."""
        context = rows[:, -self._context_begin : rows.shape[1] - self._context_end, -1:]
        if not self._uses_context:
            return 0.0
        return self.config.isolation * _mean(context)


class Decider:
    """`Deciders` of one stream."""

    def __init__(
        self,
        labels: Sequence[str],
        thresholds: Mapping[str, float],
        config: DecisionConfig | None = None,
        keywords: Collection[str] | None = None,
    ) -> None:
        """See Deciders."""
        self._one = Deciders(labels, thresholds, config, keywords=keywords)

    def reset(self) -> None:
        """Forget the rows and detections so far."""
        self._one.reset(0)

    def rest(self, rows: int) -> None:
        """Let so many steps pass in which the gate was closed."""
        self._one.rest(0, rows)

    def update(self, posteriors: FloatArray) -> list[Detection]:
        """Take the next rows (rows, labels), one per 20 ms; returns what has been spoken."""
        return [detection for _, detection in self._one.update([0], posteriors[None])]


def _keyword_context(rows: FloatArray) -> FloatArray:
    """What keywords (..., kept) add to other speech (...)."""
    speech: FloatArray = np.add.reduce(rows[..., :-1], axis=-1) * np.float32(KEYWORD_CONTEXT_WEIGHT)
    return speech


def _mean(rows: FloatArray) -> NDArray[np.float64]:
    """Over the second axis; of a few rows, a third of the time of `ndarray.mean`."""
    mean: NDArray[np.float64] = np.add.reduce(rows, axis=1, dtype=np.float64) / rows.shape[1]
    return mean


def _rows(milliseconds: int) -> int:
    return milliseconds // STEP_MS
