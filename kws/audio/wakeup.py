"""What one thread waits for and another one, or a signal handler, sets."""

from __future__ import annotations

import threading


class Wakeup:
    """Like threading.Event, but one `set` ends one `wait`, and no signal can tear either.

    An Event is Python around a lock: a signal handler that raises in the middle of a method leaves
    the lock locked for ever, and one that calls `set` there waits for itself. Here each method is
    one call into C, before or behind which handlers run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # locked until it is set
        self._lock.acquire()

    def set(self) -> None:
        """End the wait that goes on, or the next one; returns at once."""
        try:  # noqa: SIM105 `suppress` is four calls of Python, with every block
            self._lock.release()
        except RuntimeError:  # it is set already
            pass

    def wait(self, seconds: float = -1.0) -> bool:
        """Until it is set, at most so many seconds (default: for ever); whether it was."""
        return self._lock.acquire(timeout=seconds)
