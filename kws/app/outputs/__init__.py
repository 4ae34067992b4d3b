"""Where events go: one small file for each kind of output, all behind one protocol."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from kws.app.events import Event, event_name
from kws.errors import KwsError

logger = logging.getLogger(__name__)


class Output(Protocol):
    """Takes events, one at a time, in the order in which they came.

    `put` is called by whoever reads the audio, so it returns at once; what takes longer, such as a
    network, belongs on a thread of the output's own. An output for which listening makes no sense
    any more, such as a pipe that was closed, raises KwsError or BrokenPipeError; whatever else it
    raises is logged and listening goes on.
    """

    def put(self, event: Event) -> None:
        """Take an event."""

    def close(self) -> None:
        """No more events come; may be called twice."""


class Outputs:
    """Several outputs as one. Events may come from any thread; each output sees one at a time."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        """They are closed with this one."""
        self._outputs = tuple(outputs)
        self._lock = threading.RLock()

    def put(self, event: Event) -> None:
        """See Output."""
        with self._lock:
            for output in self._outputs:
                try:
                    output.put(event)
                except (KwsError, BrokenPipeError):
                    raise
                except Exception as error:
                    logger.warning(
                        "%s failed on the event %s: %s",
                        type(output).__name__,
                        event_name(event),
                        error,
                    )

    def replace(self, old: Sequence[Output], new: Sequence[Output]) -> None:
        """Go on with some outputs in place of others, which are closed."""
        with self._lock:
            kept = [each for each in self._outputs if not any(each is other for other in old)]
            self._outputs = (*kept, *new)
        _close(old)

    def close(self) -> None:
        """See Output; each is closed, whatever another raises."""
        _close(self._outputs)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(outputs: Sequence[Output]) -> None:
    for output in outputs:
        try:
            output.close()
        except Exception as error:
            logger.warning("%s failed to close: %s", type(output).__name__, error)
