"""Figures of merit of a detector on streams, from what was spoken and what was detected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kws.decision import Detection
from kws.evaluation.intervals import poisson_interval
from kws.evaluation.scenes import Spoken

SLACK = 1.0  # seconds after a word's end within which its detection must come


@dataclass(frozen=True)
class Outcome:
    """What became of the words of one or more streams, and what else was detected."""

    hits: tuple[tuple[Spoken, Detection], ...]
    substituted: tuple[tuple[Spoken, Detection], ...]  # another word was detected in its place
    missed: tuple[Spoken, ...]
    false_accepts: tuple[Detection, ...]  # nothing, or nothing more, was spoken there

    @property
    def spoken(self) -> int:
        """How many words were spoken."""
        return len(self.hits) + len(self.substituted) + len(self.missed)

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.hits + other.hits,
            self.substituted + other.substituted,
            self.missed + other.missed,
            self.false_accepts + other.false_accepts,
        )

    def figures(self) -> dict[str, Any]:
        """Shares in [0, 1] and delays in seconds from the word's end, for JSON; None of nothing.

        A miss is any word that was not detected as itself. The word error rate counts
        substitutions, deletions and insertions over the words spoken.
        """
        count = self.spoken
        errors = len(self.substituted) + len(self.missed) + len(self.false_accepts)
        delays = [detection.end - spoken.end for spoken, detection in self.hits]
        return {
            "spoken": count,
            "hits": len(self.hits),
            "substitutions": len(self.substituted),
            "deletions": len(self.missed),
            "insertions": len(self.false_accepts),
            "miss_rate": 1.0 - len(self.hits) / count if count else None,
            "word_error_rate": errors / count if count else None,
            "delay_median_s": float(np.median(delays)) if delays else None,
            "delay_95_s": float(np.percentile(delays, 95)) if delays else None,
        }


NOTHING = Outcome((), (), (), ())


def match(spoken: Sequence[Spoken], detections: Sequence[Detection]) -> Outcome:
    """Give each word at most one detection: its own word where there is one, else another.

    A detection can belong to a word that began before it and ended at most SLACK earlier. Both
    sequences are in order of time.
    """
    free = list(detections)
    found: dict[int, Detection] = {}
    for same_word in (True, False):
        for index, word in enumerate(spoken):
            if index in found:
                continue
            for detection in free:
                fits = word.start < detection.end <= word.end + SLACK
                if fits and (detection.keyword == word.word) == same_word:
                    found[index] = detection
                    free.remove(detection)
                    break
    pairs = [(word, found[index]) for index, word in enumerate(spoken) if index in found]
    return Outcome(
        hits=tuple(pair for pair in pairs if pair[0].word == pair[1].keyword),
        substituted=tuple(pair for pair in pairs if pair[0].word != pair[1].keyword),
        missed=tuple(word for index, word in enumerate(spoken) if index not in found),
        false_accepts=tuple(free),
    )


def false_accept_figures(
    detections: Sequence[Detection], hours: float, keywords: Sequence[str]
) -> dict[str, Any]:
    """Of audio without keywords: events, hours, and the exact 95 % interval of the rate.

    And how many events each word has.
    """
    counts = Counter(detection.keyword for detection in detections)
    total = len(detections)
    return {
        "hours": hours,
        "false_accepts": total,
        "false_accepts_per_hour": total / hours if hours else None,
        "interval_95_per_hour": [limit / hours for limit in poisson_interval(total)]
        if hours
        else None,
        "words": {keyword: counts[keyword] for keyword in keywords},
    }
