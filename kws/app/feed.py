"""A source that the program fills itself: audio from a browser, a socket or a call."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.audio.block import LARGEST
from kws.audio.convert import Converter, Int16Array
from kws.audio.gap import Gap
from kws.audio.samples import ENCODINGS, RawFormat
from kws.audio.source import Closing
from kws.audio.wakeup import Wakeup
from kws.config import SAMPLE_RATE
from kws.errors import AudioError


class AudioFeed(Closing):
    """Takes audio of any rate, channel count and block size and gives it on at 16 kHz mono.

    One thread or event loop calls `put`; another one iterates, through a Listener or a Detector.
    Audio that has waited longer than `max_age` seconds is left out, the oldest first, and a Gap
    says how much, so that nothing is detected long after it was said.
    """

    def __init__(
        self,
        rate: int = SAMPLE_RATE,
        channels: int = 1,
        *,
        sample_format: str = "s16le",
        max_age: float | None = 1.0,
        name: str = "the feed",
    ) -> None:
        """`rate` in Hz; `channels` are averaged; `sample_format` is that of bytes, such as
        s16le, s24le, f32le or mulaw.

        With `max_age=None` everything is kept until it is processed. Raises ValueError for values
        out of range.
        """
        if not 4_000 <= rate <= 768_000:
            raise ValueError(f"expected a rate of 4,000 to 768,000 Hz, got {rate}")
        if not 1 <= channels <= 64:
            raise ValueError(f"expected 1 to 64 channels, got {channels}")
        if sample_format not in ENCODINGS:
            raise ValueError(f"expected one of {', '.join(ENCODINGS)}, got {sample_format!r}")
        self.name = name
        self._channels, self._max_age = channels, max_age
        self._format = RawFormat(sample_format, rate, channels)
        self._rest = b""  # of a frame of which not all bytes have come
        self._wake = Wakeup()  # who iterates: audio or the end has come
        self._lock = threading.RLock()  # of all that follows
        self._converter = Converter(rate)
        self._blocks: deque[tuple[float, Int16Array]] = deque()  # when it came, and what
        self._dropped = 0  # samples since the last block that was given on
        self._ended = False
        self._put = 0  # samples at 16 kHz so far
        self._begun = 0  # of these, before the present iteration
        self._latest = time.time()  # when the last of them came

    def put(self, audio: bytes | NDArray[Any]) -> None:
        """Add audio, and return at once. Raises AudioError, and adds nothing, for anything else.

        Bytes are interleaved samples of `sample_format`, cut anywhere. An array has the shape
        (frames,) or (frames, channels) and holds int16, int32, uint8, or floats in [-1, 1].
        """
        block = self._frames(audio)
        with self._lock:
            if self._ended:
                raise AudioError(f"{self.name} has ended; make a new AudioFeed")
            self._add(self._converter.convert(block))

    def end(self) -> None:
        """No more audio comes: whoever iterates gets what is left and then ends."""
        with self._lock:
            if not self._ended:
                self._add(self._converter.convert(np.zeros((0, self._channels), np.float32), True))
                self._ended = True
                self._wake.set()

    def close(self) -> None:
        """End at once: what was not processed is left out; may be called twice."""
        with self._lock:
            self._blocks.clear()
            self._ended = True
            self._wake.set()

    def unix_time(self, stream_seconds: float) -> float:
        """When that second of the present iteration came, in Unix seconds."""
        with self._lock:
            ago = (self._put - self._begun) / SAMPLE_RATE - stream_seconds
            return self._latest - ago

    def __iter__(self) -> Iterator[Int16Array | Gap]:
        with self._lock:
            self._begun = self._put - sum(len(block) for _, block in self._blocks)
            self._dropped = 0
        while (block := self._next()) is not None:
            yield block

    def _next(self) -> Int16Array | Gap | None:
        while True:
            with self._lock:
                self._drop_old()
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    return Gap(dropped)
                if self._blocks:
                    return self._blocks.popleft()[1]
                if self._ended:
                    return None
            self._wake.wait()

    def _add(self, block: Int16Array) -> None:
        if len(block):
            self._drop_old()
            self._blocks.append((time.monotonic(), block))
            self._put += len(block)
            self._latest = time.time()
            self._wake.set()

    def _drop_old(self) -> None:
        if self._max_age is None:
            return
        oldest = time.monotonic() - self._max_age
        while self._blocks and self._blocks[0][0] < oldest:
            self._dropped += len(self._blocks.popleft()[1])

    def _frames(self, audio: bytes | NDArray[Any]) -> NDArray[np.float32]:
        """(frames, channels) float32 in [-1, 1]."""
        if isinstance(audio, np.ndarray):
            samples = audio[:, None] if audio.ndim == 1 else audio
        elif isinstance(audio, bytes | bytearray | memoryview):
            content = self._rest + bytes(audio)
            whole = len(content) - len(content) % self._format.frame_bytes
            self._rest = content[whole:]
            samples = self._format.decode(content[:whole])
        else:
            raise AudioError(
                f"{self.name}: expected bytes or a NumPy array, got {type(audio).__name__}"
            )
        if samples.ndim != 2 or samples.shape[1] != self._channels:
            raise AudioError(
                f"{self.name}: expected the shape (frames, {self._channels}), got {samples.shape}; "
                "channels come second (audio.T), and AudioFeed is told how many there are"
            )
        return _as_float(samples, self.name)


def _as_float(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        finite = samples[np.isfinite(samples)]
        if len(finite) and (largest := float(np.abs(finite).max())) > LARGEST:
            raise AudioError(
                f"{name}: expected floats in the range -1 to 1, got {largest:g}; "
                "put int16 as int16, or divide it by 32768"
            )
        return samples.astype(np.float32)
    if kind == "i" and size in (2, 4):
        return samples.astype(np.float32) / np.float32(1 << (8 * size - 1))
    if kind == "u" and size == 1:
        return (samples.astype(np.float32) - np.float32(128.0)) / np.float32(128.0)
    raise AudioError(f"{name}: expected int16, int32, uint8 or floats, got {samples.dtype}")
