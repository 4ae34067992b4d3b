"""A mute switch in a stream of audio, thrown by hand or for a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from kws.audio.gap import Gap
from kws.config import SAMPLE_RATE


class Pause:
    """Replaces blocks of audio by gaps while it is on; may be thrown from any thread."""

    def __init__(self, tell: Callable[[bool], object] = lambda _: None) -> None:
        """`tell(True)` is called when it goes on, `tell(False)` when it goes off."""
        self._tell = tell
        self._lock = threading.RLock()
        self._on = False
        self._samples = 0  # of the stream so far
        self._until: int | None = None  # goes off by itself from this sample on

    @property
    def on(self) -> bool:
        """Whether what is said is left out."""
        return self._on

    def pause(self, seconds: float | None = None) -> None:
        """Leave out what is said from now on, for so many seconds of the stream or until `resume`.

        A pause without end stays one, whatever time is given later.
        """
        with self._lock:
            if seconds is None:
                self._until = None
            elif not self._on or self._until is not None:
                self._until = self._samples + round(seconds * SAMPLE_RATE)
            if not self._on:
                self._on = True
                self._tell(True)

    def resume(self) -> None:
        """Let audio pass again."""
        with self._lock:
            self._until = None
            if self._on:
                self._on = False
                self._tell(False)

    def passed(self, block: Any) -> Any:
        """The next block or gap of the stream, or a gap in its place."""
        with self._lock:
            if self._until is not None and self._samples >= self._until:
                self.resume()
            if isinstance(block, Gap):
                self._samples += block.samples
            elif isinstance(block, np.ndarray):
                self._samples += len(block)
                return Gap(len(block)) if self._on and len(block) else block
            return block
