"""From posteriors to detections; knows nothing of audio or models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kws.config import SILENCE, UNKNOWN, DecisionConfig

FloatArray = NDArray[np.float32]

STEP_MS = 20  # from one row of posteriors to the next
WORD_MS = 600  # before a score rises, its word has begun no earlier than this


@dataclass(frozen=True)
class Detection:
    """One spoken keyword."""

    keyword: str
    score: float  # smoothed posterior, in (0, 1]
    start: float  # seconds of stream time; the keyword lies between start and end
    end: float  # seconds of stream time; when it was decided


class Decider:
    """Smoothing, thresholds, isolation, one detection per word, and the refractory period.

    A keyword is detected in the row in which

    * its score, the mean of its posteriors over `smoothing_ms`, reaches its threshold, raised by
      `isolation` times the share of other speech just before, as far as 1;
    * its posterior itself is not below `release` times the threshold, and has been that high for
      no longer than `longest_ms`: what stays longer than a word can is a noise;
    * it is armed: since it was detected last, its posterior has been lower than that for
      `rearm_ms`, because a word stays in the network's window for most of a second;
    * no other keyword scores higher, and none has been detected for `refractory_ms`.

    The stream begins with silence.
    """

    def __init__(
        self,
        labels: Sequence[str],
        thresholds: Mapping[str, float],
        config: DecisionConfig | None = None,
    ) -> None:
        """`labels` in the order of the posteriors; keywords that `thresholds` lacks take the
        configuration's. Silence and unknown are never detected."""
        self.config = config = config or DecisionConfig()
        self._columns = [i for i, label in enumerate(labels) if label not in (SILENCE, UNKNOWN)]
        self._keywords = [labels[i] for i in self._columns]
        self._thresholds = np.array(
            [thresholds.get(keyword, config.threshold) for keyword in self._keywords]
        )
        self._released = (self._thresholds * config.release).astype(np.float32)
        self._smoothed = max(1, _rows(config.smoothing_ms))
        self._context_end = self._smoothed + _rows(config.lead_ms)  # rows ago
        self._context_begin = self._context_end + _rows(config.context_ms)
        self._longest = max(1, _rows(config.longest_ms))
        self._rearming = max(1, _rows(config.rearm_ms))
        self._history = max(self._context_begin, self._longest + 1, self._rearming)
        self._unknown = labels.index(UNKNOWN) if UNKNOWN in labels else None
        self._silence = np.zeros(len(labels), np.float32)
        if SILENCE in labels:
            self._silence[labels.index(SILENCE)] = 1.0
        self.reset()

    def reset(self) -> None:
        """Forget the rows and detections so far."""
        self._rows = np.tile(self._silence, (self._history, 1))
        self._armed = np.ones(len(self._keywords), bool)
        self._disarmed = False  # whether any is
        self._count = 0  # rows since the stream began
        self._deaf_until = 0  # the row in which something may be detected again

    def rest(self, rows: int) -> None:
        """Let so many steps pass in which nobody spoke and the network was not asked."""
        kept = min(rows, self._history)
        if kept > 0:
            self.update(np.tile(self._silence, (kept, 1)))
            self._count += rows - kept

    def update(self, posteriors: FloatArray) -> list[Detection]:
        """Take the next rows (rows, labels), one per 20 ms; returns what has been spoken."""
        # A network that fails for a moment neither fires nor spoils every mean after it.
        if not math.isfinite(posteriors.sum()):
            posteriors = np.nan_to_num(posteriors, posinf=0.0, neginf=0.0)
        self._rows = np.concatenate((self._rows[-self._history :], posteriors))
        first = self._count
        self._count += len(posteriors)
        # Most rows are far from any decision, and this is all that they cost.
        up: NDArray[np.bool_] = np.greater_equal(posteriors[:, self._columns], self._released)
        if not self._disarmed and not up.any():
            return []
        detections = []
        raised: NDArray[np.bool_] = np.logical_or.reduce(up, axis=1)
        for index in range(len(posteriors)):
            place = self._history + index + 1
            self._rearm(place)
            if not raised[index] or first + index < self._deaf_until:
                continue
            if (up[index] & self._armed).any():
                detection = self._decide(place, first + index + 1)
                if detection is not None:
                    detections.append(detection)
                    self._deaf_until = first + index + _rows(self.config.refractory_ms)
        return detections

    def _rearm(self, place: int) -> None:
        if self._disarmed:
            latest = self._rows[place - self._rearming : place, self._columns]
            self._armed |= (latest < self._released).all(axis=0)
            self._disarmed = not self._armed.all()

    def _decide(self, place: int, count: int) -> Detection | None:
        """What the row before `place` of the history decides; it is the stream's count-th."""
        rows = self._rows[:place]
        scores = rows[-self._smoothed :, self._columns].mean(axis=0, dtype=np.float64)
        spoken = self._armed & (scores >= self._thresholds)
        if not spoken.any():  # as in most rows; the rest can only forbid what this allows
            return None
        needed = self._thresholds + self._speech(rows) * (1.0 - self._thresholds)
        up = rows[-self._longest - 1 :, self._columns] >= self._released
        spoken &= up[-1] & ~up.all(axis=0) & (scores >= needed)
        if not spoken.any():
            return None
        best = int(np.where(spoken, scores, -1.0).argmax())
        self._armed[best] = False
        self._disarmed = True
        raised = int(up[::-1, best].argmin())  # rows since the score rose
        return Detection(
            keyword=self._keywords[best],
            score=float(scores[best]),
            start=max(0, (count - raised) * STEP_MS - WORD_MS) / 1000.0,
            end=count * STEP_MS / 1000.0,
        )

    def _speech(self, rows: FloatArray) -> float:
        """How much the thresholds rise on the way to 1, for what was said just before."""
        context = rows[-self._context_begin : len(rows) - self._context_end]
        if self._unknown is None or not len(context):
            return 0.0
        return self.config.isolation * float(context[:, self._unknown].mean(dtype=np.float64))


def _rows(milliseconds: int) -> int:
    return milliseconds // STEP_MS
