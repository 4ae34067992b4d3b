"""Listener and AudioFeed: the forms in which an app gets its keywords."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from tone_model import tone

from kws import Detection, Detector, KwsError, Listener
from kws.app.feed import AudioFeed
from kws.audio import AudioFile
from kws.audio.gap import Gap
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.errors import AudioError

PAUSE = np.zeros(SAMPLE_RATE, np.int16)
TWO = np.concatenate([PAUSE, tone("low"), PAUSE, tone("high"), PAUSE])


class Words:
    """A source that repeats two words, a hop at a time, until it is closed; then it waits."""

    name = "words"

    def __init__(self, audio: np.ndarray = TWO, ends: bool = True) -> None:
        self.audio, self.ends = audio, ends
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        for begin in range(0, len(self.audio), 1280):
            yield self.audio[begin : begin + 1280]
        if not self.ends:
            self.closed.wait(20.0)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def detector(tones: Path) -> Detector:
    """One that knows two pitches."""
    return Detector(tones)


def threads() -> list[str]:
    """The names of the listener's threads that run."""
    names = [each.name for each in threading.enumerate()]
    # One thread of the process stays once PortAudio was loaded: it reads what that prints.
    return [name for name in names if name.startswith("kws") and name != "kws-stderr"]


class TestIterator:
    def test_words(self, detector: Detector) -> None:
        """Both words, in their order, and again the next time."""
        with Listener(Words(), detector=detector) as listener:
            assert ["low", "high"] == [detection.keyword for detection in listener]
            assert ["low", "high"] == [detection.keyword for detection in listener]

    def test_left_and_taken_up_again(self, detector: Detector) -> None:
        """A loop that is left forgets its audio; the next one begins again."""
        with Listener(Words(), detector=detector) as listener:
            for detection in listener:
                assert detection.keyword == "low"
                break
            assert ["low", "high"] == [detection.keyword for detection in listener]

    def test_one_at_a_time(self, detector: Detector) -> None:
        """A second loop within the first is an error that says so."""
        with Listener(Words(), detector=detector) as listener:
            for _ in listener:
                with pytest.raises(KwsError, match="already listens"):
                    next(iter(listener))

    def test_closed_from_another_thread(self, detector: Detector) -> None:
        """`close()` ends the loop although the source still waits."""
        listener = Listener(Words(ends=False), detector=detector)
        timer = threading.Timer(0.5, listener.close)
        timer.start()
        assert ["low", "high"] == [detection.keyword for detection in listener]
        timer.join()
        assert [] == list(listener)


class TestCallbacks:
    def test_each_word_has_its_own(self, detector: Detector) -> None:
        """A word's callback gets the word's detections, on a thread of the listener's."""
        got: list[tuple[str, str]] = []

        def note(detection: Detection) -> None:
            got.append((detection.keyword, threading.current_thread().name))

        with Listener(Words(), detector=detector) as listener:
            listener.on("high", note)
            listener.start()
            assert listener.wait(20.0)
        assert [("high", "kws listener")] == got
        assert [] == threads()

    def test_an_exception_is_logged_and_the_next_word_fires(
        self, detector: Detector, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log names the keyword; a second callback and the next word are not touched."""
        got: list[str] = []

        def fail(detection: Detection) -> None:
            raise RuntimeError("the lamp is gone")

        with Listener(Words(), detector=detector) as listener:
            listener.on("low", fail)
            listener.on("low", lambda detection: got.append(detection.keyword))
            listener.on("high", lambda detection: got.append(detection.keyword))
            listener.start()
            listener.wait(20.0)
        assert ["low", "high"] == got
        (record,) = caplog.records
        assert "a callback for 'low' failed" == record.getMessage()
        assert record.exc_info is not None
        assert "the lamp is gone" in str(record.exc_info[1])

    def test_unknown_words(self, detector: Detector) -> None:
        """A word that is not detected is refused, and the near one named."""
        with Listener(Words(), detector=detector) as listener:
            with pytest.raises(KwsError, match="did you mean 'high'"):
                listener.on("hihg", print)
            with pytest.raises(KwsError, match="it has low, high"):
                listener.on("unknown", print)

    def test_the_end_of_the_source(
        self, detector: Detector, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An error of the source is logged at once and raised by `wait`."""

        def broken() -> Iterator[np.ndarray]:
            yield PAUSE
            raise AudioError("the plug is out")

        with Listener(broken(), detector=detector) as listener:
            listener.start()
            with pytest.raises(AudioError, match="the plug is out"):
                listener.wait(20.0)
        assert [logging.ERROR] == [record.levelno for record in caplog.records]

    def test_a_callback_may_close(self, detector: Detector) -> None:
        """It ends with that word."""
        got: list[str] = []

        def last(detection: Detection) -> None:
            got.append(detection.keyword)
            listener.close()

        listener = Listener(Words(ends=False), detector=detector)
        listener.on("low", last)
        listener.on("high", last)
        listener.start()
        assert listener.wait(20.0)
        assert ["low"] == got

    def test_started_twice(self, detector: Detector) -> None:
        """A second start is an error."""
        with Listener(Words(), detector=detector) as listener:
            listener.start()
            with pytest.raises(KwsError, match="started before"):
                listener.start()
            assert listener.wait(20.0)


class TestAsyncio:
    def test_words(self, detector: Detector) -> None:
        """Both words, and no thread is left."""

        async def run() -> list[str]:
            async with Listener(Words(), detector=detector) as listener:
                return [detection.keyword async for detection in listener]

        assert ["low", "high"] == asyncio.run(run())
        assert [] == threads()

    def test_the_loop_is_not_held_up(self, detector: Detector) -> None:
        """Other tasks run while the source waits; a cancelled one leaves nothing behind."""

        async def run() -> tuple[list[str], int]:
            got: list[str] = []
            listener = Listener(Words(ends=False), detector=detector)

            async def listen() -> None:
                async for detection in listener:
                    got.append(detection.keyword)

            task = asyncio.create_task(listen())
            turns = 0
            while len(got) < 2 or turns < 20:
                await asyncio.sleep(0.01)
                turns += 1
                assert turns < 2000
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return got, turns

        got, _ = asyncio.run(run())
        assert ["low", "high"] == got
        assert [] == threads()

    def test_left_by_break(self, detector: Detector) -> None:
        """A loop that is left can be taken up again, and no thread is left."""

        async def run() -> list[str]:
            got = []
            async with Listener(Words(), detector=detector) as listener:
                async for detection in listener:
                    got.append(detection.keyword)
                    break
                await asyncio.sleep(0.1)
                got += [detection.keyword async for detection in listener]
            return got

        assert ["low", "low", "high"] == asyncio.run(run())
        assert [] == threads()

    def test_an_error_of_the_source(self, detector: Detector) -> None:
        """It comes out of the loop."""

        def broken() -> Iterator[np.ndarray]:
            yield PAUSE
            raise AudioError("the plug is out")

        async def run() -> None:
            async for _ in Listener(broken(), detector=detector):
                pass

        with pytest.raises(AudioError, match="the plug is out"):
            asyncio.run(run())
        assert [] == threads()


def feed_of(
    rate: int, channels: int, sample_format: str, detector: Detector, audio: Any, size: int
) -> list[str]:
    """What is detected in audio that is put into a feed in pieces of so many items."""
    feed = AudioFeed(rate, channels, sample_format=sample_format, max_age=None)
    for begin in range(0, len(audio), size):
        feed.put(audio[begin : begin + size])
    feed.end()
    return [detection.keyword for detection in detector.listen(feed)]


class TestFeed:
    @pytest.mark.parametrize(
        ("rate", "channels", "sample_format"),
        [
            (16_000, 1, "s16le"),
            (48_000, 2, "f32le"),
            (44_100, 1, "s16be"),
            (8_000, 1, "s32le"),
            (22_050, 6, "u8"),
        ],
    )
    def test_any_rate_and_format(
        self, detector: Detector, rate: int, channels: int, sample_format: str
    ) -> None:
        """Bytes of any kind, cut anywhere, and arrays of the same give the same words."""
        audio = soxr.resample(TWO.astype("f4") / 32768, SAMPLE_RATE, rate)
        kind = {"s": "i", "f": "f", "u": "u"}[sample_format[0]]
        order = ">" if sample_format.endswith("be") else "<"
        size = int(sample_format[1:].strip("lbe")) // 8
        if kind == "u":
            samples = np.round(audio * 127 + 128)
        else:
            samples = audio if kind == "f" else audio * (2.0 ** (8 * size - 1) - 256)
        frames = np.repeat(samples[:, None], channels, axis=1).astype(f"{order}{kind}{size}")
        expected = ["low", "high"]
        assert expected == feed_of(
            rate, channels, sample_format, detector, frames.tobytes(), 10_007
        )
        assert expected == feed_of(rate, channels, "s16le", detector, frames, 333)

    @pytest.mark.parametrize(
        ("audio", "says"),
        [
            (np.zeros((2, 480), np.float32), r"expected the shape \(frames, 2\), got \(2, 480\)"),
            (np.zeros(480, np.float32), r"got \(480, 1\)"),
            (np.full((480, 2), 3000.0), "range -1 to 1, got 3000"),
            (np.zeros((480, 2), np.complex64), "got complex64"),
            (np.zeros((480, 2), np.int64), "got int64"),
            ([0.0, 0.0], "got list"),
        ],
    )
    def test_what_is_no_audio(self, audio: Any, says: str) -> None:
        """One line that says what was expected, and the feed goes on."""
        feed = AudioFeed(48_000, 2)
        with pytest.raises(AudioError, match=says):
            feed.put(audio)
        feed.put(np.zeros((480, 2), np.float32))

    @pytest.mark.parametrize(
        ("arguments", "settings", "says"),
        [
            ((0,), {}, "got 0"),
            ((16_000, 0), {}, "got 0"),
            ((), {"sample_format": "mp3"}, "expected one of s16le, .*, got 'mp3'"),
        ],
    )
    def test_bad_settings(
        self, arguments: tuple[int, ...], settings: dict[str, Any], says: str
    ) -> None:
        """They are refused where they are given."""
        with pytest.raises(ValueError, match=says):
            AudioFeed(*arguments, **settings)

    def test_not_numbers(self, detector: Detector) -> None:
        """NaN is taken as silence, and no warning of NumPy's comes of it."""
        feed = AudioFeed(max_age=None)
        feed.put(np.full(16_000, np.nan, np.float32))
        feed.put(TWO)
        feed.end()
        assert ["low", "high"] == [each.keyword for each in detector.listen(feed)]

    def test_old_audio_goes_first(self) -> None:
        """What has waited too long is left out, and a Gap says how much of it."""
        feed = AudioFeed(max_age=0.2)
        blocks = iter(feed)
        feed.put(np.full(160, 1, np.int16))
        assert 160 == len(next(blocks))
        feed.put(np.full(1600, 2, np.int16))
        feed.put(np.full(1600, 3, np.int16))
        time.sleep(0.3)
        feed.put(np.full(800, 4, np.int16))
        feed.end()
        gap, block = blocks
        assert gap == Gap(3200)
        assert [4] * 800 == list(block)

    def test_closed_while_somebody_waits(self, detector: Detector) -> None:
        """`close()` ends the wait, and nothing more can be put."""
        feed = AudioFeed()
        listener = Listener(feed, detector=detector)
        listener.start()
        feed.put(tone("low"))
        listener.close()
        assert listener.wait(20.0)
        with pytest.raises(AudioError, match="has ended"):
            feed.put(PAUSE)

    def test_time_of_day(self) -> None:
        """The stream's seconds lie on the wall clock, later iterations' too."""
        feed = AudioFeed(max_age=None)
        before = time.time()
        feed.put(TWO)
        after = time.time()
        assert before - 5.0 <= feed.unix_time(0.0) <= after - 5.0
        assert feed.unix_time(5.0) == pytest.approx(feed.unix_time(0.0) + 5.0)


@pytest.mark.parametrize("name", ["loop", "callbacks", "asyncio_loop", "feed"])
def test_examples(name: str) -> None:
    """Each form, as the documents show it, on the demonstration recording."""
    path = Path(__file__).parent.parent / "docs" / "examples" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(path), str(RECORDING)], capture_output=True, text=True, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr)
    words = [line.split()[-1] for line in done.stdout.splitlines()]
    with AudioFile(RECORDING) as source:
        spoken = [detection.keyword for detection in Detector().listen(source)]
    expected = {
        "loop": spoken[: spoken.index("stop") + 1],
        "callbacks": [word for word in spoken if word in ("on", "off")],
    }.get(name, spoken)
    assert expected == words
    assert expected
