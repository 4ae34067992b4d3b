"""A larger network that runs only where the first one returns a keyword candidate.

The detector then decides on the posteriors of the larger network. Candidates are rare,
so it costs little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kws.errors import ModelError
from kws.frontend import FloatArray
from kws.model.load import Model

CANDIDATE_HYSTERESIS = 0.5  # of the candidate's posterior, from the call after one with a candidate


@dataclass(frozen=True)
class Query:
    """What the verifier can be queried about one call of one stream, now or later."""

    rows: NDArray[np.bool_]  # (steps,), those that hold a candidate
    second: Sequence[FloatArray]  # the latest calls' features, which make up a second or more


class Verifier:
    """Keeps the last second of features of a fixed number of streams, to verify candidates."""

    def __init__(self, model: Model, frames: int, streams: int) -> None:
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
        found = self.queries_about(chosen, features, posteriors)
        queries = {place: query for place, query in enumerate(found) if query is not None}
        if not queries:
            return posteriors
        verified = posteriors.copy()  # the array that came may be the network's own
        returned = self.returned(list(queries.values()))
        for (place, query), row in zip(queries.items(), returned, strict=True):
            verified[place, query.rows] = row
        return verified

    def returned(self, queries: Sequence[Query]) -> FloatArray:
        """Posteriors (queries, labels), at least one query.

        One result for all candidates of a call: they are a few hundredths of a second apart.
        """
        self.queries += len(queries)
        seconds = [np.concatenate(query.second) for query in queries]
        return self._backend.run(np.stack(seconds)[:, -self._window :])

    def queries_about(
        self, chosen: Sequence[int], features: FloatArray, posteriors: FloatArray
    ) -> Sequence[Query | None]:
        """What `verified` queries, for each of these streams; None where there is no candidate."""
        for stream, new in zip(chosen, features, strict=True):
            self._recent[stream].append(new)
        heights = posteriors.take(self._keywords, axis=2)
        if not heights.max() > CANDIDATE_HYSTERESIS * self._candidate:  # as nearly always
            if self._running:
                self._levels[chosen] = self._candidate
                self._running = bool((self._levels < self._candidate).any())
            return [None] * len(chosen)
        rows = heights.max(axis=2) > self._levels[chosen, None]  # (chosen, steps)
        any_row = np.logical_or.reduce(rows, axis=1)
        self._levels[chosen] = np.where(any_row, CANDIDATE_HYSTERESIS, 1.0) * self._candidate
        self._running = True
        return [
            Query(rows[place], tuple(self._recent[stream])) if any_row[place] else None
            for place, stream in enumerate(chosen)
        ]
