"""The decision's configuration in the integers of src/decision.c."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kws.config import KEYWORD_CONTEXT_WEIGHT, SILENCE, STEP_MS, UNKNOWN
from kws.decision import LEVEL_ROWS, ONSET_DB, PAUSE_DB
from kws.frontend import DB
from kws.model.manifest import MODES, Manifest


@dataclass(frozen=True)
class DecisionTables:
    """Durations in rows, one per step of the network; posteriors in 256ths."""

    smoothed: int
    context_begin: int  # rows ago
    context_end: int
    longest: int
    rearm: int
    refractory: int
    history: int  # rows after which nothing older matters
    unknown: int  # index of the label
    unknown_weight: int  # of a 256th of it as other speech, where one of a keyword has 1
    keyword_labels: NDArray[np.uint8]  # (keywords,) index of each keyword's label
    released: NDArray[np.uint16]  # (keywords,)
    thresholds: NDArray[np.int64]  # (keywords,) of sums over the smoothed rows, times 2^32
    isolation: NDArray[np.int64]  # (keywords,) per 256th of a keyword in the context, times 2^32
    held: (
        int  # rows after its end in which a word's posterior has fallen; 0: words are not repeated
    )
    # Of what is so many steps of a feature below the word:
    weight_at_word: int  # how much it counts, before it is cut to at most 1, times 65536
    weight_step: int  # less for each step
    pause: int  # steps below its loudest beyond which a word is over
    onset: int  # and up to which another begins


def decision_tables(manifest: Manifest, feature_step: float) -> DecisionTables:
    """The tables for commands spoken alone, at the model's own sensitivity.

    `feature_step` is by how much a stored feature of one more is larger, as a natural logarithm.
    """
    config = manifest.decision
    point = manifest.operating_point(MODES[0])
    thresholds = np.array([point[keyword] for keyword in manifest.keywords])
    smoothed = max(1, _rows(config.smoothing_ms))
    context_end = smoothed + _rows(config.lead_ms)
    context = _rows(config.context_ms)
    longest, rearm = max(1, _rows(config.longest_ms)), max(1, _rows(config.rearm_ms))
    hears_unknown = UNKNOWN in manifest.labels and context > 0
    per_row = (
        config.isolation * KEYWORD_CONTEXT_WEIGHT * smoothed / context if hears_unknown else 0.0
    )
    released = (thresholds * config.release).astype(np.float32)
    held = _rows(config.hold_ms)
    step_db = feature_step * DB
    # As kws.decision.context_weights: a line that falls from 1 at loud_db to 0 at faint_db.
    slope = 65536 / (config.faint_db - config.loud_db) if config.faint_db > 0.0 else 0.0
    return DecisionTables(
        smoothed=smoothed,
        context_begin=context_end + context,
        context_end=context_end,
        longest=longest,
        rearm=rearm,
        refractory=_rows(config.refractory_ms),
        history=max(context_end + context + LEVEL_ROWS - 1, longest + 1, rearm, 2 * held),
        unknown=manifest.labels.index(UNKNOWN) if hears_unknown else 0,
        unknown_weight=round(1 / KEYWORD_CONTEXT_WEIGHT),
        keyword_labels=np.array(
            [i for i, label in enumerate(manifest.labels) if label not in (SILENCE, UNKNOWN)],
            np.uint8,
        ),
        released=np.ceil(released.astype(np.float64) * 256).astype(np.uint16),
        thresholds=np.rint(thresholds * (256 * smoothed) * 2.0**32).astype(np.int64),
        isolation=np.rint(per_row * (1.0 - thresholds) * 2.0**32).astype(np.int64),
        held=held,
        weight_at_word=round(slope * config.faint_db) if slope else 65536,
        weight_step=round(slope * step_db),
        pause=math.floor(PAUSE_DB / step_db),
        onset=math.floor(ONSET_DB / step_db),
    )


def _rows(milliseconds: int) -> int:
    return milliseconds // STEP_MS
