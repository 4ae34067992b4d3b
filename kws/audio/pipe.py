"""Audio from a pipe: raw samples as they come, or a recording in any format with a header."""

from __future__ import annotations

import logging
import os
import select
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kws.audio.convert import Converter, Int16Array
from kws.audio.header import PLACEHOLDER, mp3_frame_bytes
from kws.audio.samples import NoiseWatch, RawFormat
from kws.audio.sound import HIGHEST_RATE, LOWEST_RATE, MOST_CHANNELS, Sound
from kws.audio.source import BLOCK_MS, Closing
from kws.errors import AudioError

PATIENCE_SECONDS = 5.0  # in which something should have come; then it is said that nothing has
_CHUNK = 1 << 16  # bytes
_MOST_SPOOLED = 4 << 30  # bytes of a compressed recording
_MOST_HEADER = 4 << 20  # bytes that a WAV may hold before its samples
_MOST_CHUNKS = 1000  # likewise
_MP3_START = 4096  # bytes in which an MP3 stream shows two frames

# What a container begins with, at which byte, and its name.
_CONTAINERS = (
    (0, b"RIFF", "WAV"),
    (0, b"RIFX", "WAV"),
    (0, b"RF64", "WAV"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"ID3", "MP3"),
    (0, b"FORM", "AIFF"),
    (0, b".snd", "AU"),
    (0, b"dns.", "AU"),
    (0, b"caff", "CAF"),
)
_UNREADABLE = (
    (4, b"ftyp", "MP4 or M4A"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"\x30\x26\xb2\x75", "WMA"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"PK\x03\x04", "a zip archive"),
)
_LONGEST_START = 12  # bytes that tell them apart

logger = logging.getLogger(__name__)


class AudioPipe(Closing):
    """What comes through a pipe, read once, whether or not it can be sought in.

    Raw samples and WAV are read as they come; WAV, FLAC, Ogg, MP3, AIFF, AU and CAF are known by
    what they begin with, and all but WAV are read to their end first. Raises AudioError, on
    construction or while it is read, where the stream is a terminal, is empty, or cannot be
    understood.
    """

    def __init__(
        self,
        stream: BinaryIO | None = None,
        raw: RawFormat | None = None,
        *,
        name: str = "standard input",
        needs_header: bool = False,
        block_ms: int = BLOCK_MS,
    ) -> None:
        """`stream` is the standard input unless given; whoever opened it closes it.

        With `raw` it is taken as such samples, whatever it begins with; without, as int16 at 16 kHz
        where it begins like no recording, unless it `needs_header`. Raises AudioError for a `raw`
        that no recording has.
        """
        if stream is None:
            stream = None if sys.stdin is None else sys.stdin.buffer
        if stream is None or stream.isatty():
            raise AudioError(
                f"{name} carries no audio; pipe raw samples or a recording into it, for example: "
                "arecord -q -t raw -f S16_LE -r 16000 -c 1 | kws listen --input -"
            )
        if raw:
            _check(name, raw)
        self.name = name
        self._raw, self._needs_header, self._block_ms = raw, needs_header, block_ms
        self._stream = stream
        self._owned = False

    @classmethod
    def open(
        cls, path: str, raw: RawFormat | None = None, *, block_ms: int = BLOCK_MS
    ) -> AudioPipe:
        """A pipe that has a name, or with `raw` any file; it is closed with the source."""
        try:
            # A FIFO that nobody writes into yet would hang in open(): it is waited for later.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            stream = os.fdopen(os.open(path, flags), "rb")
        except OSError as error:
            raise AudioError(
                f"cannot open {path}: {error.strerror}; check the path and its permissions"
            ) from error
        try:
            source = cls(stream, raw, name=path, needs_header=raw is None, block_ms=block_ms)
        except AudioError:
            stream.close()
            raise
        source._owned = True
        return source

    def __iter__(self) -> Iterator[Int16Array]:
        bytes_ = _Bytes(self._stream, self.name)
        start = bytes_.peek(_LONGEST_START)
        if not start:
            raise AudioError(f"{self.name} ended before any audio came; check the command before |")
        kind = _container(start) or _mp3(bytes_, start)
        if self._raw:
            if kind:
                logger.warning(
                    "%s begins like %s and is taken for raw samples (%s) all the same",
                    self.name,
                    kind,
                    self._raw,
                )
            return self._samples(bytes_, self._raw)
        unreadable = _container(start, _UNREADABLE)
        if unreadable:
            raise AudioError(
                f"{self.name} is {unreadable}, which is not read here; convert it first: "
                "ffmpeg -i IN -f wav - | kws listen --input -"
            )
        if kind == "WAV":
            return self._wav(bytes_)
        if kind:
            return self._recording(bytes_, kind)
        if self._needs_header:
            raise AudioError(
                f"{self.name} is not audio that can be read; give WAV, FLAC, Ogg, Opus or MP3, or "
                "say with --raw-rate, --raw-channels or --raw-format what its samples are"
            )
        return self._samples(bytes_, RawFormat())

    def _samples(
        self, bytes_: _Bytes, form: RawFormat, header: _WavHeader | None = None
    ) -> Iterator[Int16Array]:
        """Samples up to the end, or up to the length that a header states."""
        converter = Converter(form.rate)
        watch = None if header else NoiseWatch(form.rate)
        length = header.length if header and 0 < header.length < PLACEHOLDER else None
        rest = b""
        while chunk := bytes_.read(_CHUNK if length is None else min(_CHUNK, length)):
            if length is not None:
                length -= len(chunk)
                if length == 0 and not bytes_.at_chunk():
                    logger.warning(
                        "%s states a length in its header and goes on; reading it up to its end",
                        self.name,
                    )
                    length = None
            data = rest + chunk
            whole = len(data) - len(data) % form.frame_bytes
            rest = data[whole:]
            block = form.decode(data[:whole])
            if watch and watch.is_noise(block):
                logger.warning(
                    "%s sounds like loud noise, not like speech, when taken for %s; if that is not "
                    "what it is, say so with --raw-format, --raw-rate and --raw-channels",
                    self.name,
                    form,
                )
            converted = converter.convert(block)
            if len(converted):
                yield converted
        if length:
            logger.warning("%s is cut off: reading what is there", self.name)
        if rest:
            count = "one odd byte was" if len(rest) == 1 else f"{len(rest)} odd bytes were"
            logger.warning("%s ended in the middle of a sample; %s ignored", self.name, count)
        converted = converter.convert(form.decode(b""), last=True)
        if len(converted):
            yield converted
        converter.report(self.name)

    def _wav(self, bytes_: _Bytes) -> Iterator[Int16Array]:
        header = _read_wav_header(bytes_, self.name)
        if header.encoding is None:  # such as ADPCM, which is for libsndfile
            yield from self._recording(bytes_.unread(header.content), "WAV")
            return
        form = RawFormat(header.encoding, header.rate, header.channels)
        _check(self.name, form)
        if not bytes_.peek(1):
            raise AudioError(f"{self.name} holds no samples, only a header; record it again")
        yield from self._samples(bytes_, form, header)

    def _recording(self, bytes_: _Bytes, kind: str) -> Iterator[Int16Array]:
        """Through a temporary file, since decoders want to seek."""
        with tempfile.TemporaryFile() as file:
            begin, said = time.monotonic(), False
            while chunk := bytes_.read(_CHUNK):
                try:
                    file.write(chunk)
                except OSError as error:
                    raise AudioError(
                        f"{self.name} is {kind}, which is read to its end into a temporary file, "
                        f"and that cannot be written ({error.strerror}); name another folder in "
                        "the environment variable TMPDIR"
                    ) from error
                if file.tell() > _MOST_SPOOLED:
                    raise AudioError(
                        f"{self.name} is {kind} of more than {_MOST_SPOOLED >> 30} GB; give it as "
                        "a file, or pipe WAV or raw samples, which are read as they come"
                    )
                if not said and time.monotonic() - begin > PATIENCE_SECONDS:
                    said = True
                    logger.warning(
                        "%s is %s, which is read to its end first; pipe WAV or raw "
                        "samples to process them as they come",
                        self.name,
                        kind,
                    )
            yield from Sound(self.name, file).blocks(self._block_ms)

    def close(self) -> None:
        """Leave the pipe to whoever opened it."""
        if self._owned:
            self._stream.close()


def _check(name: str, form: RawFormat) -> None:
    if not LOWEST_RATE <= form.rate <= HIGHEST_RATE:
        raise AudioError(
            f"{name} is said to be at {form.rate} Hz; expected {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        )
    if not 1 <= form.channels <= MOST_CHANNELS:
        raise AudioError(
            f"{name} is said to have {form.channels} channels; expected 1 to {MOST_CHANNELS}"
        )


class _Bytes:
    """A stream that is read as its bytes come, some of which may be looked at beforehand."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name
        self._ahead = b""
        self._waits = True  # until something has come
        try:
            self._handle: int | None = stream.fileno()
        except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is the last two
            self._handle = None

    def peek(self, count: int) -> bytes:
        """The next bytes, fewer only at the end; they stay."""
        while len(self._ahead) < count and (chunk := self._next()):
            self._ahead += chunk
        return self._ahead[:count]

    def read(self, most: int = _CHUNK) -> bytes:
        """What is there now, at least a byte, at most so many; none at the end."""
        data = self._ahead or self._next()
        self._ahead = data[most:]
        return data[:most]

    def take(self, count: int) -> bytes:
        """So many bytes, fewer only at the end."""
        data = self.peek(count)
        self._ahead = self._ahead[len(data) :]
        return data

    def unread(self, data: bytes) -> _Bytes:
        """Put bytes back."""
        self._ahead = data + self._ahead
        return self

    def at_chunk(self) -> bool:
        """Whether the end has come, or the name and length of a chunk of RIFF."""
        head = self.peek(9)
        head = head[1:] if head[:1] == b"\0" else head  # the pad byte of an odd length
        return len(head) < 8 or all(0x20 <= byte < 0x7F for byte in head[:4])

    def _next(self) -> bytes:
        # read1 returns what a pipe holds now; read would wait until a whole block is there.
        read = getattr(self._stream, "read1", self._stream.read)
        try:
            if self._waits:
                self._wait()
            data = self._try(read)
            if not data and self._may_have_more():
                # "Nothing there yet" looks like the end, unless something is to be read.
                self._wait()
                data = self._try(read)
        except OSError as error:
            raise AudioError(
                f"{self._name} cannot be read ({error.strerror or error}); start it again"
            ) from error
        self._waits = False
        return data

    def _may_have_more(self) -> bool:
        """Whether an empty read may mean "nothing there yet"."""
        if self._handle is None or os.name == "nt":
            return False
        return not os.get_blocking(self._handle)

    def _try(self, read: object) -> bytes:
        try:
            return read(_CHUNK) or b""  # type: ignore[operator]
        except BlockingIOError:
            return b""

    def _wait(self) -> None:
        """Until there is something to read, or the end; says so once when that takes long."""
        if self._handle is None or os.name == "nt":
            return
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        if not poll.poll(round(1000 * PATIENCE_SECONDS)) and self._waits:
            logger.warning("%s: nothing has come yet; still waiting", self._name)
            self._waits = False
        while not poll.poll(1000):
            pass


def _container(start: bytes, kinds: tuple[tuple[int, bytes, str], ...] = _CONTAINERS) -> str | None:
    for place, magic, kind in kinds:
        if start[place:].startswith(magic):
            return kind
    return None


def _mp3(bytes_: _Bytes, start: bytes) -> str | None:
    """MP3 begins with eleven set bits only, so that a second frame must follow the first."""
    length = mp3_frame_bytes(start)
    if length and mp3_frame_bytes(bytes_.peek(_MP3_START)[length : length + 4]):
        return "MP3"
    return None


@dataclass(frozen=True)
class _WavHeader:
    """What stands before the samples of a WAV."""

    content: bytes  # as it was read
    encoding: str | None  # of RawFormat; None where that has none
    rate: int
    channels: int
    length: int  # bytes of samples, as stated


def _read_wav_header(bytes_: _Bytes, name: str) -> _WavHeader:
    """Up to the first sample; raises AudioError where there is none."""
    content = bytearray(bytes_.take(12))
    order = ">" if content[:4] == b"RIFX" else "<"
    encoding, rate, channels, long_length = None, 0, 0, 0
    known = False
    for _ in range(_MOST_CHUNKS):
        head = bytes_.take(8)
        content += head
        if len(head) < 8 or len(content) > _MOST_HEADER:
            break
        (length,) = struct.unpack(order + "I", head[4:])
        if head[:4] == b"data":
            if not known:
                break
            if length == 0xFFFF_FFFF and long_length:
                length = long_length
            return _WavHeader(bytes(content), encoding, rate, channels, length)
        body = bytes_.take(min(length + (length & 1), _MOST_HEADER))
        content += body
        if head[:4] == b"fmt " and len(body) >= 16:
            known = True
            tag, channels, rate, _, _, bits = struct.unpack_from(order + "HHIIHH", body)
            if tag == 0xFFFE and len(body) >= 26:
                (tag,) = struct.unpack_from(order + "H", body, 24)
            encoding = _wav_encoding(tag, bits, "le" if order == "<" else "be")
        if head[:4] == b"ds64" and len(body) >= 16:
            (long_length,) = struct.unpack_from("<Q", body, 8)
    raise AudioError(f"{name} is a WAV whose header ends before its samples; record it again")


def _wav_encoding(tag: int, bits: int, order: str) -> str | None:
    if tag == 1 and bits == 8:
        return "u8"
    if tag == 1 and bits in (16, 24, 32):
        return f"s{bits}{order}"
    if tag == 3 and bits in (32, 64):
        return f"f{bits}{order}"
    return {(6, 8): "alaw", (7, 8): "mulaw"}.get((tag, bits))
