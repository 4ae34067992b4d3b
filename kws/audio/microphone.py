"""A microphone that people can leave running: it survives stalls, unplugging and sound servers."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache

from kws.audio import clock, devices
from kws.audio.capture import Capture
from kws.audio.convert import Int16Array
from kws.audio.desktop import Watch, query_server
from kws.audio.devices import Target
from kws.audio.errors import DeviceError
from kws.audio.events import Kind, SourceEvent
from kws.audio.gap import Gap
from kws.audio.level import Level
from kws.audio.portaudio import rescan
from kws.audio.reader import Reader
from kws.audio.source import Closing
from kws.audio.wakeup import Wakeup
from kws.config import SAMPLE_RATE
from kws.errors import AudioError

LONGEST_AGE = 60.0  # s that are kept where no age is set
START_SECONDS = 10.0  # Bluetooth and sound servers take their time before the first block
STALL_SECONDS = 3.0  # a microphone that delivers nothing for so long, while we are awake, has gone
TICK = 1.0  # s between two looks whether anything has come
DELAYS = (0.25, 0.5, 1.0, 2.0, 4.0)  # s between attempts to open it again; the last one for ever

# Why a device that was plugged in may not be found.
STALE = "while this program has other streams open, PortAudio finds no device that is new"

logger = logging.getLogger(__name__)
_open: weakref.WeakSet[Microphone] = weakref.WeakSet()


@cache
def _close_at_exit() -> None:
    # Registered behind sounddevice's own clean-up, so that it runs before it.
    atexit.register(_close_all)


def _close_all() -> None:
    for microphone in list(_open):
        microphone.close()


class Microphone(Closing):
    """An input device of any rate and number of channels, as int16 mono blocks at 16 kHz.

    Iterating gives blocks of about 80 ms, and a `Gap` where audio is missing, so that the stream's
    clock stays right. Audio that waited longer than `max_age` for the loop is left out, oldest
    first. Every new loop is a new stream, whose clock starts at 0: nothing that was said before it
    is delivered. All methods may be called from any thread; only one loop may run at a time.

    A device that stalls, is unplugged or loses its sound server is opened again as soon as it is
    there; the loop waits meanwhile.
    """

    def __init__(
        self,
        device: int | str | None = None,
        *,
        channel: int | None = None,
        reconnect: bool = True,
        max_age: float | None = 1.0,
        on_event: Callable[[SourceEvent], None] | None = None,
    ) -> None:
        """Open the device: a number or (part of) a name from `kws devices`; default: the system's.

        `channel` takes one channel of several, counted from 1; by default the one with the signal
        is taken. Without `reconnect` a device that goes raises DeviceError in the loop. `max_age`
        is in seconds; None keeps up to a minute. `on_event` is called in the thread that runs the
        loop; without it, what it would be told is logged. Raises DeviceError where the device
        cannot be opened, and ValueError for a channel below 1 or an age that is not positive.
        """
        if channel is not None and channel < 1:
            raise ValueError(f"expected a channel from 1 on, got {channel}")
        if max_age is not None and not 0.0 < max_age <= LONGEST_AGE:
            raise ValueError(f"expected max_age in (0, {LONGEST_AGE:.0f}] s or None, got {max_age}")
        self._device = device
        self._channel = channel
        self._reconnect = reconnect
        self._max_age = LONGEST_AGE if max_age is None else max_age
        self._on_event = on_event
        self._events: deque[SourceEvent] = deque()
        self._wake = Wakeup()  # the loop: a block, an event or the end has come
        self._attention = Wakeup()  # the keeper: something may be wrong
        self._changed = False  # the sound server's list has changed
        self._closed = False
        self._failure: AudioError | None = None
        self._paused = False
        self._not_before = 0.0  # on the clock `now`: earlier audio is not delivered
        self._ready = False
        self._loops = 0
        self._watch: Watch | None = None
        self._capture = self._open_first()
        self.name = self._capture.target.name  # the device's
        if isinstance(device, int):
            self._device = self.name  # numbers change when devices come and go
        self._reader = Reader(channel, self._max_age, self._queue)
        _close_at_exit()
        _open.add(self)
        self._keeper = threading.Thread(target=self._keep, name="kws-microphone", daemon=True)
        self._keeper.start()

    @property
    def rate(self) -> int:
        """The rate in Hz at which the device is recorded from."""
        return self._capture.rate

    @property
    def channel(self) -> int:
        """The channel that is taken, from 1."""
        return self._reader.channel

    @property
    def level(self) -> Level:
        """How loud the last block was, in dBFS."""
        return self._reader.levels.level

    @property
    def lost_seconds(self) -> float:
        """How much audio is missing in all, in seconds; what was paused is not counted."""
        return self._reader.lost / SAMPLE_RATE

    def unix_time(self, stream_seconds: float) -> float:
        """When a moment of the running loop's stream was recorded, in Unix seconds.

        It follows the device's clock and the machine's, so that it stays right for days.
        """
        return self._reader.time_of(stream_seconds) - clock.now() + time.time()

    def pause(self) -> None:
        """Deliver nothing until `resume`, as while the program speaks itself."""
        self._paused = True

    def resume(self) -> None:
        """Go on with what is recorded from now on."""
        self.flush()
        self._paused = False
        self._wake.set()

    def flush(self) -> None:
        """Leave out what was recorded so far and has not been delivered."""
        self._not_before = clock.now()

    def close(self) -> None:
        """Release the device and end the loop, wherever it is; may be called twice."""
        self._closed = True
        self._wake.set()
        self._attention.set()
        self._capture.finish()
        if threading.current_thread() is not self._keeper:
            self._keeper.join(timeout=2.0)  # a sound system that hangs must not hang us
        self._reader.close()
        _open.discard(self)

    def __iter__(self) -> Iterator[Int16Array | Gap]:
        self._loops += 1
        loop = self._loops
        self.flush()
        self._reader.restart()
        try:
            while self._wait() and loop == self._loops:
                items = self._reader.read(self._capture, self._not_before)
                if items and not self._ready:
                    self._ready = True
                    sentence = f"listening to {self.name} at {self.rate} Hz"
                    self._queue("ready", 0.0, sentence, 0.0, 0.0)
                if self._events:
                    self._tell_all()
                yield from items
        finally:
            self._wake.set()  # for a loop that has begun meanwhile: one set ends only one wait
            if self._closed:  # in the middle of a block, which took up again what close() released
                self._reader.close()

    def _wait(self) -> bool:
        """Until there is something to read; False when it has been closed."""
        while True:
            if self._events:
                self._tell_all()
            if self._closed:
                return False
            if not self._paused and self._reader.waits(self._capture):
                return True
            if self._failure is not None:
                raise self._failure
            self._wake.wait(1.0)  # Windows takes Ctrl-C only between two waits

    def _tell_all(self) -> None:
        while self._events:
            self._tell(self._events.popleft())

    def _tell(self, event: SourceEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)
        elif event.kind == "ready":
            logger.info("%s", event.message)
        else:
            logger.warning("%s", event.message)

    def _say(self, kind: Kind, seconds: float, message: str, length: float = 0.0) -> None:
        """Queue an event about so many seconds of the stream from where it stands."""
        at = self._reader.at
        self._queue(kind, seconds, message, at, at + length)

    def _queue(self, kind: Kind, seconds: float, message: str, start: float, end: float) -> None:
        """Queue an event for the thread that runs the loop."""
        self._events.append(SourceEvent(kind, time.time(), seconds, message, start, end))
        self._wake.set()

    def _open_capture(self) -> Capture:
        target = devices.find(self._device)
        return Capture(
            target, self._channel or 1, self._max_age + 4.0, self._wake.set, self._attention.set
        )

    def _open_first(self) -> Capture:
        try:
            return self._open_capture()
        except DeviceError as error:
            # PortAudio's list may be older than the device.
            if error.problem not in ("no_device", "no_server") or not rescan():
                raise
            return self._open_capture()

    # The keeper: a thread that holds the device open.

    def _keep(self) -> None:
        try:
            while self._hold():
                pass
        except Exception as error:  # the loop must not wait for a thread that has ended
            logger.exception("%s can no longer be held open", self.name)
            self._failure = DeviceError("gone", f"{self.name} is lost ({error}); start again")
            self._wake.set()
        finally:
            self._capture.close()
            self._end_watch()

    def _hold(self) -> bool:
        """Until the device has gone and come back; False when that is the end."""
        gone = self._watch_over(self._capture)
        if self._closed:
            return False
        self._capture.close()
        message = f"{self.name} {gone}"
        if not self._reconnect:
            self._failure = DeviceError(
                "gone",
                f"{message}; plug it in again or choose another with --device from: kws devices",
            )
            self._wake.set()
            return False
        self._say("gone", 0.0, f"{message}; waiting for it")
        self._recover()
        return not self._closed

    def _watch_over(self, capture: Capture) -> str:
        """Until the device has gone; returns how that shows. Empty when it was closed."""
        self._begin_watch(capture.target)
        silent, seen = 0.0, capture.written
        patience = STALL_SECONDS if seen else START_SECONDS
        while True:
            before = clock.now()
            self._attention.wait(TICK)
            if self._closed:
                return ""
            if capture.ended:
                return "has gone"
            if self._changed:
                self._changed = False
                if not capture.target.present(query_server()):
                    return "was unplugged"
            waited = clock.now() - before
            if capture.written != seen:
                silent, seen, patience = 0.0, capture.written, STALL_SECONDS
            elif waited < 2 * TICK:  # longer: this process stood still, and the device did not
                silent += waited
            if silent >= patience:
                return "has stopped delivering audio"

    def _recover(self) -> None:
        """Open the device again, however long that takes; returns early when it is closed."""
        since = clock.now()
        said = ""
        attempt = 0
        while not self._closed:
            delay = DELAYS[min(attempt, len(DELAYS) - 1)]
            attempt += 1
            if self._attention.wait(delay):
                self._changed = False
            if self._closed:
                return
            try:
                listed = attempt == 1 or rescan()
                capture = self._open_capture()
            except DeviceError as error:
                if error.problem != said:
                    said = error.problem
                    hint = "" if listed else f"; {STALE}"
                    self._say("waiting", DELAYS[-1], f"still waiting: {error}{hint}")
                continue
            if self._delivers(capture):
                self.name = capture.target.name
                away = clock.now() - since
                self._say("back", away, f"{self.name} is back after {away:.1f} s", away)
                self._capture = capture
                self._wake.set()
                return
            capture.close()

    def _delivers(self, capture: Capture) -> bool:
        """Whether a first block comes."""
        begin = clock.now()
        while not (capture.ended or self._closed) and clock.now() - begin < START_SECONDS:
            if capture.written:
                return True
            time.sleep(0.02)
        return capture.written > 0

    def _begin_watch(self, target: Target) -> None:
        self._end_watch()
        if target.source is not None:
            self._changed = True  # it may have gone before the watch began
            self._watch = Watch(self._note_change)

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _note_change(self) -> None:
        self._changed = True
        self._attention.set()
