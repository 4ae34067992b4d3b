"""Keeps an object from being used by two threads at once, and from use after it is closed."""

from __future__ import annotations

import threading
from functools import partial
from typing import NoReturn

from kws.errors import KwsError


class Guard:
    """Stands in a `with` statement around every use of an object.

    It never waits: a second user is told instead. Raises KwsError on entering, which leaves the
    object as it was.
    """

    def __init__(self, what: str) -> None:
        """`what` is the object's class, for the message."""
        self._what = what
        self._lock = threading.Lock()
        self._closed = False
        # For those who enter fifty times a second: without a call of ours each time.
        self.try_enter, self.leave = partial(self._lock.acquire, False), self._lock.release

    def __enter__(self) -> None:
        if not self.try_enter():
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raise what a second user is told."""
        if self._closed:
            raise KwsError(f"this {self._what} is closed; make a new one")
        raise KwsError(
            f"this {self._what} is in use by another call; give each thread a {self._what} of its "
            "own, they may share one Model"
        )

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def close(self) -> None:
        """Let nobody enter any more; may be called twice. Raises KwsError while it is in use."""
        if not self._closed:
            self.__enter__()
            self._closed = True
