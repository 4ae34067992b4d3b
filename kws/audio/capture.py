"""One open stream of PortAudio and the ring of blocks that its callback copies into."""

from __future__ import annotations

import logging
import math
import mmap
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from kws.audio import clock
from kws.audio.desktop import query_server
from kws.audio.devices import Target, no_device
from kws.audio.errors import DeviceError
from kws.audio.portaudio import LOCK, load_sounddevice, quiet
from kws.audio.source import reason
from kws.audio.wakeup import Wakeup

BLOCK_MS = 80  # shorter ones cost more: a fifth of the time was measured with 80 against 20 ms

# s: a sound server that starts anew after a loss may deliver its blocks by up to one later than
# before, and says so. What it says beyond that is a guess, and wrong while it catches up.
LONGEST_WAIT = BLOCK_MS / 1000

LAST_BLOCK = 0.25  # s that closing waits for one more block

# PortAudio's error codes.
REFUSES_RATE, REFUSES_CHANNELS, UNAVAILABLE, TIMED_OUT = -9997, -9998, -9985, -9987

ATTEMPTS = 5  # PortAudio gives its thread 1 s to begin, which a busy machine may not manage

logger = logging.getLogger(__name__)


class Recorded(NamedTuple):
    """One block as it came."""

    samples: bytearray  # int16, (frames, channels)
    arrival: float  # on the clock `now`
    end: float  # when its last sample was recorded, or later, on the clock `now`
    overflowed: bool  # whether the sound system lost audio before it


class Capture:
    """Records from a device until it is closed or the device goes.

    The newest blocks are kept, as many as fit into `seconds`; `written` counts all that came.
    `wake` is called, in PortAudio's thread, for every block, and `finished` when the stream ends by
    itself. Raises DeviceError where the device cannot be opened.
    """

    def __init__(
        self,
        target: Target,
        least_channels: int,
        seconds: float,
        wake: Callable[[], None],
        finished: Callable[[], None],
    ) -> None:
        self.target = target
        self._wake = wake
        self._finished = finished
        self._closing = False
        counts = [count for count in target.channels if count >= least_channels]
        if not counts:
            raise DeviceError(
                "refused",
                f"{target.name} has {max(target.channels)} channel(s), and channel "
                f"{least_channels} was requested; see: kws devices",
            )
        refusal: Exception | None = None
        self._slots = math.ceil(seconds * 1000 / BLOCK_MS) + 2
        for rate in target.rates:
            for channels in counts:
                refusal = self._try(rate, channels)
                if refusal is None:
                    logger.info("recording from %s at %d Hz, %d ch", target.name, rate, channels)
                    return
                if _code(refusal) == REFUSES_RATE:
                    break  # no number of channels helps
                if _code(refusal) != REFUSES_CHANNELS:
                    raise _explained(target, refusal) from refusal
        raise _explained(target, refusal) from refusal

    def _try(self, rate: int, channels: int) -> Exception | None:
        """Open the device so; returns PortAudio's refusal, or None."""
        for _ in range(ATTEMPTS):
            refusal = self._open(rate, channels)
            if refusal is None or _code(refusal) != TIMED_OUT:
                break
            logger.info("recording from %s did not begin in time; again", self.target.name)
        return refusal

    def _open(self, rate: int, channels: int) -> Exception | None:
        sounddevice = load_sounddevice()
        self.written = 0
        self.ended = False
        self._over = Wakeup()
        self._abort = sounddevice.CallbackAbort
        self.rate = rate
        self.channels = channels
        frames = rate * BLOCK_MS // 1000
        self._size = frames * channels * 2  # bytes of a block
        # Straight from the system, which gets it back at once: what PortAudio's thread allocates
        # block by block stays in the C library's arena of that thread, one for every stream.
        self._audio = memoryview(mmap.mmap(-1, self._slots * self._size))
        self._about = [(0.0, 0.0, False)] * self._slots
        try:
            with ExitStack() as opened, LOCK, _environment(self.target):
                opened.enter_context(quiet())  # until it is closed: PortAudio's thread prints too
                self._stream: Any = sounddevice.RawInputStream(
                    samplerate=rate,
                    blocksize=frames,
                    device=self.target.index,
                    channels=channels,
                    dtype="int16",
                    dither_off=True,  # dither would hide the zeros of a muted device
                    callback=_weakly(self._copy),
                    finished_callback=_weakly(self._end),
                )
                opened.callback(self._stream.close, ignore_errors=True)
                self._stream.start()
                self._opened = opened.pop_all()
        except sounddevice.PortAudioError as error:
            refusal: Exception = error
            return refusal
        return None

    def _copy(self, data: Any, _frames: int, times: Any, status: Any) -> None:
        if self._closing:
            raise self._abort
        arrival = clock.now()
        waited = times.currentTime - times.inputBufferAdcTime - BLOCK_MS / 1000
        end = arrival - waited if 0.0 < waited <= LONGEST_WAIT else arrival
        overflowed = status.input_overflow if status else False
        number = self.written
        slot = number % self._slots
        self._audio[slot * self._size : (slot + 1) * self._size] = data
        self._about[slot] = arrival, end, overflowed
        self.written = number + 1
        self._wake()

    def _end(self) -> None:
        self.ended = True
        self._over.set()
        if not self._closing:
            self._finished()

    @property
    def oldest(self) -> int:
        """The number of the oldest block that is surely still there."""
        return max(0, self.written - self._slots + 2)

    def block(self, number: int) -> Recorded:
        """A copy of a block, or of what has taken its place meanwhile: see `oldest`."""
        slot = number % self._slots
        samples = bytearray(self._audio[slot * self._size : (slot + 1) * self._size])
        return Recorded(samples, *self._about[slot])

    def finish(self) -> None:
        """Take no further block; returns at once. PortAudio's thread ends with the next one."""
        self._closing = True

    def close(self) -> None:
        """Release the device.

        Under Linux PortAudio cancels its thread, wherever that is. If it waited for Python's
        global lock, no thread of the process would ever get that again: so it ends by itself, at
        the next block, and is only cancelled where it waits for a device that delivers none.
        """
        self.finish()
        if not self.ended:
            self._over.wait(LAST_BLOCK)
        with LOCK:
            if not self._stream.closed:
                self._stream.abort(ignore_errors=True)
            self._opened.close()


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Calls a method as long as its object is needed elsewhere.

    A stream of sounddevice refers to itself, so that it lies in memory until the garbage collector
    comes by, with all that its callbacks refer to.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        if bound := reference():
            bound(*arguments)

    return call


@contextmanager
def _environment(target: Target) -> Iterator[None]:
    """Name the source to the sound server's plug-in, which looks for it as it connects."""
    if not target.variable or target.source is None:
        yield
        return
    before = os.environ.get(target.variable)
    os.environ[target.variable] = target.source.name
    try:
        yield
    finally:
        if before is None:
            del os.environ[target.variable]
        else:
            os.environ[target.variable] = before


def _code(error: Exception) -> int | None:
    return error.args[1] if len(error.args) > 1 else None


def _explained(target: Target, error: Exception | None) -> DeviceError:
    """The refusal in our words, with the next step."""
    what = f"cannot record from {target.name} ({reason(error)})"
    step = "choose another with --device from: kws devices"
    code = None if error is None else _code(error)
    if code == UNAVAILABLE:
        return DeviceError("busy", f"{what}; close the program that uses it, or {step}")
    if code in (REFUSES_RATE, REFUSES_CHANNELS):
        return DeviceError("refused", f"{what}: it offers none of the usual rates; {step}")
    general = no_device(query_server() if target.served else None)
    if general.problem != "no_device":
        return DeviceError(general.problem, f"cannot record from {target.name}: {general}")
    if code == TIMED_OUT:
        return DeviceError("busy", f"{what}: the machine is too busy; try again")
    return DeviceError("refused", f"{what}; plug it in again, or {step}")
