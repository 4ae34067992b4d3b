"""A loop: one word after another, in this thread.

python docs/examples/loop.py [RECORDING]    (default: the microphone, until "stop" or Ctrl-C)
"""

import sys

from kws import Listener
from kws.audio import AudioFile, Microphone

source = AudioFile(sys.argv[1]) if sys.argv[1:] else Microphone()
with Listener(source) as listener:
    for detection in listener:
        print(f"{detection.end:6.2f} s  {detection.keyword}")
        if detection.keyword == "stop":
            break
