"""Signal handlers at every place where Python lets one in, so that none is left to chance."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

PATIENCE = 30.0  # s, for a machine that is busy

FILES = ("microphone", "feed", "wakeup", "queue", "threading")  # what is interrupted


class Torn(BaseException):
    """What a signal handler raises."""


def ends(run: Callable[[], object]) -> bool:
    """Run it on a thread of its own; whether it comes to an end."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


def interrupt(run: Callable[[], object], handler: Callable[[], object], at: int) -> bool:
    """Run it on a thread, with a handler at that place, from 1; False where it has fewer.

    What the handler raises ends it.
    """
    places = 0

    def trace(frame: object, _event: str, _argument: object) -> object:
        nonlocal places
        if Path(frame.f_code.co_filename).stem not in FILES:  # type: ignore[attr-defined]
            return None
        places += 1
        if places == at:
            sys.settrace(None)
            handler()
        return trace

    def work() -> None:
        sys.settrace(trace)
        try:
            run()
        except Torn:
            pass
        finally:
            sys.settrace(None)

    assert ends(work), f"it hangs after a handler at place {at}"
    return places >= at


def tear() -> None:
    """A handler that raises."""
    raise Torn
