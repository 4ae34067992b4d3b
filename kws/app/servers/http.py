"""Events, metrics and a page over HTTP (docs/web.md).

A request reads nothing but what lies in memory since the start, and changes nothing but whether
the microphone is muted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from kws.app.events import Event
from kws.app.outputs.loopback import is_loopback
from kws.app.servers import Mute
from kws.app.servers.address import Address, check_token
from kws.app.servers.http_state import State
from kws.app.servers.site import File
from kws.decision import Detection
from kws.detector import Int16Array
from kws.errors import KwsError
from kws.frontend import FloatArray

try:
    from aiohttp import web

    from kws.app.servers.http_connections import Connections, no_time_limit
except ImportError as error:
    raise KwsError("kws serve --http needs aiohttp; run: pip install 'kws[web]'") from error

logger = logging.getLogger(__name__)

CLIENTS = 16  # that follow the events at once
WAITING = 64  # messages for one of them; one that does not read them is dropped
PERIOD = 0.1  # seconds from one message about the level to the next
HEARTBEAT = 15.0  # seconds without a message after which an empty one keeps the connection
COOKIE = "kws_token"
POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "Server": "kws",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpServer:
    """A Server, and an Observer of the detector, for the page and for programs."""

    def __init__(
        self, address: Address, token: str | None, site: Mapping[str, File], browser: Any
    ) -> None:
        """`site` are the files by path; `browser` is what the page needs to listen by itself.

        Raises SettingError for an address that other machines can reach without a token.
        """
        check_token(address, token)
        self._address, self._token, self._site = address, token, site
        self._state = State(browser)
        self._clients: set[_Client] = set()
        self._server: asyncio.Server | None = None
        self._connections: Connections | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._mute: Mute | None = None
        self._handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/events"): self._events,
            ("GET", "/healthz"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("POST", "/pause"): self._pause,
            ("POST", "/resume"): self._resume,
        }

    async def start(self, mute: Mute) -> str:
        """See Server."""
        self._mute = mute
        self._connections = Connections(self._respond)
        loop = asyncio.get_running_loop()
        with self._address.opening():
            self._server = await loop.create_server(
                self._connections, self._address.host, self._address.port
            )
        self._ticker = loop.create_task(self._tick())
        port = self._server.sockets[0].getsockname()[1]
        return f"http://{Address(self._address.host, port)}/"

    def put(self, event: Event) -> None:
        """See Server."""
        self._send(self._state.put(event))

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """See kws.detector.Observer."""
        self._state.observe(audio, rows)

    async def stop(self) -> None:
        """See Server."""
        if self._server:
            self._server.close()
        if self._ticker:
            self._ticker.cancel()
        for client in tuple(self._clients):
            client.drop()
        if self._connections:
            await self._connections.shutdown(1.0)

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(PERIOD)
            message = self._state.take_rows() if self._clients else None
            if message:
                self._send(message)
            elif time.monotonic() - last < HEARTBEAT:
                continue
            else:
                self._send(None)
            last = time.monotonic()

    def _send(self, message: Mapping[str, Any] | None) -> None:
        """To all clients, as a server-sent event; None: an empty one."""
        for client in tuple(self._clients):
            if not client.put(message):
                self._state.dropped += 1
                client.drop()

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            refusal = self._refusal(request)  # an empty mapping too, so its truth says nothing
            response = await self._handle(request) if refusal is None else refusal
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            logger.exception("%s failed", request.path)
            response = _text(500, "this is a defect of kws; its log has more")
        if not response.prepared:
            response.headers.update(HEADERS)
            response.force_close()
        return response

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = self._handlers.get((request.method, request.path))
        if handler:
            return await handler(request)
        file = self._site.get(request.path)
        if file is None or request.method not in ("GET", "HEAD"):
            return _text(404, "there is nothing here")
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers={"ETag": file.etag})
        return web.Response(
            body=file.content, headers={"Content-Type": file.kind, "ETag": file.etag}
        )

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        """Why a request may not be here, if so."""
        host = request.headers.get("Host", "")  # request.host would ask a name server for one
        if self._address.loopback and not is_loopback(_split(f"//{host}").hostname or ""):
            # A page of elsewhere whose name was made to lead to this machine.
            return _text(421, f"expected a request to this machine's own name, got {host!r:.99}")
        origin = request.headers.get("Origin")
        elsewhere = origin is not None and _split(origin).netloc != host
        # Browsers say it of requests without an origin too, as of <img>. A link leads to the page.
        site = request.headers.get("Sec-Fetch-Site", "none")
        embedded = site not in ("none", "same-origin") and request.path != "/"
        if elsewhere or embedded:
            return _text(403, "other pages may not send requests here")
        if self._token is None or request.path == "/healthz":
            return None
        given = request.query.get("token") if request.path == "/" else None
        if given is not None and _equal(given, self._token):
            cookie = f"{COOKIE}={_digest(self._token)}; HttpOnly; SameSite=Strict; Path=/"
            return web.Response(status=303, headers={"Location": "/", "Set-Cookie": cookie})
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        cookie = request.cookies.get(COOKIE, "")
        if _equal(bearer, self._token) or _equal(cookie, _digest(self._token)):
            return None
        return _text(401, "expected the token: open /?token=TOKEN, or send it as a bearer token")

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        if len(self._clients) >= CLIENTS or request.transport is None:
            return _text(503, f"{CLIENTS} clients follow the events already")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        response.force_close()
        client = _Client(request.transport)
        client.put(self._state.snapshot())
        self._clients.add(client)
        no_time_limit(request)
        try:
            await response.prepare(request)
            while True:
                await response.write(await client.queue.get())
        finally:
            self._clients.discard(client)

    async def _health(self, _: web.BaseRequest) -> web.StreamResponse:
        status, healthy = self._state.health()
        return web.json_response({"status": status}, status=200 if healthy else 503)

    async def _metrics(self, _: web.BaseRequest) -> web.StreamResponse:
        text = self._state.metrics(len(self._clients))
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=text.encode(), headers={"Content-Type": kind})

    async def _pause(self, _: web.BaseRequest) -> web.StreamResponse:
        return await self._set_muted(True)

    async def _resume(self, _: web.BaseRequest) -> web.StreamResponse:
        return await self._set_muted(False)

    async def _set_muted(self, muted: bool) -> web.StreamResponse:
        assert self._mute  # it was given at the start
        await self._mute(muted)
        return web.json_response({"paused": muted})


class _Client:
    """Somebody who follows the events."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._transport = transport

    def put(self, message: Mapping[str, Any] | None) -> bool:
        """Whether there was room for it."""
        line = f"data: {json.dumps(message)}\n\n" if message else ":\n\n"
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(line.encode("ascii"))
            return True
        return False

    def drop(self) -> None:
        """Close the connection, whatever waits in it."""
        self._transport.abort()


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")


def _digest(token: str) -> str:
    """What the cookie holds: a token may have characters that a cookie may not."""
    return hashlib.sha256(token.encode()).hexdigest()


def _equal(given: str, expected: str) -> bool:
    """In a time that does not tell how much of it is right."""
    return secrets.compare_digest(given.encode(errors="replace"), expected.encode())


def _split(address: str) -> SplitResult:
    """Its parts; none, where it is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
