"""A feed: audio that comes from a socket, a browser or a call, at its own rate and format.

python docs/examples/feed.py RECORDING

Here a thread stands in for the network: it sends 48 kHz stereo floats in pieces of 10 ms.
"""

import sys
import threading

import numpy as np
import soundfile
import soxr

from kws import Listener
from kws.app.feed import AudioFeed

RATE, CHANNELS = 48_000, 2


def send(path: str, feed: AudioFeed) -> None:
    """What a handler of messages does: bytes or arrays of any length, as they come."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = soxr.resample(audio.mean(axis=1), rate, RATE)
    stereo = np.repeat(audio[:, None], CHANNELS, axis=1)
    for begin in range(0, len(stereo), RATE // 100):
        feed.put(stereo[begin : begin + RATE // 100].tobytes())
    feed.end()


# This recording comes faster than it is spoken; audio from life keeps the max_age of 1 s.
feed = AudioFeed(RATE, CHANNELS, sample_format="f32le", max_age=None)
with Listener(feed) as listener:
    threading.Thread(target=send, args=(sys.argv[1], feed)).start()
    for detection in listener:
        print(f"{detection.end:6.2f} s  {detection.keyword}")
