"""Keywords in the form that an app needs: as an iterator, as callbacks or in asyncio."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from kws.app.arming import Arming, ArmingConfig
from kws.app.pause import Pause
from kws.audio.block import AudioBlock
from kws.audio.gap import Gap
from kws.decision import Detection
from kws.detector import Detector
from kws.errors import KwsError
from kws.nearest import nearest

Callback = Callable[[Detection], object]

logger = logging.getLogger(__name__)


class Listener:
    """A source and a detector, listened to in one of three ways:

    * `for detection in listener` runs in the thread that iterates;
    * `listener.on("stop", function)` and `listener.start()` call functions on a thread of its own;
    * `async for detection in listener` runs in an event loop.

    One way at a time: a second one raises KwsError. Whatever takes long, the body of a loop or a
    callback, holds the listening up meanwhile; what a Microphone or an AudioFeed does with audio
    that became too old is theirs to say. `close()` ends each way, from any thread, and so does
    leaving the `with` or `async with` statement.
    """

    def __init__(
        self,
        source: Iterable[AudioBlock | Gap] | None = None,
        *,
        detector: Detector | None = None,
        arming: ArmingConfig | None = None,
    ) -> None:
        """`source` gives blocks as for `Detector.listen`; default: the default microphone.

        It is closed with the listener. `detector` is by default one of the default model. With
        `arming` only detections that count are given. Raises what Microphone and Detector raise,
        and SettingError for words of `arming` that the detector does not detect.
        """
        self.detector = detector or Detector()
        self._arming = Arming(arming or ArmingConfig())
        self._arming.config.check(list(self.detector.thresholds))
        if source is None:
            from kws.audio import Microphone

            source = Microphone()
        self.source = source
        self._pause = Pause()
        self._callbacks: dict[str, list[Callback]] = {}
        self._closing = threading.Event()
        self._busy = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def __iter__(self) -> Generator[Detection, None, None]:
        """The detections, until the source ends or `close()` is called.

        Raises what the source raises, and KwsError where this listener already listens.
        """
        if not self._busy.acquire(blocking=False):
            raise KwsError("this Listener already listens; make another one with its own source")
        try:
            source = _Until(self._closing, self.source, self._pause)
            yield from self._arming.listen(self.detector, source, self._pause)
        finally:
            self.detector.reset()  # no audio outlives the loop
            self._arming.reset()
            self._busy.release()

    def on(self, keyword: str, callback: Callback) -> None:
        """Call `callback(detection)` each time this keyword is detected, once `start()` was called.

        All callbacks run on one thread, one after another. An exception in one is logged and
        changes nothing else. Raises KwsError for a word that the detector does not detect.
        """
        known = list(self.detector.thresholds)
        if keyword not in known:
            near = nearest(keyword, known)
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"
            raise KwsError(f"this detector has no keyword {keyword!r}; {hint}")
        self._callbacks.setdefault(keyword, []).append(callback)

    def start(self) -> None:
        """Begin to listen on a thread and return; `wait()` tells how it ended."""
        if self._thread is not None:
            raise KwsError("this Listener was started before; make another one")
        self._thread = threading.Thread(target=self._work, name="kws listener", daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended, at most `timeout` seconds; returns whether it has.

        Raises what made it end, such as the AudioError of a source.
        """
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return False
            if self._error is not None:
                raise self._error
        return True

    @property
    def paused(self) -> bool:
        """Whether what is said is left out."""
        return self._pause.on

    def pause(self) -> None:
        """Leave out what is said from now on, as a mute switch does; from any thread."""
        self._pause.pause()

    def resume(self) -> None:
        """Detect words again, also where a word has paused it; from any thread."""
        self._pause.resume()

    def close(self) -> None:
        """End listening, in whichever way, and close the source; may be called twice.

        It waits for a callback that runs, unless it is called by one.
        """
        self._closing.set()
        close = getattr(self.source, "close", None)
        if close is not None:
            close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        try:
            for detection in self:
                self._call(detection)
        except Exception as error:
            self._error = error
            logger.error("listening has ended: %s", error)

    def _call(self, detection: Detection) -> None:
        for callback in self._callbacks.get(detection.keyword, ()):
            try:
                callback(detection)
            except Exception:
                logger.exception("a callback for %r failed", detection.keyword)

    async def __aiter__(self) -> AsyncIterator[Detection]:
        """The detections, without holding up the event loop.

        Where it is cancelled while it waits for the next one, the listener is closed.
        """
        loop = asyncio.get_running_loop()
        detections = iter(self)
        executor = ThreadPoolExecutor(1, "kws listener")
        try:
            while True:
                try:
                    detection = await loop.run_in_executor(executor, next, detections, None)
                except asyncio.CancelledError:
                    await asyncio.to_thread(self.close)  # which ends the wait on that thread
                    raise
                if detection is None:
                    return
                yield detection
        finally:
            await asyncio.to_thread(executor.shutdown)
            detections.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)


class _Until:
    """A source's blocks until the listener is closed."""

    def __init__(
        self, closing: threading.Event, source: Iterable[AudioBlock | Gap], pause: Pause
    ) -> None:
        self._closing, self._source, self._pause = closing, source, pause
        if hasattr(source, "unix_time"):  # Detector.listen gives detections their time with it
            self.unix_time = source.unix_time

    def __iter__(self) -> Iterator[AudioBlock | Gap]:
        if self._closing.is_set():
            return
        for block in self._source:
            yield self._pause.passed(block)
            if self._closing.is_set():
                return
