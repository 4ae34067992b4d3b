"""Callbacks: a function for each word, called on a thread of the listener's.

python docs/examples/callbacks.py [RECORDING]    (default: the microphone, until Ctrl-C)
"""

import logging
import sys

from kws import Detection, Listener
from kws.audio import AudioFile, Microphone

lamp = False


def switch(detection: Detection) -> None:
    """What happens on "on" and "off"."""
    global lamp
    lamp = detection.keyword == "on"
    print("the lamp is", detection.keyword)


logging.basicConfig()  # an exception in a callback is logged, and the next word still counts
source = AudioFile(sys.argv[1]) if sys.argv[1:] else Microphone()
with Listener(source) as listener:
    listener.on("on", switch)
    listener.on("off", switch)
    listener.start()
    listener.wait()  # this thread may as well do something else
