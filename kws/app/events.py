"""What an app learns while it listens, and how that is written as JSON (docs/listening.md)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from kws.audio.events import SourceEvent
from kws.decision import Detection
from kws.model.manifest import Manifest

SCHEMA = Path(__file__).parent / "events.schema.json"
VERSION = 1  # of the JSON form; it rises when a field changes its meaning or goes

Reason: TypeAlias = Literal["end", "signal", "reload", "failed"]


@dataclass(frozen=True)
class Ready:
    """The first block of audio has come: from now on words are detected."""

    time: float  # Unix seconds
    source: str  # its name, for people
    manifest: Manifest  # the model's
    thresholds: Mapping[str, float]  # score in (0, 1] from which a word counts, by keyword
    at: float = 0.0  # seconds of stream time


@dataclass(frozen=True)
class Paused:
    """What is said from now on is left out."""

    time: float  # Unix seconds
    at: float = 0.0  # seconds of stream time


@dataclass(frozen=True)
class Resumed:
    """Words are detected again."""

    time: float  # Unix seconds
    at: float = 0.0  # seconds of stream time


@dataclass(frozen=True)
class End:
    """Listening is over."""

    time: float  # Unix seconds
    reason: Reason  # the audio ended, a signal came, a new configuration is read, or an error
    seconds: float  # of audio that were processed
    detections: int
    message: str = ""  # of the error, where that is the reason
    at: float = 0.0  # seconds of stream time, what was lost included


Event: TypeAlias = Ready | Detection | SourceEvent | Paused | Resumed | End


def as_json(event: Event) -> dict[str, Any]:
    """The event as an object of the schema in events.schema.json: plain types, rounded."""
    fields: dict[str, Any]
    if isinstance(event, Ready):
        fields = {"time": event.time, "source": event.source, "model": event.manifest.name}
        fields["thresholds"] = dict(event.thresholds)
    elif isinstance(event, Detection):
        fields = {"time": event.time, "keyword": event.keyword, "score": event.score}
    else:
        fields = dataclasses.asdict(event)
        for name in ("kind", "at", "start", "end"):
            fields.pop(name, None)
    fields["start"], fields["end"] = _stretch(event)
    return {"v": VERSION, "event": event_name(event), **_rounded(fields)}


def _stretch(event: Event) -> tuple[float, float]:
    """The audio that an event is about, in seconds of stream time."""
    if isinstance(event, Detection | SourceEvent):
        return event.start, event.end
    return (0.0 if isinstance(event, End) else event.at), event.at


def event_name(event: Event) -> str:
    """The word for it in the field "event"."""
    if isinstance(event, SourceEvent):
        return event.kind
    return type(event).__name__.lower()


def _rounded(value: Any) -> Any:
    """Floats to four digits, which is 0.1 ms."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return value
