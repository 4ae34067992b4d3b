"""Events of the Wyoming protocol, read from whoever connects: nothing too large, nothing too slow.

An event is a line of JSON, then as many bytes of JSON as its data_length says, then as many bytes
of audio as its payload_length says. The package `wyoming` reads as much as a client announces.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from kws.errors import KwsError

if TYPE_CHECKING:
    from wyoming.event import Event

LINE, DATA, PAYLOAD = 1 << 14, 1 << 16, 1 << 20  # bytes, at most
FIRST_PAYLOAD = 1 << 16  # of a client that has sent no event yet, of which there may be many
PATIENCE = 10.0  # seconds from an event's first byte to its last, and for one to be sent


class Refused(KwsError):
    """What a client has sent is no event, or too large."""


async def read_event(reader: asyncio.StreamReader, payload: int = PAYLOAD) -> Event | None:
    """The next event, waiting for its first byte as long as it takes; None at the end.

    `payload` is how many bytes of audio it may have.

    Raises Refused, TimeoutError of asyncio where the rest takes longer than PATIENCE, and
    IncompleteReadError where the connection ends within it.
    """
    first = await reader.read(1)
    return await asyncio.wait_for(_rest(reader, first, payload), PATIENCE) if first else None


async def write_event(writer: asyncio.StreamWriter, event: Event) -> None:
    """Send an event; raises TimeoutError of asyncio where a client does not read."""
    from wyoming.event import async_write_event

    await asyncio.wait_for(async_write_event(event, writer), PATIENCE)


async def _rest(reader: asyncio.StreamReader, first: bytes, most: int) -> Event:
    from wyoming.event import Event

    try:
        header = _object(first + await reader.readuntil(b"\n"))
    except asyncio.LimitOverrunError as error:
        raise Refused(f"expected a line of at most {LINE} bytes") from error
    data = header.get("data") or {}
    if not isinstance(data, dict) or not isinstance(header.get("type"), str):
        raise Refused("expected an event with a type")
    if length := _length(header, "data_length", DATA):
        data = {**data, **_object(await reader.readexactly(length))}
    length = _length(header, "payload_length", most)
    payload = await reader.readexactly(length) if length else None
    return Event(header["type"], data, payload)


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refused("expected JSON") from error
    if not isinstance(value, dict):
        raise Refused("expected a JSON object")
    return value


def _length(header: dict[str, Any], name: str, most: int) -> int:
    length = header.get(name) or 0
    if type(length) is not int or not 0 <= length <= most:
        raise Refused(f"expected a {name} of 0 to {most}, got {str(length)[:40]}")
    return length
