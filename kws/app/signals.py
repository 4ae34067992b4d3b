"""SIGINT, SIGTERM and SIGHUP: they end the wait for audio at once and tear nothing else."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PATIENCE = 0.8  # s that something shielded may take before it is torn after all

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # not every system has each


class Stopped(BaseException):
    """A signal to stop. Like KeyboardInterrupt, it is no Exception."""


class StopSignals:
    """While it stands in a `with` statement, the first of these signals raises Stopped.

    While `shielded` is true it only sets `received`, so that a line is written whole and a word is
    decided; what is shielded has PATIENCE to look there. A later signal does nothing at first, so
    that what must be written at the end is written, and raises once PATIENCE is over. A request to
    reload is not urgent: it raises only while audio is waited for, tears nothing, and a signal to
    stop takes its place. A signal that was ignored before, as by nohup, stays ignored. Python has
    signals in the main thread only; elsewhere this does nothing.
    """

    def __init__(self, reload: bool = False) -> None:
        """With `reload`, a SIGHUP reads the configuration again instead of stopping."""
        self._reload = reload
        self.shielded = False
        self.waits = False  # whether audio is waited for
        self.received: int | None = None  # the signal's number
        self.torn = False  # whether something shielded took too long
        self._since = 0.0  # when it was received
        self._before: dict[int, Any] = {}

    @property
    def asks_to_reload(self) -> bool:
        """Whether that is what was received."""
        return self._reload and self.received == getattr(signal, "SIGHUP", -1)

    def clear(self) -> None:
        """The request to reload has been dealt with; the next signal is the first again.

        Raises Stopped where a signal to stop has taken its place.
        """
        if self.received is not None and not self.asks_to_reload:
            raise Stopped
        self.received = None

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Shields a few lines within what is not shielded."""
        if self.shielded or threading.current_thread() is not threading.main_thread():
            yield
            return
        self.shielded = True
        try:
            yield
        finally:
            self.shielded = False
        if self.received is not None and (self.waits or not self.asks_to_reload):
            raise Stopped

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for name in NAMES:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
            if hasattr(signal, "SIGALRM"):
                self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._tear)
        return self

    def __exit__(self, *_: object) -> None:
        self._set_alarm(0.0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.received is None or self.asks_to_reload:
            self.received = number
            self._since = time.monotonic()
            if not self.asks_to_reload:
                self._set_alarm(PATIENCE)
            if not self.shielded and (self.waits or not self.asks_to_reload):
                raise Stopped
        elif time.monotonic() - self._since > PATIENCE:
            raise Stopped

    def _tear(self, *_: object) -> None:
        if self.shielded:
            self.torn = True
            raise Stopped

    def _set_alarm(self, seconds: float) -> None:
        if self._before and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)
