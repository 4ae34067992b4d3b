"""From posteriors to detections; knows nothing of audio or models."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE, SILENCE, UNKNOWN, DecisionConfig

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Detection:
    """One spoken keyword."""

    keyword: str
    score: float  # smoothed posterior, in (0, 1]
    start: float  # seconds of stream time; the keyword lies between start and end
    end: float  # seconds of stream time; when it was decided


class Decider:
    """Smoothing, thresholds, one detection per word, and the refractory period.

    A keyword counts as spoken when its smoothed posterior rises over its threshold, and may do so
    again only once it has fallen below `release` times that threshold: a word stays in the window
    that the network sees for most of a second, and is still one word.
    """

    def __init__(
        self,
        labels: Sequence[str],
        thresholds: Mapping[str, float],
        config: DecisionConfig | None = None,
    ) -> None:
        """`labels` in the order of the posteriors; keywords that `thresholds` lacks take the
        configuration's. Silence and unknown are never detected."""
        self.config = config or DecisionConfig()
        self._columns = [i for i, label in enumerate(labels) if label not in (SILENCE, UNKNOWN)]
        self._keywords = [labels[i] for i in self._columns]
        self._thresholds = np.array(
            [thresholds.get(keyword, self.config.threshold) for keyword in self._keywords]
        )
        self._smoothing = self.config.smoothing_ms * SAMPLE_RATE // 1000
        self._refractory = self.config.refractory_ms * SAMPLE_RATE // 1000
        self._full = max(1, -(-self.config.smoothing_ms // self.config.hop_ms))
        self.reset()

    def reset(self) -> None:
        """Forget the scores and detections so far."""
        self._recent: deque[tuple[int, FloatArray]] = deque()
        self._armed = np.ones(len(self._keywords), bool)
        self._last_end = 0
        self._deaf_until = 0

    def update(self, posteriors: FloatArray, start: int, end: int) -> Detection | None:
        """Take the posteriors (labels,) of the audio from sample `start` to `end` of the stream.

        Calls come in the order of `end`; `start` is negative where the window reaches back before
        the stream began. Returns the keyword that has been spoken, if one has.
        """
        if start >= self._last_end:  # no audio in common with what was scored last
            self._armed[:] = True
        self._last_end = end
        self._recent.append((end, posteriors[self._columns]))
        while self._recent[0][0] <= end - max(self._smoothing, 1):
            self._recent.popleft()
        sums = np.sum([recent for _, recent in self._recent], axis=0)
        # After a pause in scoring too few are there to average. To fire, what is missing counts
        # as zero: one high score is no word yet. To re-arm it does not: one high score is no fall.
        scores = sums / self._full
        risen = self._armed & (scores >= self._thresholds)
        self._armed &= ~risen
        self._armed |= sums / len(self._recent) < self.config.release * self._thresholds
        if end < self._deaf_until or not risen.any():
            return None
        best = int(np.where(risen, scores, -1.0).argmax())
        self._deaf_until = end + self._refractory
        return Detection(
            keyword=self._keywords[best],
            score=float(scores[best]),
            start=max(start, 0) / SAMPLE_RATE,
            end=end / SAMPLE_RATE,
        )
