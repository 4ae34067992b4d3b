"""Raw samples from a pipe."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from kws.audio.convert import Int16Array
from kws.audio.source import Closing
from kws.errors import AudioError

logger = logging.getLogger(__name__)


class RawPcm(Closing):
    """Little-endian int16 mono 16 kHz samples from a pipe, as they come.

    Raises AudioError where the stream is a terminal, is empty, or is a file with a header.
    """

    name = "standard input"
    HEADERS = (b"RIFF", b"fLaC", b"OggS", b"ID3")

    def __init__(self, stream: BinaryIO | None = None) -> None:
        if stream is None:
            stream = None if sys.stdin is None else sys.stdin.buffer
        if stream is None or stream.isatty():
            raise AudioError(
                "standard input carries no audio; pipe raw samples into it, for example: "
                "arecord -q -t raw -f S16_LE -r 16000 -c 1 | kws listen --input -"
            )
        self._stream = stream

    def __iter__(self) -> Iterator[Int16Array]:
        # read1 returns what a pipe holds now; read would wait until a whole block is there.
        read = getattr(self._stream, "read1", self._stream.read)
        rest = b""
        heard = 0
        while chunk := read(65536):
            if heard == 0 and chunk.startswith(self.HEADERS):
                raise AudioError(
                    "standard input is an audio file with a header, not raw samples; "
                    "give the file itself with --input FILE"
                )
            heard += len(chunk)
            data = rest + chunk
            whole = len(data) & ~1
            rest = data[whole:]
            if whole:
                yield np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)
        if heard == 0:
            raise AudioError(
                "standard input ended before any audio came; check the command before |"
            )
        if rest:
            logger.warning(
                "standard input ended in the middle of a sample; one odd byte was ignored"
            )

    def close(self) -> None:
        """Leave the pipe to whoever opened it."""
