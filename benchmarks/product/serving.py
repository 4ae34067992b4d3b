"""`python -m benchmarks.product.serving`: whether clients of `kws serve` hold its microphone up.

The demonstration recording is listened to at its own pace while Wyoming clients of different kinds
connect from another process, and alone, in turn. A block is late by the time from when its last
sample would have been spoken to when it has been processed. Run it on a machine that does nothing
else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import sys
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np

from benchmarks.program import keep, program
from kws import AudioFile, Detector, load_model
from kws.app.servers import Servers
from kws.app.servers.address import Address
from kws.app.servers.wake_words import WakeWords
from kws.app.servers.wyoming import CLIENTS, Wyoming, WyomingConfig
from kws.audio import paced
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING

CHUNK = SAMPLE_RATE // 100  # samples, as Home Assistant sends them
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Load:
    """Clients that connect at the same time."""

    satellites: int = 0  # send audio at its own pace
    files: int = 0  # send audio as fast as it is taken
    callers: int = 0  # connect again and again, and send half an event


LOADS = {
    "alone": Load(),
    "eight satellites": Load(satellites=8),
    f"{CLIENTS} satellites": Load(satellites=CLIENTS),
    "four clients that send as fast as they can": Load(files=4),
    "connections without end, and two satellites": Load(satellites=2, callers=2),
}


def late(seconds: float) -> dict[str, float]:
    """How late blocks were, over so many seconds of audio, and the process's processor time."""
    samples, delays = 0, []
    with AudioFile(RECORDING) as source, Detector() as detector:
        start, spent = time.monotonic(), time.process_time()
        for block in islice(paced(source), round(seconds * 1000 / 20)):
            samples += len(block)
            detector.process(block)
            delays.append(time.monotonic() - start - samples / SAMPLE_RATE)
        spent = time.process_time() - spent
    milliseconds = 1000 * np.array(delays)
    return {
        "late_ms_median": float(np.median(milliseconds)),
        "late_ms_99_percent": float(np.percentile(milliseconds, 99)),
        "late_ms_highest": float(milliseconds.max()),
        "share_of_a_core": spent / (samples / SAMPLE_RATE),
    }


@contextlib.contextmanager
def clients(port: int, load: Load) -> Iterator[None]:
    """These clients, from a process of their own, after a second in which they connect."""
    process = multiprocessing.get_context("spawn").Process(target=_connect, args=(port, load))
    process.daemon = True
    if load != Load():
        process.start()
        time.sleep(1.0)
    try:
        yield
    finally:
        if process.is_alive():
            process.terminate()
            process.join()


def _connect(port: int, load: Load) -> None:
    async def all_of_them() -> None:
        audio = b"".join(np.asarray(block).tobytes() for block in AudioFile(RECORDING))
        work: list[Coroutine[Any, Any, None]] = []
        work += [_send(port, audio, True) for _ in range(load.satellites)]
        work += [_send(port, audio, False) for _ in range(load.files)]
        work += [_call(port) for _ in range(load.callers)]
        await asyncio.gather(*work)

    asyncio.run(all_of_them())


async def _send(port: int, audio: bytes, at_its_pace: bool) -> None:
    while True:  # as satellites do
        with contextlib.suppress(OSError):
            await _stream(port, audio, at_its_pace)
        await asyncio.sleep(0.1)


async def _stream(port: int, audio: bytes, at_its_pace: bool) -> None:
    from wyoming.audio import AudioChunk
    from wyoming.client import AsyncTcpClient
    from wyoming.wake import Detect

    async with AsyncTcpClient(HOST, port) as client:
        await client.write_event(Detect().event())
        start, size = time.monotonic(), 2 * CHUNK
        for number in count():
            begin = number * size % (len(audio) - size)
            chunk = AudioChunk(SAMPLE_RATE, 2, 1, audio[begin : begin + size])
            await client.write_event(chunk.event())
            if at_its_pace:
                due = start + number * CHUNK / SAMPLE_RATE
                await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _call(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.write(b'{"type": "des')
        await asyncio.sleep(0)


def measure(seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """The worst round of each load, by its name."""
    words = WakeWords({None: load_model().manifest.keywords})
    server = Wyoming(WyomingConfig(Address(HOST, 0)), words)
    servers = Servers([server], lambda _: None)
    worst: dict[str, dict[str, float]] = {}
    try:
        (url,) = servers.start()
        port = int(url.rpartition(":")[2])
        for _ in range(rounds):
            for name, load in LOADS.items():
                with clients(port, load):
                    found = late(seconds)
                worst[name] = {key: max(found[key], worst.get(name, found)[key]) for key in found}
    finally:
        servers.close()
    return worst


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.serving", __doc__, recordings=False)
    parser.add_argument("--seconds", type=float, default=20.0, help="of audio in each round")
    parser.add_argument("--rounds", type=int, default=3)
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    loads = measure(options.seconds, options.rounds)
    for name, row in loads.items():
        print(name, {key: round(value, 2) for key, value in row.items()})
    return {"rounds": options.rounds, "loads": loads}


if __name__ == "__main__":
    sys.exit(main())
