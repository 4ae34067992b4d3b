"""A larger network that runs only where the first one returns a keyword candidate.

The detector then decides on the posteriors of the larger network. Candidates are rare,
so it costs little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from kws.errors import ModelError
from kws.frontend import FloatArray
from kws.model.load import Model

CANDIDATE_HYSTERESIS = 0.5  # of the candidate's posterior, from the call after one with a candidate


class Verifier:
    """Keeps the last second of features of a fixed number of streams, to verify candidates."""

    def __init__(self, model: Model, frames: int, streams: int = 1) -> None:
        """`model` has a verifier; `frames` new ones of a stream come with each call.

        Raises ModelError where the verifier cannot run.
        """
        backend, entry = model.verifier, model.manifest.verifier
        if backend is None or entry is None:
            raise ModelError(f"{model.path}: {model.artefact} has no verifier")
        self.queries = 0  # windows of one second that it has processed so far
        self._backend, self._candidate = backend, entry.candidate
        # Once it has run it runs to the end of the word: else a row at the brink would stand alone
        # in what has been lowered before, and look like a second word.
        self._levels = np.full(streams, self._candidate)
        self._running = False  # whether any of them is lowered
        labels = model.manifest.labels
        self._keywords = np.array([labels.index(each) for each in model.manifest.keywords], np.intp)
        self._window = model.frames
        calls = -(-self._window // frames)  # that a second spans
        self._silence = np.zeros((frames, model.manifest.features.width), np.float32)
        self._recent = [deque([self._silence] * calls, calls) for _ in range(streams)]

    def reset(self, stream: int) -> None:
        """Let one stream begin again, as though digital silence had gone before."""
        recent = self._recent[stream]
        recent.extend([self._silence] * len(recent))
        self._levels[stream] = self._candidate

    def verified(
        self, chosen: Sequence[int], features: FloatArray, posteriors: FloatArray
    ) -> FloatArray:
        """Posteriors (chosen, steps, labels), verified where they hold a candidate.

        A call runs it once for each stream that has any, on its latest second.

        `features` (chosen, frames, bands) are what the first network made `posteriors` of, and
        are kept: they must not change. `chosen` are the numbers of the streams.
        """
        for stream, new in zip(chosen, features, strict=True):
            self._recent[stream].append(new)
        heights = posteriors.take(self._keywords, axis=2)
        if not heights.max() > CANDIDATE_HYSTERESIS * self._candidate:  # as nearly always
            if self._running:
                self._levels[chosen] = self._candidate
                self._running = bool((self._levels < self._candidate).any())
            return posteriors
        rows = heights.max(axis=2) > self._levels[chosen, None]  # (chosen, steps)
        any_row = np.logical_or.reduce(rows, axis=1)
        self._levels[chosen] = np.where(any_row, CANDIDATE_HYSTERESIS, 1.0) * self._candidate
        self._running = True
        (candidates,) = any_row.nonzero()
        if not len(candidates):
            return posteriors
        self.queries += len(candidates)
        seconds = [np.concatenate(self._recent[chosen[place]]) for place in candidates.tolist()]
        returned = self._backend.run(np.stack(seconds)[:, -self._window :])
        # One result for all candidates of a call: they are a few hundredths of a second apart.
        verified = posteriors.copy()  # the array that came may be the network's own
        verified[candidates] = np.where(
            rows[candidates, :, None], returned[:, None], posteriors[candidates]
        )
        return verified
