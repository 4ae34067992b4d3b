"""Raw samples of every common encoding, and whether they can be speech."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kws.audio.convert import FloatArray
from kws.config import SAMPLE_RATE

_WHOLE = {  # NumPy's type, and what full scale is in it
    "s16le": ("<i2", 2.0**15),
    "u8": ("u1", 128.0),
    "s16be": (">i2", 2.0**15),
    "s32le": ("<i4", 2.0**31),
    "s32be": (">i4", 2.0**31),
    "f32le": ("<f4", 1.0),
    "f32be": (">f4", 1.0),
    "f64le": ("<f8", 1.0),
    "f64be": (">f8", 1.0),
}
_WIDTHS = {"s24le": 3, "s24be": 3, "mulaw": 1, "alaw": 1}
ENCODINGS = (*_WHOLE, *_WIDTHS)  # by the names that ffmpeg has for them; mulaw and alaw are G.711

_JUDGED_SECONDS = 2.0  # of audio that is not silent
_QUIET = 0.003  # RMS of silence, which is not judged
_WHITE, _HISS = 0.6, 0.05  # mean square of the differences over twice the mean square, and RMS
_DEAFENING = 0.35  # RMS; speech that reaches full scale stays below 0.25


@dataclass(frozen=True)
class RawFormat:
    """How raw samples are to be understood; raises ValueError for an unknown encoding."""

    encoding: str = "s16le"  # one of ENCODINGS
    rate: int = SAMPLE_RATE  # Hz
    channels: int = 1  # interleaved

    def __str__(self) -> str:
        return f"{self.encoding}, {self.rate} Hz, {self.channels} channel(s)"

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"expected one of {', '.join(ENCODINGS)}, got {self.encoding!r}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        width = _WIDTHS.get(self.encoding) or np.dtype(_WHOLE[self.encoding][0]).itemsize
        return width * self.channels

    def decode(self, data: bytes) -> FloatArray:
        """Whole frames of bytes as float32 in [-1, 1), shape (frames, channels)."""
        samples = _samples(data, self.encoding)
        return samples.reshape(-1, self.channels)


def _samples(data: bytes, encoding: str) -> FloatArray:
    if encoding == "mulaw":
        return _MULAW[np.frombuffer(data, np.uint8)]
    if encoding == "alaw":
        return _ALAW[np.frombuffer(data, np.uint8)]
    if encoding in ("s24le", "s24be"):
        triples = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(triples), 4), np.uint8)
        wide[:, 1:] = triples if encoding == "s24le" else triples[:, ::-1]
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    kind, full = _WHOLE[encoding]
    samples = np.frombuffer(data, kind)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is counted later
        if encoding == "u8":
            return ((samples.astype(np.float32) - 128.0) / np.float32(full)).astype(np.float32)
        if kind in ("<i4", ">i4"):
            return (samples / full).astype(np.float32)
        return samples.astype(np.float32) / np.float32(full)


def _mulaw_table() -> FloatArray:
    """ITU-T G.711, mu-law."""
    code: NDArray[np.int32] = 255 - np.arange(256, dtype=np.int32)
    size = (((code & 15) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return (np.where(code & 0x80, -size, size) / 32768.0).astype(np.float32)


def _alaw_table() -> FloatArray:
    """ITU-T G.711, A-law."""
    code: NDArray[np.int32] = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = code >> 4 & 7
    size = (code & 15) << 4
    size = np.where(exponent, size + 0x108 << np.maximum(exponent - 1, 0), size + 8)
    return (np.where(code & 0x80, size, -size) / 32768.0).astype(np.float32)


_MULAW, _ALAW = _mulaw_table(), _alaw_table()


class NoiseWatch:
    """Tells once, of the first seconds that are not silent, whether they can only be noise.

    Compressed audio, or samples of another width, byte order or kind, look like white noise that is
    not quiet, or are louder than speech can be, or every other one of them is zero.
    """

    def __init__(self, rate: int) -> None:
        self._left = round(_JUDGED_SECONDS * rate)
        self._square = self._steps = 0.0
        self._count = self._gaps = 0

    def is_noise(self, block: FloatArray) -> bool:
        """(frames, channels); true at most once, when enough was seen."""
        if self._left <= 0 or len(block) < 2:
            return False
        channel = np.clip(np.nan_to_num(block[:, 0], nan=1.0), -1.0, 1.0).astype(np.float64)
        square = float(np.mean(channel * channel))
        if square < _QUIET**2:
            return False
        self._square += square * (len(channel) - 1)
        self._steps += float(np.square(np.diff(channel)).sum())
        self._count += len(channel) - 1
        self._gaps += int(np.count_nonzero((channel[1:] == 0) != (channel[:-1] == 0)))
        self._left -= len(channel)
        if self._left > 0:
            return False
        loudness = (self._square / self._count) ** 0.5
        white = self._steps / (2.0 * self._square) > _WHITE and loudness > _HISS
        return white or loudness > _DEAFENING or self._gaps > 0.8 * self._count
