"""What a microphone reports about itself while it listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "ready",  # the first block of audio has come
    "lost",  # audio is missing, `seconds` of it
    "gone",  # the device delivers nothing any more
    "waiting",  # it could not be opened again; the next attempt is in `seconds`
    "back",  # it delivers again, after `seconds`
    "muted",  # only zeros for `seconds`
    "unmuted",
    "offset",  # a constant offset for `seconds`
    "offset_ok",
    "clipping",  # at full scale again and again for `seconds`
    "unclipped",
    "quiet",  # too low to understand speech for `seconds`
    "loud",  # near full scale for `seconds`
    "level_ok",  # neither of the two any more
]


@dataclass(frozen=True)
class SourceEvent:
    """Something that happened to a source of audio."""

    kind: Kind
    time: float  # when, Unix seconds
    seconds: float  # how long or how much, see Kind; 0.0 where there is nothing to measure
    message: str  # one line for people, with what to do
    start: float = 0.0  # the audio that it is about, in seconds of stream time
    end: float = 0.0  # the same as `start` where it is a moment
