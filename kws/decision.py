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
# So far below its loudest a word is over, and up to so far another begins, after so many rows.
PAUSE_DB, ONSET_DB, RUN_ROWS = 12.0, 8.0, 80 // STEP_MS
APART_ROWS = 400 // STEP_MS  # from one word's onset to that of the next, at least
RISE_ROWS = 300 // STEP_MS  # from the onset of a word to the rise of its posterior, at most
_ROUNDING = 1e-5  # by which a mean may differ that was added up in another order
LEVEL_ROWS = 400 // STEP_MS  # a row of posteriors is about the loudest of so many up to it


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
      what is left of the word, is no longer other speech. Speech counts in full as far as
      `loud_db` below the word, and not at all from `faint_db` on;
    * its posterior itself is not below `release` times the threshold, and has been that high for
      no longer than `longest_ms`: what stays longer than a word can is a noise;
    * it is armed: since it was detected last, its posterior has been lower than that for
      `rearm_ms`, because a word stays in the network's window for most of a second. Or the word
      has been said again meanwhile: by the levels it ended more than `hold_ms` ago, something as
      loud began APART_ROWS or more after its onset, and the posterior has not fallen;
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
        # What is kept of a row: each keyword's posterior, and then how much of it is other speech
        # and its level. In silence all of it is zero.
        self._uses_context = UNKNOWN in labels and config.context_ms >= STEP_MS
        self._uses_levels = config.faint_db > 0.0 or config.hold_ms > 0
        self._context = len(self._keywords)  # its column
        width = self._context + self._uses_context + self._uses_levels
        columns = [*self._keywords, *([UNKNOWN] if self._uses_context else [])]
        numbers = [labels.index(label) for label in columns]
        # The level takes the place of what the last one picks.
        self._columns = np.array([*numbers, *([0] if self._uses_levels else [])], np.intp)
        self._thresholds = np.full(width, config.threshold)
        self._thresholds[: self._context] = [
            thresholds.get(keyword, config.threshold) for keyword in self._keywords
        ]
        self._released = (self._thresholds * config.release).astype(np.float32)
        self._released[self._context :] = np.inf  # never up
        for column, keyword in enumerate(self._keywords):
            if keywords is not None and keyword not in keywords:
                self._released[column] = np.inf
        self.smoothed = max(1, _rows(config.smoothing_ms))
        self._context_end = self.smoothed + _rows(config.lead_ms)  # rows ago
        self._context_begin = self._context_end + _rows(config.context_ms)
        self._longest = max(1, _rows(config.longest_ms))
        self._rearming = max(1, _rows(config.rearm_ms))
        oldest = self._context_begin + LEVEL_ROWS - 1
        self._held = _rows(config.hold_ms)
        # Rows that have an effect; what is older has none.
        self.history = max(oldest, self._longest + 1, self._rearming, 2 * self._held)
        self._silence = np.zeros((1, self.history, len(labels)), np.float32)
        self._rows = np.zeros((streams, self.history, width), np.float32)
        self._armed = np.ones((streams, width), bool)
        self._disarmed = False  # whether any is
        self._count = [0] * streams  # rows since the stream began
        self._refractory_until = [0] * streams  # the row in which something may be detected again
        self._onset = [0] * streams  # rows before the word that was detected last
        # The row before which a posterior counts as low: it was that of the word before.
        self._since = np.zeros((streams, width), np.int64)

    def reset(self, stream: int) -> None:
        """Forget the rows and detections of one stream."""
        self._rows[stream] = 0.0
        self._armed[stream] = True
        self._since[stream] = 0
        self._count[stream] = self._refractory_until[stream] = self._onset[stream] = 0

    def rest(self, stream: int, rows: int) -> None:
        """Let so many steps of one stream pass in which the gate was closed."""
        kept = min(rows, self.history)
        if kept > 0:
            self.update([stream], self._silence[:, :kept])
            self._count[stream] += rows - kept

    def is_armed(self, stream: int) -> bool:
        """Whether no keyword of a stream waits for the end of the word that was detected."""
        return not self._disarmed or bool(self._armed[stream].all())

    def could_be_up(self, posteriors: FloatArray) -> bool:
        """Whether any of these (rows, labels) is so high that a keyword may be detected in it."""
        keywords = posteriors.take(self._columns[: self._context], axis=1)
        return bool(np.count_nonzero(keywords >= self._released[: self._context]))

    def could_detect(
        self, stream: int, highest: FloatArray, lowest: FloatArray, levels: FloatArray, new: int
    ) -> bool:
        """Whether a keyword's score may reach its raised threshold in the last `new` of some rows.

        Without that none is detected in them. The rows are the next ones of a stream, and are not
        taken: their posteriors lie between `lowest` and `highest` (rows, labels), and `levels`
        (rows,) are those of `update`.
        """
        rows = _finite(highest).take(self._columns[: self._context], axis=1)
        rows = np.concatenate((self._rows[stream, :, : self._context], rows))
        rows = rows[-(new + self.smoothed - 1) :]
        up = rows[-new:] >= self._released[: self._context] - _ROUNDING
        sums = np.cumsum(rows, axis=0, dtype=np.float64)
        sums[self.smoothed :] -= sums[: -self.smoothed]
        scores = sums[-new:] / self.smoothed + _ROUNDING
        thresholds = self._thresholds[: self._context]
        reached = up & (scores >= thresholds)
        if not reached.any():
            return False
        past = np.concatenate((self._rows[[stream]], self._kept(lowest[None], levels[None])), 1)
        for index in np.flatnonzero(np.logical_or.reduce(reached, axis=1)).tolist():
            speech = self._speech(past[:, : past.shape[1] - new + 1 + index])
            needed = thresholds + np.ravel(speech) * (1.0 - thresholds)
            if (reached[index] & (scores[index] >= needed)).any():
                return True
        return False

    def _kept(self, posteriors: FloatArray, levels: FloatArray | None) -> FloatArray:
        """What is kept of rows (streams, rows, labels)."""
        kept = _finite(posteriors).take(self._columns, axis=2)
        if self._uses_context:
            kept[..., self._context] += _keyword_context(kept[..., : self._context])
        if self._uses_levels:
            kept[..., -1] = 0.0 if levels is None else levels
        return kept

    def update(
        self, streams: Sequence[int], posteriors: FloatArray, levels: FloatArray | None = None
    ) -> list[tuple[int, Detection]]:
        """Take the next rows (streams, rows, labels), one per 20 ms, of these streams.

        `streams` are their numbers, ascending. `levels` (streams, rows) are what
        `kws.frontend.step_levels` makes of the same 20 ms, in dB; None, all the time, where there
        are none: then all speech counts as though it were as loud as the word. Returns what has
        been spoken, and in which of them.
        """
        everyone = len(streams) == len(self._armed)
        new = self._kept(posteriors, levels)
        before = self._rows if everyone else self._rows.take(streams, axis=0)
        rows = np.concatenate((before, new), axis=1)
        if everyone:
            self._rows = rows[:, -self.history :]
        else:
            self._rows[streams] = rows[:, -self.history :]
        for stream in streams:
            self._count[stream] += new.shape[1]
        # Most rows are far from any decision, and this is all that they cost.
        up: NDArray[np.bool_] = np.greater_equal(new, self._released)
        if not self._disarmed and not np.count_nonzero(up):  # a quarter of the time of `any`
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
            past = rows[:, : self.history + index + 1]
            if disarmed:
                self._leave_out(past[:, -1], ~armed)
                armed |= (past[:, -self._rearming :] < self._released).all(axis=1)
                if self._held:
                    self._arm_repeated(streams, past, armed, [each + index + 1 for each in first])
                disarmed = not armed.all()
            if not raised[index]:
                continue
            since = self._since[streams] - np.array(first)[:, None] - index - 1
            for place, best, score, rise in self._spoken(past, up[:, index] & armed, since):
                stream, count = streams[place], first[place] + index + 1
                if count <= self._refractory_until[stream]:
                    continue
                self._onset[stream] = count - rise - RISE_ROWS
                self._refractory_until[stream] = count + _rows(self.config.refractory_ms) - 1
                armed[place, best] = False
                disarmed = changed = True
                if self._uses_context:  # all of it so far has led to this
                    past[place, :, self._context] = 0.0
                detection = Detection(
                    keyword=self._keywords[best],
                    score=score,
                    start=max(0, (count - rise) * STEP_MS - WORD_MS) / 1000.0,
                    end=count * STEP_MS / 1000.0,
                )
                detections.append((stream, detection))
        if changed:
            self._rows[streams] = rows[:, -self.history :]
        self._armed[streams] = armed
        self._disarmed = not self._armed.all()
        return detections

    def _arm_repeated(
        self,
        streams: Sequence[int],
        rows: FloatArray,
        armed: NDArray[np.bool_],
        counts: Sequence[int],
    ) -> None:
        """Arm keywords (streams, kept) that the last of these rows shows to be said once more."""
        for place in np.flatnonzero(~armed.all(axis=1)).tolist():
            stream, count = streams[place], counts[place]
            before = max(self._onset[stream], count - self.history, 0)
            if count - before < self._held:
                continue
            again = repeated_onset(rows[place, before - count :, -1].tolist(), self._held)
            if again is not None:
                self._since[stream, ~armed[place]] = before + again + RISE_ROWS + 1
                armed[place] = True

    def _leave_out(self, row: FloatArray, keywords: NDArray[np.bool_]) -> None:
        """Take what these keywords (streams, kept) have of a row (streams, kept) from its speech:
        the rest of a word that has been detected."""
        if self._uses_context:
            own = (row * keywords)[:, : self._context]
            row[:, self._context] -= _keyword_context(own)

    def _spoken(
        self, rows: FloatArray, up: NDArray[np.bool_], since: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, float, int]]:
        """What the last of these rows (streams, rows, kept) decides, where it may.

        `up` (streams, kept) tells which armed keywords are, `since` (streams, kept), 0 for the last
        row and less for those before, from where on. Yields the place of the stream, the keyword's
        column, its score, and how many rows ago its posterior rose.
        """
        if not up.any():
            return
        scores = _mean(rows[:, -self.smoothed :])
        reached: NDArray[np.bool_] = up & np.greater_equal(scores, self._thresholds)
        (some,) = np.logical_or.reduce(reached, axis=1).nonzero()
        if not len(some):  # as in most rows; the rest can only forbid what this allows
            return
        rows, scores = rows[some], scores[some]
        needed = self._thresholds + self._speech(rows) * (1.0 - self._thresholds)
        high = rows[:, -self._longest - 1 :] >= self._released
        high &= np.arange(-self._longest, 1)[:, None] >= since[some, None]
        spoken = up[some] & ~high.all(axis=1) & (scores >= needed)
        (ready,) = np.logical_or.reduce(spoken, axis=1).nonzero()
        for which in ready.tolist():
            best = int(np.where(spoken[which], scores[which], -1.0).argmax())
            rise = int(high[which, ::-1, best].argmin())
            yield int(some[which]), best, float(scores[which, best]), rise

    def _speech(self, rows: FloatArray) -> NDArray[np.float64] | float:
        """How much the thresholds rise on the way to 1, (streams, 1), for earlier speech."""
        if not self._uses_context:
            return 0.0
        now = rows.shape[1]
        begin, end = now - self._context_begin, now - self._context_end
        context = rows[:, begin:end, self._context]
        if self.config.faint_db > 0.0:
            first = begin - LEVEL_ROWS + 1
            context = context * context_weights(
                rows[:, first:end, -1], rows[:, end:, -1], self.config
            )
        return self.config.isolation * _mean(context[..., None])


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

    def update(self, posteriors: FloatArray, levels: FloatArray | None = None) -> list[Detection]:
        """Take the next rows (rows, labels), one per 20 ms; returns what has been spoken.

        `levels` (rows,) are as in Deciders."""
        level = None if levels is None else levels[None]
        return [detection for _, detection in self._one.update([0], posteriors[None], level)]


def repeated_onset(levels: Sequence[float], held: int) -> int | None:
    """Where a word was said once more, as an index into `levels`; None where it was not.

    `levels` in dB, one per row, begin with the first word. That ended at least `held` rows ago.
    What begins less than APART_ROWS after it is part of it: "stop" is silent before its t.
    """
    loudest = max(levels)
    loud = [loudest - level <= ONSET_DB for level in levels]
    faint = [loudest - level > PAUSE_DB for level in levels]
    word = _run(loud, 0)
    pause = _run(faint, word)
    onset = _run(loud, pause)
    while onset < min(word + APART_ROWS, len(levels)):
        pause = _run(faint, onset)
        onset = _run(loud, pause)
    enough = len(levels) - pause >= held and len(levels) - onset > RISE_ROWS
    return onset if enough else None


def _run(flags: Sequence[bool], first: int) -> int:
    """From `first` on, where RUN_ROWS in a row are true; the end where they never are."""
    run = 0
    for index in range(first, len(flags)):
        run = run + 1 if flags[index] else 0
        if run == RUN_ROWS:
            return index + 1 - RUN_ROWS
    return len(flags)


def context_weights(context: FloatArray, word: FloatArray, config: DecisionConfig) -> FloatArray:
    """How much each row of a context counts, (streams, rows), in [0, 1].

    By levels in dB, (streams, rows): of the context and the LEVEL_ROWS - 1 rows before it, and of
    the word and what followed.
    """
    nearby = np.lib.stride_tricks.sliding_window_view(context, LEVEL_ROWS, axis=1)
    below = word.max(axis=1, keepdims=True) - nearby.max(axis=2)
    weights: FloatArray = np.clip(
        (config.faint_db - below) / (config.faint_db - config.loud_db), 0.0, 1.0
    )
    return weights


def _finite(posteriors: FloatArray) -> FloatArray:
    """A network that fails for a moment neither fires nor spoils every mean after it."""
    if math.isfinite(posteriors.sum()):
        return posteriors
    return np.nan_to_num(posteriors, posinf=0.0, neginf=0.0)


def _keyword_context(rows: FloatArray) -> FloatArray:
    """What keywords (..., keywords) add to other speech (...)."""
    speech: FloatArray = np.add.reduce(rows, axis=-1) * np.float32(KEYWORD_CONTEXT_WEIGHT)
    return speech


def _mean(rows: FloatArray) -> NDArray[np.float64]:
    """Over the second axis; of a few rows, a third of the time of `ndarray.mean`."""
    mean: NDArray[np.float64] = np.add.reduce(rows, axis=1, dtype=np.float64) / rows.shape[1]
    return mean


def _rows(milliseconds: int) -> int:
    return milliseconds // STEP_MS
