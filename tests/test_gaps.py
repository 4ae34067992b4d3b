"""Lost audio: the clock goes on, the rest begins afresh, and detections know the time of day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kws import Detection, Detector, load_model
from kws.audio import AudioFile
from kws.audio.gap import Gap
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.errors import KwsError
from kws.keyword_streams import silence_after
from kws.model.load import Model
from kws.pool import DetectorPool

pytest.importorskip("onnxruntime")

Int16Array = NDArray[np.int16]
LOST = 50_001  # samples, no whole number of hops


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped model."""
    return load_model()


@pytest.fixture(scope="module")
def demonstration() -> Int16Array:
    """Ten seconds of the recording of `kws listen --demo`."""
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))[: 10 * SAMPLE_RATE]


def later(detections: Sequence[Detection], samples: int) -> list[Detection]:
    """The detections, so many samples later."""
    seconds = samples / SAMPLE_RATE
    return [
        replace(each, start=each.start + seconds, end=each.end + seconds) for each in detections
    ]


@pytest.mark.parametrize("cut", [0, 1, 40_000, 40_001])
def test_both_sides_are_streams_of_their_own(
    cut: int, model: Model, demonstration: Int16Array
) -> None:
    """What is before and after the gap is detected as in two recordings, on one clock."""
    before, after = demonstration[:cut], demonstration[cut:]
    first, second = (list(Detector(model).listen([part])) for part in (before, after))
    assert second
    expected = [*first, *later(second, cut + LOST)]
    detector = Detector(model)
    found = list(detector.listen([before, Gap(LOST), after]))
    assert [each.keyword for each in expected] == [each.keyword for each in found]
    for one, other in zip(expected, found, strict=True):
        assert replace(one, start=0, end=0) == replace(other, start=0, end=0)
        assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=1e-9)
    pool = DetectorPool(model, 2)
    pooled = pool.process([before, demonstration])[0] + pool.skip(0, LOST)
    pooled += pool.process([after, None])[0] + pool.finish(0)
    assert found == pooled


def test_gaps_add_up_and_a_reset_forgets_them(model: Model, demonstration: Int16Array) -> None:
    """Each gap moves the clock; a new stream begins at 0 s."""
    detector = Detector(model)
    expected = list(detector.listen([demonstration]))
    assert [] == detector.skip(SAMPLE_RATE) == detector.skip(2 * SAMPLE_RATE - 1)
    assert [] == detector.skip(1)
    found = detector.process(demonstration) + detector.finish()
    assert later(expected, 3 * SAMPLE_RATE) == found
    assert expected == detector.process(demonstration) + detector.finish()


def test_the_time_of_day(model: Model, demonstration: Int16Array) -> None:
    """A source that knows when it was recorded gives detections their time; others give none."""

    class Timed:
        def __iter__(self) -> Iterator[Int16Array | Gap]:
            yield demonstration[:40_000]
            yield Gap(LOST)
            yield demonstration[40_000:]

        def unix_time(self, stream_seconds: float) -> float:
            return 1e9 + stream_seconds

    detector = Detector(model)
    timed = list(detector.listen(Timed()))
    assert timed
    assert [1e9 + each.end for each in timed] == [each.time for each in timed]
    untimed = list(detector.listen(list(Timed())))
    assert [replace(each, time=None) for each in timed] == untimed


def test_the_silence_at_the_end(model: Model) -> None:
    """It is as long as the gate's hangover, to the sample."""
    for hangover_ms, samples in ((700, 11_200), (1, 16), (0, 0)):
        vad = replace(model.manifest.vad, hangover_ms=hangover_ms)
        assert samples == len(silence_after(replace(model.manifest, vad=vad)))


@pytest.mark.parametrize("samples", [0, -1])
def test_a_gap_of_nothing(samples: int, model: Model) -> None:
    """At least one sample must be lost."""
    with pytest.raises(ValueError, match=f"expected at least 1 lost sample, got {samples}"):
        Detector(model).skip(samples)


def test_a_gap_of_no_whole_number(model: Model) -> None:
    """Samples are counted."""
    with pytest.raises(TypeError, match="float"):
        Detector(model).skip(1.5)  # type: ignore[arg-type]


def test_no_gap_after_close(model: Model) -> None:
    """A closed detector has no clock."""
    detector = Detector(model)
    detector.close()
    with pytest.raises(KwsError, match="is closed"):
        detector.skip(1)
