"""Verification that is put off: the same detections as at once, with fewer queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from kws import Detector, DetectorPool
from kws.audio import AudioFile
from kws.config import DecisionConfig
from kws.decision import Deciders, Detection
from kws.demo import RECORDING
from kws.detector import Int16Array
from kws.frontend import FloatArray
from kws.gated_stream import GatedRows
from kws.late_verification import LateVerification, decide
from kws.model.load import Model, load_model
from kws.verifier import Query

LABELS = ("stop", "go", "silence", "unknown")
STEPS = 3


class Observer:
    """Sees the posteriors, for which they are verified at once."""

    def observe(self, audio: Any, rows: Any, fired: Any) -> None:
        pass


class Known:
    """A verifier whose results lie in the queries."""

    queries = 0

    def returned(self, queries: Sequence[Query]) -> FloatArray:
        self.queries += len(queries)
        return np.stack([query.second[0] for query in queries])


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def demonstration() -> Int16Array:
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))


def queries_of(detector: Detector | DetectorPool) -> int:
    verifier = detector._streams._streams.verifier
    assert verifier is not None
    return verifier.queries


@pytest.mark.parametrize("vad", [True, False])
@pytest.mark.parametrize("threshold", [None, 0.1, 1.0])
def test_the_demonstration(
    shipped: Model, demonstration: Int16Array, vad: bool, threshold: float | None
) -> None:
    """Words, speech between them and pauses, at thresholds that let much or nothing through."""
    at_once = Detector(shipped, threshold=threshold, vad=vad, observer=Observer())
    later = Detector(shipped, threshold=threshold, vad=vad)
    expected = list(at_once.listen([demonstration]))
    assert expected == list(later.listen([demonstration]))
    assert bool(expected) == (threshold != 1.0)
    assert queries_of(later) <= queries_of(at_once)
    if threshold == 1.0:
        pool = DetectorPool(shipped, 1, threshold=threshold, vad=vad)
        assert [] == pool.process([demonstration])[0] + pool.finish(0)
        assert queries_of(pool) == queries_of(later) < queries_of(at_once) / 2


def test_in_the_call_in_which_it_is_spoken(shipped: Model, demonstration: Int16Array) -> None:
    """No detection comes later than it would."""
    at_once, later = Detector(shipped, observer=Observer()), Detector(shipped)
    for start in range(0, len(demonstration), 1280):
        block = demonstration[start : start + 1280]
        assert at_once.process(block) == later.process(block)


def hops(generator: np.random.Generator, streams: int) -> Iterator[tuple[GatedRows, GatedRows]]:
    """Rows that are still to be verified, and the same ones verified."""
    level = np.zeros(streams)
    for _ in range(150):
        chosen = [each for each in range(streams) if generator.random() < 0.9]
        if not chosen:
            continue
        rested = [int(generator.choice((0, 0, 0, 0, 0, 0, 7, 40, 300))) for _ in chosen]
        level = np.clip(level + generator.normal(0.0, 0.25, streams), 0.0, 1.0)
        rows = generator.uniform(0.0, 0.2, (len(chosen), STEPS, len(LABELS)))
        rows[..., 0] += level[chosen, None]
        rows[..., 2] += 1.0 - level[chosen, None]
        rows = (rows / rows.sum(axis=2, keepdims=True)).astype(np.float32)
        if generator.random() < 0.02:
            rows[0, 0] = np.nan
        mask = rows[..., :2].max(axis=2) > 0.3
        truth = generator.dirichlet((3.0, 0.2, 0.2, 0.5), len(chosen)).astype(np.float32)
        queries = [
            Query(mask[place], (truth[place],)) if mask[place].any() else None
            for place in range(len(chosen))
        ]
        levels = generator.uniform(20.0, 60.0, (len(chosen), STEPS)).astype(np.float32)
        features = np.zeros((len(chosen), 8, 40), np.float32)
        verified = np.where(mask[..., None], truth[:, None], rows)
        yield (
            GatedRows(chosen, rested, rows, rows, features, levels, queries),
            GatedRows(chosen, rested, verified, rows, features, levels),
        )


@pytest.mark.parametrize("seed", range(12))
def test_any_rows(seed: int) -> None:
    """Random walks of posteriors with gaps and failing networks, of one stream and of three."""
    generator = np.random.default_rng(seed)
    streams = 1 if seed % 2 else 3
    config = DecisionConfig(threshold=0.6, smoothing_ms=160, faint_db=12.0, isolation=0.5)
    verifier = Known()
    patient = Deciders(LABELS, {}, config, streams)
    late = LateVerification(patient, verifier)  # type: ignore[arg-type]  # all that it uses
    deciders = Deciders(LABELS, {}, config, streams)
    expected: list[Detection] = []
    asked = 0
    for still_open, verified in hops(generator, streams):
        found = sorted(decide(deciders, verified), key=lambda each: each[0])
        assert found == late.decide(still_open)
        expected += [detection for _, detection in found]
        asked += sum(query is not None for query in still_open.queries)
    assert expected
    assert 0 < verifier.queries < asked
