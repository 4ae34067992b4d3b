"""What a Session listens to where there is no microphone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from kws.audio.convert import Int16Array
from kws.audio.source import Closing
from kws.config import SAMPLE_RATE


class Silence(Closing):
    """A second of silence each second: outputs are told that all is well, and the gate is shut."""

    name = "what others send"

    def __iter__(self) -> Iterator[Int16Array]:
        while True:
            yield np.zeros(SAMPLE_RATE, np.int16)
            time.sleep(1.0)

    def close(self) -> None:
        """See Source."""
