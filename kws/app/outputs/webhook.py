"""Events sent to a web address."""

from __future__ import annotations

import json
import logging
import queue
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from kws.app.events import Event, as_json
from kws.app.outputs.loopback import is_loopback
from kws.decision import Detection
from kws.errors import SettingError

logger = logging.getLogger(__name__)

WAITING = 64  # events; the oldest goes when another comes
TIMEOUT = 5.0  # seconds for one attempt
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between attempts, after which an event is given up


class Webhook:
    """POSTs each detection as JSON (docs/listening.md) on a thread of its own.

    An event is sent again after a failure of the network or of the server, with growing pauses,
    and given up after five attempts; a response that it is wrong (400 to 499) is not tried again.
    Redirections are not followed, so that a token goes nowhere else.
    """

    def __init__(self, url: str, token: str | None = None, insecure: bool = False) -> None:
        """`token` is sent as "Authorization: Bearer TOKEN".

        Raises SettingError for an address that is none, and for plain http to anywhere but this
        machine unless `insecure`.
        """
        _check(url, insecure)
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": "kws"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._opener = urllib.request.build_opener(_NoRedirect)
        # Whose methods are one call into C, within which no signal to stop can tear them.
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="kws webhook", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """See Output."""
        if isinstance(event, Detection):
            self._add(event)

    def close(self) -> None:
        """See Output; what waits is tried once more, for at most five seconds."""
        if not self._closed.is_set():
            self._closed.set()
            self._add(None)
        self._thread.join(TIMEOUT)

    def _add(self, event: Event | None) -> None:
        if self._events.qsize() >= WAITING:
            with suppress(queue.Empty):  # the last one was sent this moment
                lost = self._events.get_nowait()
                if isinstance(lost, Detection):
                    logger.warning("%s was not sent: %d events wait", lost.keyword, WAITING)
        self._events.put(event)

    def _send_all(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                self._send(event)
            except Exception as error:  # the thread must live on
                logger.warning("the webhook failed: %s", error)

    def _send(self, event: Event) -> None:
        body = json.dumps(as_json(event)).encode("ascii")
        problem = ""
        for pause in (*PAUSES, None):
            request = urllib.request.Request(self._url, body, self._headers, method="POST")
            try:
                with self._opener.open(request, timeout=TIMEOUT):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                problem = f"the server returned {error.code}"
                if error.code < 500:
                    break
            except OSError as error:
                problem = str(getattr(error, "reason", None) or error)
            if pause is None or self._closed.wait(pause):
                break
        logger.warning("an event was not sent to the webhook: %s", problem)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the redirection becomes an error."""
        return


def _check(url: str, insecure: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise SettingError(f"expected an address such as https://HOST/PATH: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise SettingError("expected an address such as https://HOST/PATH as webhook")
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        raise SettingError(
            f"a webhook to {host} over plain http can be read on the way; use https, "
            "or allow it with --webhook-insecure"
        )
