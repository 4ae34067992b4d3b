"""Verification put off until it could make a detection, which for most candidates it never does.

Rows with a candidate, and all after them, wait before the decision. Were all that is not verified
yet sure of every keyword and silent about other speech, and no score reached its threshold all the
same, then nothing is detected in them whatever the verifier would return. Else it is queried, and
the rows are decided: the same detections, in the same call, as though each candidate had been
verified as it came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kws.decision import Deciders, Detection
from kws.frontend import FloatArray
from kws.gated_stream import GatedRows
from kws.verifier import Query, Verifier


@dataclass
class _Waiting:
    """Rows of one stream that have not been decided."""

    posteriors: FloatArray  # (rows, labels), the caller's where there is a query
    levels: FloatArray  # (rows,)
    query: Query | None

    def bound(self, extreme: float) -> FloatArray:
        """The posteriors, and this for all that the verifier could return otherwise."""
        if self.query is None:
            return self.posteriors
        return np.where(self.query.rows[:, None], np.float32(extreme), self.posteriors)


class LateVerification:
    """Decides rows of a fixed number of streams, whose queries of the verifier are still open."""

    def __init__(self, deciders: Deciders, verifier: Verifier) -> None:
        self._deciders, self._verifier = deciders, verifier
        self._waiting: dict[int, deque[_Waiting]] = {}  # of the streams that have any

    def reset(self, stream: int) -> None:
        """Forget what waits of one stream."""
        self._waiting.pop(stream, None)

    def decide(self, rows: GatedRows) -> list[tuple[int, Detection]]:
        """What one hop of some streams decides, as `kws.keyword_streams.decide`."""
        waits = [
            query is not None or stream in self._waiting
            for stream, query in zip(rows.streams, rows.queries, strict=True)
        ]
        if not any(waits):
            return decide(self._deciders, rows)
        found = []
        if not all(waits):
            kept = [place for place, wait in enumerate(waits) if not wait]
            found = decide(self._deciders, _some(rows, kept))
        for place, wait in enumerate(waits):
            if wait:
                found += self._decide_one(rows, place)
        return sorted(found, key=lambda each: each[0])

    def _decide_one(self, rows: GatedRows, place: int) -> list[tuple[int, Detection]]:
        stream, rested = rows.streams[place], rows.rested[place]
        waiting = self._waiting.setdefault(stream, deque())
        if rested >= self._deciders.history:  # nothing before it has an effect
            self._deciders.rest(stream, _length(waiting))
            waiting.clear()
        new = _Waiting(rows.posteriors[place], rows.levels[place], rows.queries[place])
        if not waiting:
            self._deciders.rest(stream, rested)
        elif rested:
            silence = np.zeros((rested, new.posteriors.shape[1]), np.float32)
            waiting.append(_Waiting(silence, np.zeros(rested, np.float32), None))
        waiting.append(new)
        # What is left of a detected word arms it again, or does not: that has to be known.
        steps = len(new.levels)
        if not self._deciders.is_armed(stream):
            self._verify(waiting)
        # Most calls while rows wait end at the first of these, which costs next to nothing.
        while self._deciders.could_be_up(new.bound(1.0)) and self._could_detect(
            stream, waiting, steps
        ):
            latest = _latest(waiting, self._deciders.smoothed + steps)
            queries = [each for each in latest if each.query]
            # One after the other: a few that say no are enough. Earlier speech counts at last.
            self._verify([queries[len(queries) // 2]] if queries else waiting)
            if not queries:
                break
        if any(each.query for each in waiting):
            self._pass_over(stream, waiting)
            return []
        del self._waiting[stream]
        posteriors = np.concatenate([each.posteriors for each in waiting])
        levels = np.concatenate([each.levels for each in waiting])
        return self._deciders.update([stream], posteriors[None], levels[None])

    def _could_detect(self, stream: int, waiting: Sequence[_Waiting], new: int) -> bool:
        highest, lowest = (
            np.concatenate([each.bound(extreme) for each in waiting]) for extreme in (1.0, 0.0)
        )
        levels = np.concatenate([each.levels for each in waiting])
        return self._deciders.could_detect(stream, highest, lowest, levels, new)

    def _verify(self, waiting: Sequence[_Waiting]) -> None:
        """Query the verifier about all of these."""
        asked = {place: each.query for place, each in enumerate(waiting) if each.query}
        if not asked:
            return
        returned = self._verifier.returned(list(asked.values()))
        for (place, query), row in zip(asked.items(), returned, strict=True):
            each = waiting[place]
            each.posteriors = np.where(query.rows[:, None], row, each.posteriors)
            each.query = None

    def _pass_over(self, stream: int, waiting: deque[_Waiting]) -> None:
        """Take rows as silence that are too old to have an effect."""
        while _length(waiting) - len(waiting[0].levels) >= self._deciders.history:
            self._deciders.rest(stream, len(waiting.popleft().levels))


def decide(deciders: Deciders, rows: GatedRows) -> list[tuple[int, Detection]]:
    """What one hop of some streams decides, and in which of them.

    The one place where decisions take the rows of a running stream.
    """
    for stream, rested in zip(rows.streams, rows.rested, strict=True):
        if rested:
            deciders.rest(stream, rested)
    return deciders.update(rows.streams, rows.posteriors, rows.levels)


def _some(rows: GatedRows, places: Sequence[int]) -> GatedRows:
    """The rows of some of the streams."""
    return replace(
        rows,
        streams=[rows.streams[place] for place in places],
        rested=[rows.rested[place] for place in places],
        posteriors=rows.posteriors[places],
        unverified=rows.unverified[places],
        features=rows.features[places],
        levels=rows.levels[places],
        queries=[rows.queries[place] for place in places],
    )


def _length(waiting: Sequence[_Waiting]) -> int:
    return sum(len(each.levels) for each in waiting)


def _latest(waiting: Sequence[_Waiting], rows: int) -> Sequence[_Waiting]:
    """The last of them, so many rows or, since some have more, a few more."""
    first = len(waiting)
    while first and rows > 0:
        first -= 1
        rows -= len(waiting[first].levels)
    return list(waiting)[first:]
