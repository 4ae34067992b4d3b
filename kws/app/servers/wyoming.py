"""The Wyoming protocol: wake words for Home Assistant and its satellites (docs/wyoming.md)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from kws import __version__
from kws.app.events import Event, Ready
from kws.app.servers import Mute
from kws.app.servers.address import Address
from kws.app.servers.announcement import Announcement
from kws.app.servers.wake_stream import AudioKind, WakeStream
from kws.app.servers.wake_words import WakeWords
from kws.app.servers.wyoming_events import (
    FIRST_PAYLOAD,
    LINE,
    PAYLOAD,
    Refused,
    read_event,
    write_event,
)
from kws.decision import Detection
from kws.errors import AudioError, KwsError, SettingError

if TYPE_CHECKING:
    from wyoming.event import Event as WyomingEvent
    from wyoming.info import Info

logger = logging.getLogger(__name__)

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

CLIENTS = 32  # at once; of more, the one goes that was silent for longest
WAITING = 256  # connections that have sent nothing yet; of more, the oldest goes
SENT = 1 << 16  # bytes that wait for a client in the system
HOP = 0.08  # seconds of audio that are gathered before they are processed


@dataclass(frozen=True)
class WyomingConfig:
    """Where clients connect and which ones may. Raises SettingError for what cannot be."""

    address: Address
    allowed: tuple[Network, ...] = ()  # of other machines; this one always may
    announced: bool = False  # whether the local network is told, by zeroconf

    def __post_init__(self) -> None:
        if self.address.loopback:
            if self.announced:
                raise SettingError(
                    f"--zeroconf announces an address to other machines, which cannot reach "
                    f"{self.address}; serve at this machine's address in the network"
                )
            return
        if not self.allowed:
            raise SettingError(
                f"{self.address} can be reached by other machines, and Wyoming knows no passwords: "
                "say which ones may connect with --wyoming-allow, or serve at 127.0.0.1"
            )
        logger.warning(
            "%s can be reached from %s, and audio is not encrypted on the way",
            self.address,
            ", ".join(str(each).removesuffix(f"/{each.max_prefixlen}") for each in self.allowed),
        )

    def allows(self, host: str) -> bool:
        """Whether a client of this IP address may connect."""
        client = ipaddress.ip_address(host.partition("%")[0])
        client = getattr(client, "ipv4_mapped", None) or client
        return client.is_loopback or any(client in network for network in self.allowed)


class Wyoming:
    """Detects wake words in the audio that each client sends.

    The microphone of this machine has no part in it: clients neither get its detections nor mute
    it. All clients share one thread, so a client that sends faster than it is processed waits.
    """

    def __init__(self, config: WyomingConfig, words: WakeWords) -> None:
        """Raises KwsError where a package is missing that is needed."""
        try:
            import wyoming.wake  # noqa: F401
        except ImportError as error:
            raise KwsError("Wyoming needs wyoming; run: pip install 'kws[wyoming]'") from error
        self._config, self._words = config, words
        self._announcement = Announcement() if config.announced else None
        self._server: asyncio.Server | None = None
        self._worker = ThreadPoolExecutor(1, "kws wyoming")
        self._clients: dict[_Client, asyncio.StreamWriter] = {}
        self._refused: set[str] = set()
        self._ready = self._stopped = False
        self._loading: asyncio.Task[None] | None = None

    async def start(self, mute: Mute) -> str:
        """See Server."""
        address = self._config.address
        with address.opening():
            self._server = await asyncio.start_server(
                self._serve, address.host, address.port, limit=LINE, backlog=CLIENTS
            )
        address = Address(address.host, self._server.sockets[0].getsockname()[1])
        if self._announcement:
            await self._announcement.start(address)
        return f"tcp://{address}"

    def put(self, event: Event) -> None:
        """See Server; when listening begins once more, the models are read again."""
        if not isinstance(event, Ready):
            return
        if self._ready:
            self._loading = asyncio.ensure_future(self._load())
        self._ready = True

    async def stop(self) -> None:
        """See Server."""
        self._stopped = True
        if self._server:
            self._server.close()
        for writer in list(self._clients.values()):
            writer.transport.abort()
        self._worker.shutdown(wait=False, cancel_futures=True)
        if self._announcement:
            await self._announcement.stop()

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(self._words.load)
        except KwsError as error:
            logger.error("the wake words are not read again, the old ones go on: %s", error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = (writer.get_extra_info("peername") or ("",))[0]
        try:
            if not self._config.allows(host):
                self._refuse(host)
                return
            _prepare(writer)
            client = _Client(reader, writer, self._words, self._worker, self._bound)
            self._clients[client] = writer
            self._bound()
            try:
                await client.run()
            finally:
                self._clients.pop(client, None)
        except (Refused, AudioError) as error:
            logger.info("a Wyoming client at %s was dropped: %s", host, error)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError):
            logger.info("a Wyoming client at %s was dropped: too slow, or gone", host)
        except Exception as error:  # others are served on
            if not self._stopped:
                logger.warning("serving the Wyoming client at %s failed: %s", host, error)
        except asyncio.CancelledError:  # at the end; asyncio would print what it is cancelled in
            pass
        finally:
            writer.transport.abort()

    def _bound(self) -> None:
        """Drop one that is too many, which there is at most."""
        speaking = [client for client in self._clients if client.latest]
        silent = [client for client in self._clients if not client.latest]
        for clients, most in ((speaking, CLIENTS), (silent, WAITING)):
            if len(clients) > most:
                longest = min(clients, key=lambda client: client.latest)
                self._clients.pop(longest).transport.abort()

    def _refuse(self, host: str) -> None:
        if host not in self._refused and len(self._refused) < CLIENTS:
            self._refused.add(host)
            logger.warning("%s may not connect; --wyoming-allow says who may", host)


class _Client:
    """One connection: what it asks for, and the audio that it sends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        words: WakeWords,
        worker: ThreadPoolExecutor,
        admitted: Callable[[], None],
    ) -> None:
        """`admitted` is called when it has sent its first event."""
        self.latest = 0.0  # when it sent the last event, on the monotonic clock; 0: none
        self._reader, self._writer = reader, writer
        self._words, self._worker, self._admitted = words, worker, admitted
        self._names: Collection[str] | None = None  # None: all
        self._start: int = 0  # time stamp of the stream, in ms
        self._stream: WakeStream | None = None
        self._detected = False  # whether anything was, in this stream

    async def run(self) -> None:
        """Until the client leaves; raises what `read_event`, `write_event` and `AudioKind` do."""
        payload = FIRST_PAYLOAD
        while (event := await read_event(self._reader, payload)) is not None:
            first, self.latest, payload = not self.latest, time.monotonic(), PAYLOAD
            if first:
                self._admitted()
            await self._handle(event)

    async def _handle(self, event: WyomingEvent) -> None:
        from wyoming.ping import Pong
        from wyoming.wake import NotDetected

        data = event.data
        if event.type == "describe":
            await self._send(_info(self._words.names).event())
        elif event.type == "ping":
            await self._send(Pong(text=str(data.get("text") or "")[:100]).event())
        elif event.type == "detect":
            await self._detect(data.get("names"))
        elif event.type == "audio-start":
            self._begin(data)
        elif event.type == "audio-chunk":
            await self._add(AudioKind(*_kind(data)), event.payload or b"", _stamp(data))
        elif event.type == "audio-stop":
            if self._stream:
                await self._process(self._stream.finish())
            if not self._detected:
                await self._send(NotDetected().event())
            self._reset()

    async def _detect(self, names: object) -> None:
        from wyoming.error import Error

        if names and (not isinstance(names, list) or not all(isinstance(n, str) for n in names)):
            raise Refused("expected names as a list of words")
        self._reset()
        self._names = names if isinstance(names, list) and names else None
        known = self._words.names
        unknown = [name for name in self._names or () if name not in known]
        if unknown:
            message = f"no wake word is called {unknown[0][:40]!r}; there is {', '.join(known)}"
            await self._send(Error(text=message, code="unknown-wake-word").event())

    def _begin(self, data: dict[str, Any]) -> None:
        AudioKind(*_kind(data))
        self._reset()
        self._start = _stamp(data) or 0

    def _reset(self) -> None:
        self._stream, self._detected = None, False

    async def _add(self, kind: AudioKind, audio: bytes, stamp: int | None) -> None:
        if self._stream is None:
            names = self._words.names if self._names is None else self._names
            detectors = await self._run(self._words.open, names)
            self._stream = WakeStream(detectors, kind, self._start)
        if kind != self._stream.kind:
            raise AudioError("expected audio of one kind up to audio-stop")
        self._stream.add(audio, stamp)
        if self._stream.kept >= HOP:
            await self._process(self._stream.process())

    async def _process(self, pieces: Iterator[list[Detection]]) -> None:
        from wyoming.wake import Detection as Detected

        stream = self._stream
        while stream and (found := await self._run(next, pieces, None)) is not None:
            for each in found:
                self._detected = True
                await self._send(Detected(name=each.keyword, timestamp=stream.stamp(each)).event())

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)

    async def _send(self, event: WyomingEvent) -> None:
        await write_event(self._writer, event)


def _kind(data: dict[str, Any]) -> tuple[Any, Any, Any]:
    return data.get("rate"), data.get("width"), data.get("channels")


def _stamp(data: dict[str, Any]) -> int | None:
    """A time stamp in ms, where there is one."""
    stamp = data.get("timestamp")
    return stamp if type(stamp) is int and abs(stamp) < 1 << 53 else None


def _info(names: Sequence[str]) -> Info:
    from wyoming.info import Attribution, Info, WakeModel, WakeProgram

    shared: dict[str, Any] = {"attribution": Attribution("kws", ""), "installed": True}
    models = [
        WakeModel(
            name=name,
            description=name.replace("_", " "),
            phrase=name.replace("_", " "),
            version=None,
            languages=[],
            **shared,
        )
        for name in names
    ]
    program = WakeProgram(
        name="kws", description="Keyword spotting", version=__version__, models=models, **shared
    )
    return Info(wake=[program])


def _prepare(writer: asyncio.StreamWriter) -> None:
    """Let the system find out that a client has gone without a word, and keep little for it."""
    with contextlib.suppress(OSError):
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT)
