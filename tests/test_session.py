"""A source, a detector and outputs joined: what the outputs are told, and when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tone_model import tone

from kws import Detection, Detector
from kws.app.events import End, Event, Paused, Ready, Resumed
from kws.app.outputs import Outputs
from kws.app.session import Observers, Session
from kws.app.signals import StopSignals
from kws.audio.events import SourceEvent
from kws.audio.gap import Gap
from kws.config import SAMPLE_RATE
from kws.errors import AudioError

PAUSE = np.zeros(SAMPLE_RATE, np.int16)
WORDS = [PAUSE, tone("low"), PAUSE, tone("high"), PAUSE]


class Told:
    """An output that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def put(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def words(self) -> list[str]:
        return [event.keyword for event in self.events if isinstance(event, Detection)]


@pytest.fixture
def told() -> Told:
    """What the outputs were told."""
    return Told()


@pytest.fixture
def session(told: Told) -> Session:
    """One that tells `told`."""
    return Session(Outputs([told]), StopSignals())


@pytest.fixture
def detector(tones: Path) -> Detector:
    """One that knows two pitches."""
    return Detector(tones)


def test_order(session: Session, told: Told, detector: Detector) -> None:
    """Ready with the first block and not before; then the words; then the end, with its sums."""

    def source() -> Iterator[np.ndarray]:
        assert told.events == []
        for index, block in enumerate(WORDS):
            if index == 1:
                assert ["Ready"] == told.names()
            yield block

    end = session.run(detector, source(), "a test")
    assert ["Ready", "Detection", "Detection", "End"] == told.names()
    ready = told.events[0]
    assert isinstance(ready, Ready)
    assert ("a test", "tones", dict(detector.thresholds)) == (
        ready.source,
        ready.manifest.name,
        dict(ready.thresholds),
    )
    assert end == told.events[-1]
    assert ("end", 5.0, 2, 5.0) == (end.reason, end.seconds, end.detections, end.at)
    assert 0.0 == ready.at


def test_the_time_of_day(session: Session, told: Told, detector: Detector) -> None:
    """Words of a source that knows the time have it."""

    class Live:
        def __iter__(self) -> Iterator[np.ndarray]:
            yield from WORDS

        def unix_time(self, stream_seconds: float) -> float:
            return 1000.0 + stream_seconds

    session.run(detector, Live(), "a test")
    words = [event for event in told.events if isinstance(event, Detection)]
    assert [1000.0 + word.end for word in words] == [word.time for word in words]


def test_paused(session: Session, told: Told, detector: Detector) -> None:
    """What is said while it is paused is left out, and the clock goes on."""

    def source() -> Iterator[np.ndarray]:
        for index, block in enumerate(WORDS):
            if index == 1:
                session.pause()
                session.pause()
                assert session.paused
            if index == 2:
                session.resume()
            yield block

    end = session.run(detector, source(), "a test")
    assert ["high"] == told.words()
    (word,) = (event for event in told.events if isinstance(event, Detection))
    assert 3.0 < word.end < 4.7
    assert [(Paused, 1.0), (Resumed, 2.0)] == [
        (type(event), event.at) for event in told.events if isinstance(event, Paused | Resumed)
    ]
    assert (5.0, 5.0) == (end.seconds, end.at)


def test_a_pause_that_ends_by_itself(session: Session, told: Told, detector: Detector) -> None:
    """Its end is told with the stream's time before the block that is processed again."""
    session._pause.pause(1.5)
    session.run(detector, WORDS, "a test")
    assert [0.0, 2.0] == [e.at for e in told.events if isinstance(e, Paused | Resumed)]


def test_gaps(session: Session, told: Told, detector: Detector) -> None:
    """Audio that was lost moves the clock on."""
    source: list[Any] = [PAUSE, Gap(10 * SAMPLE_RATE), PAUSE, tone("low"), PAUSE]
    end = session.run(detector, source, "a test")
    (word,) = (event for event in told.events if isinstance(event, Detection))
    assert 12.0 < word.end < 13.7
    assert (4.0, 14.0) == (end.seconds, end.at)


def test_a_source_that_fails(session: Session, told: Told, detector: Detector) -> None:
    """Its error comes out, and the end says so."""

    def source() -> Iterator[np.ndarray]:
        yield PAUSE
        raise AudioError("the plug is out")

    with pytest.raises(AudioError, match="the plug is out"):
        session.run(detector, source(), "a test")
    assert ["Ready", "End"] == told.names()
    end = told.events[-1]
    assert isinstance(end, End)
    assert ("failed", "the plug is out", 1.0) == (end.reason, end.message, end.seconds)


def test_what_the_source_reports(session: Session, told: Told) -> None:
    """It is passed on, but for its own ready."""
    muted = SourceEvent("muted", 1.0, 5.0, "only zeros")
    session.source_event(SourceEvent("ready", 0.0, 0.0, "listening"))
    session.source_event(muted)
    assert [muted] == told.events


def test_several_observers(detector: Detector, tones: Path) -> None:
    """Each is told of each hop."""

    class Counter:
        def __init__(self) -> None:
            self.hops = self.words = 0

        def observe(self, audio: Any, rows: Any, fired: Any) -> None:
            self.hops += 1
            self.words += len(fired)

    first, second = Counter(), Counter()
    list(Detector(tones, observer=Observers([first, second])).listen(WORDS))
    assert first.words == second.words == 2
    assert first.hops == second.hops > 60
