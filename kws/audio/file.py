"""Recordings in any format that libsndfile reads."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from kws.audio.convert import Converter, Int16Array
from kws.audio.source import BLOCK_MS, Closing, reason
from kws.errors import AudioError

LOWEST_RATE, HIGHEST_RATE = 4_000, 768_000  # Hz; outside, a header is wrong rather than unusual

PIPE_LENGTH = 0x7FFF_0000  # bytes; WAV headers that state this or more mean "unknown"

logger = logging.getLogger(__name__)


class AudioFile(Closing):
    """A recording of any rate and channel count in any format that libsndfile reads.

    It is read in blocks of `block_ms`; longer ones cost less.

    Raises AudioError, on construction or while it is read, where the file cannot be opened, is not
    audio, holds no samples or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], block_ms: int = BLOCK_MS) -> None:
        import soundfile

        self.name = os.fspath(path)
        self._block_ms = block_ms
        self._errors = (soundfile.LibsndfileError, OSError, RuntimeError)
        if os.path.isdir(self.name):
            raise AudioError(f"{self.name} is a folder; name one recording in it")
        try:
            with open(self.name, "rb") as opened:
                empty = not opened.read(1)
        except OSError as error:
            raise AudioError(
                f"cannot open {self.name}: {error.strerror}; check the path and its permissions"
            ) from error
        if empty:
            raise AudioError(f"{self.name} is empty (0 bytes); record it again")
        try:
            self._sound: Any = soundfile.SoundFile(self.name)
        except self._errors as error:
            raise AudioError(
                f"{self.name} is not audio that can be read ({reason(error)}); give WAV, FLAC, "
                "Ogg, Opus or MP3, or pipe raw 16 kHz int16 samples into --input -"
            ) from error
        try:
            self._check()
        except AudioError:
            self.close()
            raise

    def _check(self) -> None:
        rate, frames = self._sound.samplerate, self._sound.frames
        if frames == 0:
            raise AudioError(f"{self.name} holds no samples, only a header; record it again")
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioError(
                f"{self.name} says that it is at {rate} Hz; expected {LOWEST_RATE} to "
                f"{HIGHEST_RATE} Hz, so its header is probably damaged; convert it again"
            )
        # libsndfile reads what is there of a WAV and notes the difference. A recorder that writes
        # into a pipe cannot know the length and states the largest one: nothing is missing then.
        cut = re.search(r"^data : (\d+) \(should be (\d+)\)", self._sound.extra_info, re.M)
        if cut and int(cut[2]) < int(cut[1]) < PIPE_LENGTH:
            logger.warning(
                "%s is cut off: hearing the %.1f s that are there", self.name, frames / rate
            )

    def __iter__(self) -> Iterator[Int16Array]:
        rate = self._sound.samplerate
        converter = Converter(rate)
        last = False
        while not last:
            try:
                block = self._sound.read(
                    rate * self._block_ms // 1000, dtype="float32", always_2d=True
                )
            except self._errors as error:
                raise AudioError(
                    f"{self.name} is damaged after {self._sound.tell() / rate:.1f} s "
                    f"({reason(error)}); what was heard before that stands"
                ) from error
            last = len(block) == 0
            converted = converter.convert(block, last)
            if len(converted):
                yield converted
        self._report(converter)

    def _report(self, converter: Converter) -> None:
        if converter.not_numbers:
            logger.warning(
                "%s holds %d samples that are not numbers; they were heard as silence",
                self.name,
                converter.not_numbers,
            )
        if converter.peak > 2.0:  # resampled or mixed music goes a little above 1
            logger.warning(
                "%s reaches %.3g times full scale and was clipped; float samples lie in [-1, 1]",
                self.name,
                converter.peak,
            )

    def close(self) -> None:
        self._sound.close()
