"""systemd's notify protocol: ready, reloading, stopping, status and watchdog.

The protocol is a datagram of NAME=value lines to the socket that NOTIFY_SOCKET names; see
sd_notify(3).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kws.app.events import End, Event, Paused, Ready, Resumed
from kws.audio.events import SourceEvent
from kws.decision import Detection
from kws.detector import Int16Array
from kws.frontend import FloatArray

if TYPE_CHECKING:
    import socket

logger = logging.getLogger(__name__)


class Systemd:
    """Tells the service manager what it wants to know; without NOTIFY_SOCKET it tells nobody.

    It is an output and an observer of the detector. Where the manager wants a watchdog, it is
    told that all is well as long as audio is processed, listening is paused, or a device that has
    gone is waited for.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment)
        self._socket: socket.socket | None = None
        if self._address is not None:
            import socket  # most programs have no service manager

            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)  # a manager that does not read must not hold us up
        self._alive = True  # whether audio was processed since the watchdog was told last
        self._gone = self._paused = False
        self._closed = threading.Event()
        period = _watchdog_seconds(environment)
        self._thread = threading.Thread(
            target=self._watch, args=(period / 2,), name="kws watchdog", daemon=True
        )
        if self._socket is not None and period > 0.0:
            self._thread.start()

    def put(self, event: Event) -> None:
        """See Output."""
        if isinstance(event, Ready):
            self._gone = False
            self._send(f"READY=1\nSTATUS=Listening to {event.source}")
        elif isinstance(event, Paused | Resumed):
            self._paused = isinstance(event, Paused)
            self._alive = True
            self._send(f"STATUS={'Paused' if self._paused else 'Listening'}")
        elif isinstance(event, SourceEvent):
            if event.kind in ("gone", "waiting", "back"):
                self._gone = event.kind != "back"
                self._alive = True
            self._send(f"STATUS={event.message}")
        elif isinstance(event, End) and event.reason == "reload":
            microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")
        elif isinstance(event, End):
            self._send("STOPPING=1")

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """See kws.detector.Observer."""
        self._alive = True

    def close(self) -> None:
        """See Output."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _watch(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            if self._alive or self._gone or self._paused:
                self._send("WATCHDOG=1")
            self._alive = False

    def _send(self, message: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError as error:
            logger.warning("the service manager was not told: %s", error)


def _address(environment: Mapping[str, str]) -> str | None:
    """Where the manager listens, a path or, beginning with @, an abstract name; None: nowhere."""
    name = environment.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")) or sys.platform == "win32":
        return None
    return f"\0{name[1:]}" if name.startswith("@") else name


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """How long the manager waits for a sign of life; 0: for ever, or that is another's duty."""
    text = environment.get("WATCHDOG_USEC", "")
    process = environment.get("WATCHDOG_PID", "")
    if not text.isdecimal() or process not in ("", str(os.getpid())):
        return 0.0
    return int(text) / 1e6
