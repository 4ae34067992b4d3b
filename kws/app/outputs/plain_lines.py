"""Events as lines for people, where no live view can be shown."""

from __future__ import annotations

import time

from kws.app.events import End, Event, Ready
from kws.app.outputs.standard import write_line, write_note
from kws.audio.events import SourceEvent
from kws.decision import Detection
from kws.text import printable


class PlainLines:
    """A line per detection on standard output; what is said around them goes to standard error."""

    def __init__(self, quiet: bool = False) -> None:
        """With `quiet` there is nothing but detections, and what the source reports."""
        self._quiet = quiet

    def put(self, event: Event) -> None:
        """See Output."""
        if isinstance(event, Detection):
            write_line(detection_line(event))
        elif isinstance(event, SourceEvent):
            write_note(f"kws: {printable(event.message)}")
        elif isinstance(event, Ready) and not self._quiet:
            write_note(opening(event))
        elif isinstance(event, End) and event.reason != "failed" and not self._quiet:
            write_note(closing(event))

    def close(self) -> None:
        """See Output."""


def opening(event: Ready) -> str:
    """What is said when listening begins."""
    return (
        f"Listening to {printable(event.source)} for: {', '.join(event.thresholds)} (Ctrl-C ends)"
    )


def detection_line(detection: Detection) -> str:
    """When, which word and with which score."""
    return f"{when(detection)}  {detection.keyword:<10} {detection.score:.2f}"


def when(detection: Detection) -> str:
    """The time of day of what was spoken just now, else its second in the recording."""
    if detection.time is None:
        return f"{detection.end:8.2f} s"
    return time.strftime("%H:%M:%S", time.localtime(detection.time))


def closing(event: End) -> str:
    """What is said when listening has ended."""
    words = f"{event.detections} keyword{'' if event.detections == 1 else 's'}"
    return f"{event.seconds:.1f} s of audio, {words} detected"
