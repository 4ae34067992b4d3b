"""A recording opened once and decoded from its beginning to its true end, within bounds."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import soundfile

from kws.audio.convert import Converter, FloatArray, Int16Array, to_int16
from kws.audio.header import Patched, mend, stated_samples
from kws.audio.source import reason
from kws.errors import AudioError

LOWEST_RATE, HIGHEST_RATE = 4_000, 768_000  # Hz; outside, a header is wrong rather than unusual
MOST_CHANNELS = 256  # likewise
MOST_VALUES = 1 << 18  # in one block of all channels: 1 MB of float32, whatever a header says

_ERRORS = (soundfile.LibsndfileError, OSError, RuntimeError, ValueError)

logger = logging.getLogger(__name__)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """Never seeks, since a length that is not known cannot be sought in."""

    def seekable(self) -> bool:
        """See soundfile.SoundFile."""
        return False


class Sound:
    """What libsndfile decodes of an open file, in blocks.

    Raises AudioError, on construction or while it is read, where the file is not audio, holds no
    samples, is damaged, or states a rate or channel count that no recording has. A header that
    states another length than the file has is warned of.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        """`file` can be sought in, belongs to the sound from now on, and is closed with it.

        `name` is for messages.
        """
        self.name = name
        self._file = file
        self._read = 0  # frames
        try:
            self._sound = self._open()
            self._check()
        except AudioError:
            self.close()
            raise

    def _open(self) -> Any:
        try:
            mended = mend(self._file)
            self._stated = stated_samples(self._file)
            self._file.seek(0)
            source = Patched(self._file, mended) if mended else self._file
            sound = _Sequential(source)
        except TypeError as error:  # of a file that is called .raw
            raise AudioError(
                f"{self.name} is called raw samples, which do not say of what rate and kind they "
                "are; pipe them into kws listen --input - with --raw-format and --raw-rate"
            ) from error
        except _ERRORS as error:
            raise AudioError(
                f"{self.name} is not audio that can be read ({reason(error)}); give WAV, FLAC, "
                "Ogg, Opus or MP3, or pipe raw samples into --input -"
            ) from error
        if mended and mended.notice:
            logger.warning("%s %s", self.name, mended.notice)
        return sound

    def _check(self) -> None:
        self.rate: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        if self._sound.frames == 0:
            raise AudioError(f"{self.name} holds no samples, only a header; record it again")
        if not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            raise AudioError(
                f"{self.name} says that it is at {self.rate} Hz; expected {LOWEST_RATE} to "
                f"{HIGHEST_RATE} Hz, so its header is probably damaged; convert it again"
            )
        if self.channels > MOST_CHANNELS:
            raise AudioError(
                f"{self.name} says that it has {self.channels} channels; expected at most "
                f"{MOST_CHANNELS}, so its header is probably damaged; convert it again"
            )

    def blocks(self, milliseconds: int) -> Iterator[Int16Array]:
        """All of it as int16 mono at 16 kHz, in blocks of so long or shorter, never empty."""
        converter = Converter(self.rate)
        frames = max(1, min(self.rate * milliseconds // 1000, MOST_VALUES // self.channels))
        last = False
        while not last:
            block = self.read(frames)
            last = len(block) == 0
            converted = converter.convert(block, last)
            if len(converted):
                yield converted
        converter.report(self.name)

    def read(self, frames: int) -> FloatArray:
        """The next frames, shape (at most frames, channels), in [-1, 1); none at the end."""
        block: FloatArray = self._decode(frames, "float32")
        return block

    def read_int16(self, frames: int) -> Int16Array:
        """The next frames, shape (at most frames, channels); none at the end."""
        if self._sound.subtype in ("FLOAT", "DOUBLE"):  # libsndfile would not scale them
            return to_int16(np.nan_to_num(self.read(frames)))
        block: Int16Array = self._decode(frames, "int16")
        return block

    def _decode(self, frames: int, kind: str) -> Any:
        try:
            block = self._sound.read(frames, dtype=kind, always_2d=True)
        except _ERRORS as error:
            raise AudioError(
                f"{self.name} is damaged after {self._read / self.rate:.1f} s "
                f"({reason(error)}); what was read before that counts"
            ) from error
        self._read += len(block)
        if not len(block):
            self._end()
        return block

    def _end(self) -> None:
        """What is known at the end only."""
        if not self._read:
            raise AudioError(f"{self.name} holds no samples, only a header; record it again")
        if self._stated and self._stated != self._read:
            logger.warning(
                "%s states a length of %.1f s in its header and holds %.1f s; all of it was read",
                self.name,
                self._stated / self.rate,
                self._read / self.rate,
            )
            self._stated = 0

    def close(self) -> None:
        """Close the file too; may be called twice."""
        if hasattr(self, "_sound"):
            self._sound.close()
        self._file.close()

    def __del__(self) -> None:
        self.close()


def open_sound(path: str | os.PathLike[str]) -> Sound:
    """A recording on disk; raises AudioError where it cannot be opened, and as Sound does."""
    name = os.fspath(path)
    if os.path.isdir(name):
        raise AudioError(f"{name} is a folder; name one recording in it")
    try:
        file = open(name, "rb")  # noqa: SIM115 - closed by the sound
        empty = not file.read(1)
    except (OSError, ValueError) as error:
        raise AudioError(
            f"cannot open {name}: {getattr(error, 'strerror', error)}; check the path and its "
            "permissions"
        ) from error
    if empty:
        file.close()
        raise AudioError(f"{name} is empty (0 bytes); record it again")
    return Sound(name, file)
