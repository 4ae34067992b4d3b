"""What others connect to while it listens: one small file for each protocol, all behind one class.

A server is an output that runs in an event loop. `Servers` owns that loop, on a thread of its own,
and hands the events of a Session over to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from kws.app.events import Event, event_name

logger = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds that stopping may take
NICE = 5  # of Unix: whoever connects gets the processor time that the microphone leaves

Mute: TypeAlias = Callable[[bool], Awaitable[None]]
Result = TypeVar("Result")


class Server(Protocol):
    """Serves one protocol at one address.

    All three methods run in the event loop, as everything does that a server starts, so none may
    block: what takes long, such as a network, belongs into `asyncio.to_thread`. Each client has a
    bounded queue, and one that does not read what it is sent is dropped. A server that also has
    the method `observe` of kws.detector.Observer gets audio and posteriors there, in the thread
    that reads the audio: it copies what it needs and returns at once.
    """

    async def start(self, mute: Mute) -> str:
        """Listen for clients; returns the URL for people.

        `await mute(True)` pauses the microphone, `await mute(False)` resumes it; Paused and
        Resumed come as events, whoever did it. Raises KwsError where that cannot be done, such as
        a port that is taken: then the program ends.
        """
        ...

    def put(self, event: Event) -> None:
        """Take an event, one at a time, in the order in which they came; from kws.app.events."""

    async def stop(self) -> None:
        """Let go of all clients and of the address; also called where `start` has failed."""


class Servers:
    """Several servers as one output of a Session, on a thread of their own."""

    def __init__(self, servers: Sequence[Server], mute: Callable[[bool], None]) -> None:
        """`mute` pauses and resumes listening, from any thread, and may take a while."""
        self._servers = tuple(servers)
        self._mute = mute
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="kws servers", daemon=True)

    def start(self) -> list[str]:
        """Start them; returns their URLs. Raises what `Server.start` raises."""
        self._thread.start()
        return [self._run(server.start(self._set_muted)) for server in self._servers]

    def put(self, event: Event) -> None:
        """See Output."""
        self._loop.call_soon_threadsafe(self._put, event)

    def close(self) -> None:
        """See Output; servers have two seconds to let go of their clients."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self._run(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _work(self) -> None:
        if sys.platform == "linux":  # where this is of the thread, and of those that it starts
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        self._loop.run_forever()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _put(self, event: Event) -> None:
        for server in self._servers:
            try:
                server.put(event)
            except Exception as error:
                name = type(server).__name__
                logger.warning("%s failed on the event %s: %s", name, event_name(event), error)

    async def _set_muted(self, muted: bool) -> None:
        await asyncio.to_thread(self._mute, muted)

    async def _stop(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stop_servers(), PATIENCE)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=PATIENCE)

    async def _stop_servers(self) -> None:
        for server in self._servers:
            try:
                await server.stop()
            except Exception as error:
                logger.warning("%s failed to stop: %s", type(server).__name__, error)
