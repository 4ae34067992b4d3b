"""Recordings in any format that libsndfile reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from kws.audio.convert import Int16Array
from kws.audio.pipe import AudioPipe
from kws.audio.sound import Sound, open_sound
from kws.audio.source import BLOCK_MS, Closing


class AudioFile(Closing):
    """A recording of any rate and channel count in any format that libsndfile reads.

    It is read in blocks of `block_ms`; longer ones cost less. A pipe that has a name (a FIFO, the
    shell's `<(...)`, /dev/stdin) is read once, as it comes.

    Raises AudioError, on construction or while it is read, where the file cannot be opened, is not
    audio, holds no samples or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], block_ms: int = BLOCK_MS) -> None:
        self.name = os.fspath(path)
        self._block_ms = block_ms
        self._source: Sound | AudioPipe
        if _is_stream(self.name):
            self._source = AudioPipe.open(self.name, block_ms=block_ms)
        else:
            self._source = open_sound(self.name)

    def __iter__(self) -> Iterator[Int16Array]:
        if isinstance(self._source, AudioPipe):
            return iter(self._source)
        return self._source.blocks(self._block_ms)

    def close(self) -> None:
        self._source.close()


def _is_stream(path: str) -> bool:
    """Whether a path names something that cannot be sought in; not where there is nothing."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
