"""From the blocks of a capture to a stream at 16 kHz whose clock is right, gaps included."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kws.audio import clock
from kws.audio.capture import BLOCK_MS, Capture, Recorded
from kws.audio.clock import ArrivalClock
from kws.audio.convert import Int16Array
from kws.audio.events import Kind
from kws.audio.gap import Gap
from kws.audio.level import PATIENCE, LevelWatch, LoudestChannel
from kws.config import SAMPLE_RATE

BLOCK = SAMPLE_RATE * BLOCK_MS // 1000  # samples at 16 kHz
LATE = 0.25  # s: a block that arrives so late may stand behind lost audio, and does if others do
FIRST_BLOCKS = 4  # from which the place of a device in the stream is found
PACE = 0.6  # of real time: so slow blocks are not those that the sound system had kept
GIVEN_UP = 0.5  # s without a further block
TOLERANCE = 0.04  # s that a stream may be behind where audio is known to be lost
UNCERTAIN = 0.1  # the same where it is not known: a sound server may shift its blocks by one
CREEP = 50  # blocks, 4 s: none of so many came in time, so a little was lost without a word
LOOK = 16  # blocks: so often it is looked for
OVERLOAD = 10.0  # s: audio left out twice within so much of it means that the loop is too slow


class Reader:
    """Gives the audio of one capture after the other, as one stream after the other.

    Positions count samples at 16 kHz since the first block ever; a stream begins at `_origin`.
    """

    def __init__(
        self,
        channel: int | None,
        max_age: float,
        say: Callable[[Kind, float, str, float, float], None],
    ) -> None:
        """`say` takes a kind, seconds, a sentence, and the stretch of stream time it is about."""
        self.levels = LevelWatch()
        self.lost = 0  # samples
        self._channel = channel
        self._loudest = LoudestChannel()
        self._max_age = max_age
        self._say = say
        self._clock = ArrivalClock()
        self._capture: Capture | None = None
        self._next = 0  # number of the capture's block that is read next
        self._position = 0  # of its first sample
        self._emitted = 0  # position up to which the stream has been delivered
        self._origin: int | None = None
        self._resampler: Any = None  # holds back a little of what it was given
        self._unwanted = 0  # samples that were paused or flushed since the last gap
        self._cause = ""  # why the stream jumps; empty where it goes on without a gap
        self._last_late = -math.inf  # position where audio was too old for the last time

    @property
    def channel(self) -> int:
        """The channel that is taken, from 1."""
        return self._channel or self._loudest.channel + 1

    def close(self) -> None:
        """Release what converts the rate."""
        self._resampler = None

    def restart(self) -> None:
        """Begin a new stream with the next block."""
        self._origin = None

    @property
    def at(self) -> float:
        """The stream time up to which audio was delivered, in seconds."""
        return self._stream_time(self._emitted)

    def time_of(self, stream_seconds: float) -> float:
        """When that moment of the stream was recorded, on the clock `now`."""
        if not self._clock:
            return clock.now()
        begin = self._position if self._origin is None else self._origin
        return self._clock.time_of(begin + round(stream_seconds * SAMPLE_RATE))

    def waits(self, capture: Capture) -> bool:
        """Whether the capture has a block that was not read."""
        return capture.written > (self._next if capture is self._capture else 0)

    def read(self, capture: Capture, not_before: float) -> list[Int16Array | Gap]:
        """The next block of a capture that has one, behind the gap before it; may be empty.

        What was recorded before `not_before`, on the clock `now`, is left out.
        """
        if capture is not self._capture:
            self._attach(capture)
        if self._next < capture.oldest:
            self._skip(capture.oldest - self._next, self._too_old())
        block = capture.block(self._next)
        self._place(capture, block)
        if not self._advance(capture, not_before):
            return []
        if self._next < capture.oldest:
            return []  # a newer one had taken its place; the next call skips it
        items = self._jump() if self._cause else []
        mono = self._convert(capture, block.samples)
        if len(mono):
            items.append(mono)
        self._next += 1
        self._position += BLOCK
        return items

    def _attach(self, capture: Capture) -> None:
        if self._capture is not None:
            self._cause = "away"
            while capture.written < FIRST_BLOCKS and not capture.ended:
                time.sleep(0.01)
        self._capture = capture
        self._next = 0
        self._loudest = LoudestChannel()
        self.levels.attach()

    def _place(self, capture: Capture, block: Recorded) -> None:
        """Find out whether audio is missing before the next block, and where it stands then."""
        end, recorded = self._position + BLOCK, block.end
        known = block.overflowed or self._cause == "away"
        if (known or self._clock.lateness(end, recorded) > LATE) and self._clock:
            behind = self._behind(capture)
            if behind > (TOLERANCE if known else LATE):
                self._move(behind)
        self._clock.add(self._position + BLOCK, recorded)
        if self._next % LOOK == 0 and (behind := self._clock.recent_lateness(CREEP)) > UNCERTAIN:
            self._move(behind)

    def _behind(self, capture: Capture) -> float:
        """By how many seconds the stream is behind at the next block, once all has arrived.

        A sound system that goes on recording while this process stands still delivers everything
        afterwards at once, so that the last of these blocks is in time and nothing was lost.
        """
        while not self._settled(capture):
            time.sleep(0.01)
        blocks = [capture.block(number) for number in range(self._next, capture.written)]
        if any(block.overflowed for block in blocks[1:]):
            return 0.0  # the loss stands before a later block, which will tell
        return min(
            self._clock.lateness(self._position + count * BLOCK, block.end)
            for count, block in enumerate(blocks, 1)
        )

    def _settled(self, capture: Capture) -> bool:
        """Whether the last blocks came no faster than they were recorded, or no more come."""
        last = capture.written - 1
        first = max(self._next, last - FIRST_BLOCKS + 1)
        arrival = capture.block(last).arrival
        took = arrival - capture.block(first).arrival
        if last - first == FIRST_BLOCKS - 1 and took > PACE * (last - first) * BLOCK / SAMPLE_RATE:
            return True
        return capture.ended or clock.now() - arrival > GIVEN_UP

    def _move(self, seconds: float) -> None:
        self._position += round(seconds * SAMPLE_RATE)
        self._cause = self._cause or "the machine or its sound system stood still"

    def _skip(self, blocks: int, cause: str) -> None:
        self._next += blocks
        self._position += blocks * BLOCK
        self._cause = self._cause or cause

    def _too_old(self) -> str:
        return f"it had waited longer than {self._max_age:g} s for this program"

    def _advance(self, capture: Capture, not_before: float) -> bool:
        """Skip what is not wanted or too old; False where nothing is left."""
        begin = self._clock.time_of(self._position)
        if begin < not_before - 0.001:
            blocks = math.ceil((not_before - begin) * 1000 / BLOCK_MS)
            blocks = min(blocks, capture.written - self._next)
            self._skip(blocks, "unwanted")
            self._unwanted += blocks * BLOCK
            return False
        age = clock.now() - begin - BLOCK / SAMPLE_RATE
        if age > self._max_age:
            overloaded = self._position - self._last_late < OVERLOAD * SAMPLE_RATE
            keep = 0.0 if overloaded else self._max_age
            blocks = math.ceil((age - keep) * 1000 / BLOCK_MS)
            self._skip(min(blocks, capture.written - 1 - self._next), self._too_old())
            self._last_late = self._position
            return blocks == 0
        return True

    def _jump(self) -> list[Int16Array | Gap]:
        """What is delivered in place of the audio that is missing before the next block."""
        items: list[Int16Array | Gap] = []
        cause, self._cause = self._cause, ""
        unwanted, self._unwanted = self._unwanted, 0
        if self._resampler is not None:
            tail = self._resampler.resample_chunk(np.zeros((0, 1), np.int16), last=True)[:, 0]
            self._resampler = None
            if self._origin is not None and len(tail):
                items.append(tail)
                self._emitted += len(tail)
        missing = self._position - self._emitted
        if self._origin is None or missing <= 0:
            return items
        items.append(Gap(missing))
        begin, end = self.at, self._stream_time(self._position)
        self._emitted = self._position
        lost = missing - unwanted
        if cause != "unwanted" and lost > 0:
            self.lost += lost
            if cause != "away":
                seconds = lost / SAMPLE_RATE
                sentence = f"{seconds:.2f} s of audio is missing: {cause}"
                self._say("lost", seconds, sentence, begin, end)
        return items

    def _convert(self, capture: Capture, samples: bytearray) -> Int16Array:
        """A block (frames, channels) as (samples,) at 16 kHz; its level is watched."""
        if self._origin is None:
            self._origin = self._emitted = self._position
        mono: Int16Array = np.frombuffer(samples, np.int16)
        if capture.channels > 1:
            block = mono.reshape(-1, capture.channels)
            chosen = self._channel - 1 if self._channel else self._loudest.choose(block)
            mono = np.ascontiguousarray(block[:, chosen])
        for kind, sentence, ago in self.levels.add(mono, BLOCK / SAMPLE_RATE):
            end = self._stream_time(self._position + BLOCK) - ago
            begin = max(0.0, end - PATIENCE)
            self._say(kind, PATIENCE, f"{capture.target.name} {sentence}", begin, end)
        if capture.rate != SAMPLE_RATE:
            if self._resampler is None:
                self._resampler = _resampler(capture.rate)
            # As one of several channels, which spares soxr's way through NumPy's Python.
            mono = self._resampler.resample_chunk(mono[:, None])[:, 0]
        self._emitted += len(mono)
        return mono

    def _stream_time(self, position: int) -> float:
        return 0.0 if self._origin is None else (position - self._origin) / SAMPLE_RATE


def _resampler(rate: int) -> Any:
    import soxr

    return soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="int16")
