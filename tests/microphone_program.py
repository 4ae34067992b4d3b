"""Listens to the microphone that is named, and prints a JSON line for all that happens.

usage: python microphone_program.py [DEVICE [KEYWORDS]]

Without KEYWORDS a line per block, with "samples", how far the stream's clock is, and a line for
each click, which is a sample above half of full scale; with them a line per detection, after the
first of which it sleeps for 9 s.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

import numpy as np

from kws import Detector
from kws.audio import Gap, Microphone, SourceEvent


def put(**fields: Any) -> None:
    """Print a line."""
    sys.stdout.write(json.dumps({**fields, "now": time.time()}) + "\n")
    sys.stdout.flush()


def note(event: SourceEvent) -> None:
    """Print an event."""
    put(event=event.kind, seconds=event.seconds, message=event.message)


def main() -> None:
    """Run until SIGTERM."""
    device = sys.argv[1] if len(sys.argv) > 1 else None
    microphone = Microphone(device or None, on_event=note)
    signal.signal(signal.SIGTERM, lambda *_: microphone.close())
    if len(sys.argv) > 2:
        for count, found in enumerate(Detector().listen(microphone)):
            put(keyword=found.keyword, end=found.end, time=found.time)
            if count == 0:
                time.sleep(9.0)
        return
    samples = clicks = 0
    last = -1.0  # s, where the last click was
    for block in microphone:
        if isinstance(block, Gap):
            put(gap=block.samples)
            samples += block.samples
            continue
        loud = np.flatnonzero(np.abs(block.astype(int)) > 16384)
        place = (samples + int(loud[0])) / 16_000 if len(loud) else last
        if place > last + 0.1:
            put(click=place, number=clicks, time=microphone.unix_time(place))
            clicks, last = clicks + 1, place
        samples += len(block)
        put(samples=samples, time=microphone.unix_time(samples / 16_000))


if __name__ == "__main__":
    main()
