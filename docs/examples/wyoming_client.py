"""Ask a Wyoming service for its wake words, and which of them are in a recording.

python docs/examples/wyoming_client.py tcp://127.0.0.1:10400 RECORDING
"""

import asyncio
import sys

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection

from kws import AudioFile

KIND = {"rate": 16_000, "width": 2, "channels": 1}


async def main(url: str, path: str) -> None:
    async with AsyncClient.from_uri(url) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
        print("wake words:", ", ".join(model.name for model in info.wake[0].models))
        await client.write_event(Detect().event())
        await client.write_event(AudioStart(**KIND).event())
        with AudioFile(path) as source:
            for block in source:
                await client.write_event(AudioChunk(audio=block.tobytes(), **KIND).event())
        await client.write_event(AudioStop().event())
        await client.write_event(Ping().event())  # its answer comes after all detections
        while (event := await client.read_event()) and not Pong.is_type(event.type):
            if Detection.is_type(event.type):
                found = Detection.from_event(event)
                print(f"{found.timestamp / 1000:7.2f} s  {found.name}")


asyncio.run(main(*sys.argv[1:]))
