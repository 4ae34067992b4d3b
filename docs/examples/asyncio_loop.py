"""asyncio: words beside other tasks in one event loop.

python docs/examples/asyncio_loop.py [RECORDING]    (default: the microphone, until Ctrl-C)
"""

import asyncio
import sys

from kws import Listener
from kws.audio import AudioFile, Microphone


async def listen() -> None:
    """Print words as they come; cancelling this task ends the listening too."""
    source = AudioFile(sys.argv[1]) if sys.argv[1:] else Microphone()
    async with Listener(source) as listener:
        async for detection in listener:
            print(f"{detection.end:6.2f} s  {detection.keyword}")


async def tick() -> None:
    """Something else that the program does meanwhile."""
    while True:
        await asyncio.sleep(1.0)


async def main() -> None:
    """Both, until there is no more audio."""
    other = asyncio.create_task(tick())
    await listen()
    other.cancel()


asyncio.run(main())
