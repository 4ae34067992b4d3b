"""The audio of one client, and the wake words in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kws.audio.convert import Converter, Int16Array
from kws.audio.samples import RawFormat
from kws.config import SAMPLE_RATE
from kws.decision import Detection
from kws.detector import Detector
from kws.errors import AudioError

ENCODINGS = {1: "u8", 2: "s16le", 3: "s24le", 4: "s32le"}  # by bytes of a sample
RATES = (8_000, 192_000)  # Hz, from and to
CHANNELS = 8  # at most
AT_ONCE = SAMPLE_RATE  # samples of one client that are processed before another's turn
MARKS = 4096  # chunks whose time stamps are remembered; of 10 ms each, 40 s


@dataclass(frozen=True)
class AudioKind:
    """How the samples of a chunk are to be understood; raises AudioError for what is not known."""

    rate: int  # Hz
    width: int  # bytes of a sample
    channels: int  # interleaved

    def __post_init__(self) -> None:
        lowest, highest = RATES
        for name, value, known in (
            ("rate", self.rate, range(lowest, highest + 1)),
            ("width", self.width, ENCODINGS),
            ("channels", self.channels, range(1, CHANNELS + 1)),
        ):
            if type(value) is not int or value not in known:
                limits = f"{min(known)} to {max(known)}"
                raise AudioError(f"expected a {name} of {limits}, got {str(value)[:40]}")

    @property
    def format(self) -> RawFormat:
        """The same for the decoder."""
        return RawFormat(ENCODINGS[self.width], self.rate, self.channels)


class WakeStream:
    """Chunks of audio in, wake words with their time stamps out.

    `add` keeps chunks; `process` and `finish` take what was kept, and may run in another thread as
    long as nothing is added meanwhile.
    """

    def __init__(self, detectors: Sequence[Detector], kind: AudioKind, start: int = 0) -> None:
        """`start` is the time stamp of the first sample, in ms, where chunks have none."""
        self.kind = kind
        self._detectors, self._start = tuple(detectors), start
        self._format = kind.format
        self._converter = Converter(kind.rate)
        self._kept = bytearray()
        self._frames = 0  # that were added so far
        self._marks: deque[tuple[float, int]] = deque(maxlen=MARKS)  # second of a chunk, its stamp

    def add(self, audio: bytes, stamp: int | None) -> None:
        """Keep whole frames; `stamp` is in ms. Raises AudioError for anything else."""
        size = self._format.frame_bytes
        if len(audio) % size:
            raise AudioError(f"expected whole frames of {size} bytes, got {len(audio)} bytes")
        if stamp is not None:
            self._marks.append((self._frames / self.kind.rate, stamp))
        self._frames += len(audio) // size
        self._kept += audio

    @property
    def kept(self) -> float:
        """Seconds of audio that wait to be processed."""
        return len(self._kept) / self._format.frame_bytes / self.kind.rate

    def process(self) -> Iterator[list[Detection]]:
        """Process what was kept, piece by piece; what is found in each of at most a second."""
        return self._process(False)

    def finish(self) -> Iterator[list[Detection]]:
        """As `process`, to the end of the stream."""
        return self._process(True)

    def stamp(self, found: Detection) -> int:
        """In ms: that of the chunk in which a word was decided, else from the stream's start."""
        for second, stamp in reversed(self._marks):
            if second < found.end:
                return stamp
        return self._start + round(1000 * found.end)

    def _process(self, last: bool) -> Iterator[list[Detection]]:
        data, self._kept = bytes(self._kept), bytearray()
        audio = self._converter.convert(self._format.decode(data), last)
        for begin in range(0, len(audio), AT_ONCE):
            yield self._found(audio[begin : begin + AT_ONCE])
        if last:
            yield [found for each in self._detectors for found in each.finish()]

    def _found(self, audio: Int16Array) -> list[Detection]:
        found = [found for each in self._detectors for found in each.process(audio)]
        return sorted(found, key=lambda each: each.end)
