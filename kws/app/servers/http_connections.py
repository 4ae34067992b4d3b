"""Connections of an HTTP server that cannot be held open, nor too many at once."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

CONNECTIONS = 64  # at once; of more, the one goes that has waited longest without a request
REQUEST = 10.0  # seconds from the connection to the end of the request's headers
RESPONSE = 120.0  # seconds from there to the end of the response
UNREAD = 65_536  # bytes that wait for a client in the system's memory

_quiet = logging.getLogger(f"{__name__}.aiohttp")  # what clients send wrong is no event of ours
_quiet.setLevel(logging.CRITICAL + 1)


class Connections(web.Server):
    """Makes a connection for each client; one request each, and no body is read."""

    def __init__(self, respond: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        """`respond` is called for each request."""
        super().__init__(
            respond,
            handler_cancellation=True,
            access_log=None,
            logger=_quiet,
            lingering_time=0.0,
            max_line_size=4096,
            max_field_size=4096,
            max_headers=64,
        )
        self.open: dict[_Connection, None] = {}  # the oldest first

    def __call__(self) -> web.RequestHandler:
        """A protocol for a client who has just connected."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def _make_request(self, *parts: Any) -> web.BaseRequest:
        """Called as a request's headers are complete."""
        request = super()._make_request(*parts)
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.requested = True
        connection.set_limit(RESPONSE)
        return request

    def admit(self, connection: _Connection) -> None:
        """Count it in, and drop another one, or else this one, where there are too many."""
        self.open[connection] = None
        if len(self.open) > CONNECTIONS:
            next((each for each in self.open if not each.requested), connection).drop()


def no_time_limit(request: web.BaseRequest) -> None:
    """Let the response to this request take as long as the client reads it."""
    connection = request.protocol
    assert isinstance(connection, _Connection)
    connection.set_limit(None)


class _Connection(web.RequestHandler):
    """A client's connection, with a time limit."""

    def __init__(self, server: Connections, **settings: Any) -> None:
        super().__init__(server, **settings)
        self.requested = False
        self._server = server
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        opened: socket.socket = transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)
        self.set_limit(REQUEST)
        self._server.admit(self)

    def connection_lost(self, error: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self.set_limit(None)
        self._server.open.pop(self, None)
        super().connection_lost(error)

    def set_limit(self, seconds: float | None) -> None:
        """Drop it so long from now unless it has ended; None: never."""
        if self._limit:
            self._limit.cancel()
        self._limit = None
        if seconds is not None:
            self._limit = self._loop.call_later(seconds, self.drop)

    def drop(self) -> None:
        """Close it, whatever is under way."""
        self._server.open.pop(self, None)
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
