"""Headers that lie about the length of what follows them, mended so that all of it is read.

A recorder that was cut off leaves a length of zero or of its last update, one that writes into a
pipe a placeholder, a copy that was cut off a length beyond its end. A decoder believes them. Here
the length is compared with the file's, and a header that lies is replaced in what the decoder sees;
the file itself is never touched.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

PLACEHOLDER = 0x7FFF_0000  # bytes; a 32-bit length of this or more is a streaming recorder's
_START = 1 << 16  # bytes in which a header ends, or is none of ours
_MOST_CHUNKS = 10_000  # a real file has ten; a hostile one gets no further
_XING_BOTH = 3  # the flags of a Xing header that states frames and bytes
_MANY_FRAMES = 1 << 24  # a week of MP3


@dataclass(frozen=True)
class Mended:
    """What stands for the first `start` bytes of a file, and the warning that goes with it."""

    header: bytes
    start: int
    notice: str | None  # to be put after the name of the file


def mend(file: BinaryIO) -> Mended | None:
    """What to read instead of the header of an open file, or None where it can be believed."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(_START)
    if start[:4] in (b"RIFF", b"RIFX", b"RF64") and start[8:12] == b"WAVE":
        return _wav(file, start, size)
    if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, start, size)
    if start[:4] in (b".snd", b"dns."):
        return _au(start, size)
    if start[:4] == b"caff":
        return _caf(file, start, size)
    if start[:4] == b"fLaC" and len(start) >= 42:
        return _flac(start)
    return _mp3(start, size)


class Patched(io.RawIOBase):
    """A file whose beginning reads as something else."""

    def __init__(self, file: BinaryIO, mended: Mended) -> None:
        self._file, self._header = file, mended.header
        self._shift = mended.start - len(mended.header)
        self._size = file.seek(0, os.SEEK_END) - self._shift
        self._position = 0

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def seekable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def tell(self) -> int:
        """See io.RawIOBase."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See io.RawIOBase."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """See io.RawIOBase."""
        if size < 0:
            size = max(0, self._size - self._position)
        data = self._header[self._position : self._position + size]
        if len(data) < size:
            self._file.seek(self._position + len(data) + self._shift)
            data += self._file.read(size - len(data))
        self._position += len(data)
        return data

    def readinto(self, buffer: object) -> int:
        """See io.RawIOBase."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def _chunks(
    file: BinaryIO, position: int, size: int, form: str
) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content and stated length of each chunk from `position` on."""
    width = struct.calcsize(form)
    for _ in range(_MOST_CHUNKS):
        if position + 4 + width > size:
            return
        file.seek(position)
        head = file.read(4 + width)
        (length,) = struct.unpack(form, head[4:])
        position += 4 + width
        yield head[:4], position, length
        position += length + (length & 1 if width == 4 else 0)


def _are_chunks(file: BinaryIO, position: int, size: int, form: str) -> bool:
    """Whether the rest of a file from `position` on is made of chunks, or is a tag, or nothing."""
    for name, place, length in _chunks(file, position, size, form):
        if name[:3] in (b"ID3", b"TAG"):
            return True
        if not all(0x20 <= byte < 0x7F for byte in name) or place + length > size:
            return False
    return True


def _judge(
    file: BinaryIO, place: int, stated: int, size: int, form: str, per_second: int
) -> tuple[int, str | None]:
    """The true length of a data chunk, and what to say where another one was stated."""
    there = size - place
    seconds = there / max(1, per_second)
    if stated > there:
        if stated >= PLACEHOLDER and size < stated:
            return there, f"does not state its length; reading the {seconds:.1f} s up to its end"
        return there, f"is cut off: reading the {seconds:.1f} s that are there"
    after = place + stated + (stated & 1)
    if stated < there and not _are_chunks(file, after, size, form):
        believed = stated / max(1, per_second)
        return there, (
            f"states a length of {believed:.1f} s in its header and goes on; "
            f"reading the {seconds:.1f} s up to its end"
        )
    return stated, None


def _wav(file: BinaryIO, start: bytes, size: int) -> Mended | None:
    form = ">I" if start[:4] == b"RIFX" else "<I"
    settings, long_length = b"", None
    for name, place, stated in _chunks(file, 12, size, form):
        if name == b"ds64" and place + 16 <= len(start):
            (long_length,) = struct.unpack_from("<Q", start, place + 8)
        if name == b"fmt " and place + min(stated, 64) <= len(start) and stated >= 16:
            settings = start[place : place + min(stated, 64)]
        if name == b"data":
            break
    else:
        return None
    if not settings:
        return None
    per_second, align = struct.unpack_from(form[0] + "IH", settings, 8)
    if stated == 0xFFFF_FFFF and long_length is not None:
        stated = long_length
    length, notice = _judge(file, place, stated, size, form, per_second)
    if notice is None:
        return None
    length -= length % max(1, align)
    parts = [b"fmt ", struct.pack(form, len(settings)), settings, b"data"]
    if length + 64 + len(settings) < 0xFFFF_FFFF:
        body = b"".join(parts) + struct.pack(form, length)
        riff = b"RIFX" if form == ">I" else b"RIFF"
        return Mended(
            riff + struct.pack(form, 4 + len(body) + length) + b"WAVE" + body, place, notice
        )
    # Beyond what 32 bits can state; samples in big-endian order are never that long.
    body = b"".join(parts) + b"\xff" * 4
    sizes = struct.pack("<IQQQI", 28, 4 + 36 + len(body) + length, length, 0, 0)
    return Mended(b"RF64" + b"\xff" * 4 + b"WAVEds64" + sizes + body, place, notice)


def _aiff(file: BinaryIO, start: bytes, size: int) -> Mended | None:
    per_second = 0
    for name, place, stated in _chunks(file, 12, size, ">I"):  # noqa: B007
        if name == b"COMM" and place + 18 <= len(start):
            channels, _, bits = struct.unpack_from(">HIH", start, place)
            per_second = round(_extended(start[place + 8 : place + 18])) * channels * bits // 8
        if name == b"SSND":
            break
    else:
        return None
    if place > len(start):
        return None
    length, notice = _judge(file, place, stated, size, ">I", per_second)
    if notice is None:
        return None
    whole = struct.pack(">I", min(size - 8, 0xFFFF_FFFF))
    return Mended(
        b"FORM" + whole + start[8 : place - 4] + struct.pack(">I", min(length, 0xFFFF_FFFF)),
        place,
        notice,
    )


def _extended(number: bytes) -> float:
    """An 80-bit float, as AIFF states its rate; 0 for nonsense."""
    exponent, mantissa = struct.unpack(">hQ", number)
    power = exponent - 16383 - 63
    return float(mantissa) * 2.0**power if -64 <= power <= 0 else 0.0


def _au(start: bytes, size: int) -> Mended | None:
    form = ">I" if start[:4] == b".snd" else "<I"
    if len(start) < 24:
        return None
    place, stated = struct.unpack(form[0] + "II", start[4:12])
    there = size - place
    if there < 0 or stated == there or place > len(start):
        return None
    notice = None
    if stated != 0xFFFF_FFFF:  # which is how the format says "unknown"
        notice = (
            "is cut off: reading what is there"
            if there < stated < PLACEHOLDER
            else "states another length in its header than it has; reading it up to its end"
        )
    return Mended(
        start[:8] + struct.pack(form, min(there, 0xFFFF_FFFF)) + start[12:place], place, notice
    )


def _caf(file: BinaryIO, start: bytes, size: int) -> Mended | None:
    for name, place, stated in _chunks(file, 8, size, ">Q"):  # noqa: B007
        if name == b"data":
            break
    else:
        return None
    there = size - place
    if place > len(start) or stated == there:
        return None
    if stated < there and _are_chunks(file, place + stated, size, ">Q"):
        return None
    notice = None
    if stated != 0xFFFF_FFFF_FFFF_FFFF:  # which is how the format says "unknown"
        notice = (
            "is cut off: reading what is there"
            if there < stated
            else "states another length in its header than it has; reading it up to its end"
        )
    return Mended(start[: place - 8] + struct.pack(">Q", there), place, notice)


def _flac(start: bytes) -> Mended:
    """With an unknown number of samples; `stated_samples` tells whether it was right."""
    (numbers,) = struct.unpack_from(">Q", start, 18)
    return Mended(start[:18] + struct.pack(">Q", numbers >> 36 << 36), 26, None)


def stated_samples(file: BinaryIO) -> int:
    """The frames that a FLAC header states; 0 where it states none or the file is no FLAC."""
    file.seek(0)
    start = file.read(26)
    if start[:4] != b"fLaC" or len(start) < 26:
        return 0
    (numbers,) = struct.unpack_from(">Q", start, 18)
    return int(numbers & 0xF_FFFF_FFFF)


def _mp3(start: bytes, size: int) -> Mended | None:
    """With a Xing header that counts more frames than there are.

    Without one, libmpg123 takes all frames to be as long as the first, and stops too early.
    """
    first = 0
    if start[:3] == b"ID3" and len(start) >= 10:
        first = 10 + sum((byte & 0x7F) << 7 * (3 - index) for index, byte in enumerate(start[6:10]))
    head = start[first : first + 4]
    if not mp3_frame_bytes(head):
        return None
    version, mono = head[1] >> 3 & 3, head[3] >> 6 == 3
    place = first + 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))
    if start[place : place + 4] not in (b"Xing", b"Info"):
        # A frame of 128 kbit/s (MPEG 2: 64) without a checksum, as silent as such headers are.
        frame = bytes(
            (0xFF, head[1] | 1, (0x90 if version == 3 else 0x80) | head[2] & 0x0C, head[3])
        )
        length = mp3_frame_bytes(frame) or 0
        frame += bytes(place - first - 4) + b"Xing"
        frame += struct.pack(">III", _XING_BOTH, _MANY_FRAMES, size - first + length)
        return Mended(start[:first] + frame.ljust(length, b"\0"), first, None)
    if place + 16 > len(start):
        return None
    flags, frames, stated = struct.unpack_from(">III", start, place + 4)
    if flags & _XING_BOTH != _XING_BOTH:
        return None
    if frames and abs(stated - (size - first)) <= 0.01 * size + 256:
        return None
    notice = "states another length in its header than it has; reading it up to its end"
    counts = struct.pack(">II", _MANY_FRAMES, size - first)
    return Mended(start[: place + 8] + counts, place + 16, notice)


def mp3_frame_bytes(head: bytes) -> int | None:
    """The length of the frame of MPEG audio, layer III, that begins so; None if none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 3
    kilobits = (
        (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
        if first
        else (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    )[bitrate]
    hertz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144 if first else 72) * kilobits * 1000 // hertz + (head[2] >> 1 & 1)
