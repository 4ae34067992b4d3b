"""What an HTTP server tells of a session: a snapshot, health and metrics."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from kws.app.events import End, Event, Paused, Ready, Resumed, as_json
from kws.audio.events import SourceEvent
from kws.config import SAMPLE_RATE
from kws.decision import Detection
from kws.detector import Int16Array
from kws.frontend import FloatArray

REMEMBERED = 20  # detections
PATIENCE = 5.0  # seconds without audio after which something is wrong
SILENT = -120.0  # dB of full scale, of digital silence


class State:
    """Follows the events of a session. Its methods run in the event loop, `observe` excepted."""

    def __init__(self, browser: Any) -> None:
        """`browser` is what a page needs to listen by itself, for the snapshot."""
        self.dropped = 0  # clients that did not read what they were sent
        self._browser = browser
        self._ready: dict[str, Any] | None = None
        self._end: dict[str, Any] | None = None
        self._source: dict[str, Any] | None = None  # the latest event of the microphone
        self._paused = False
        self._detections: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._counts: Counter[str] = Counter()  # detections by keyword
        self._source_counts: Counter[str] = Counter()
        # Written by the thread that reads the audio, each of them in one piece.
        self._samples = self._open_samples = 0
        self._heard = time.monotonic()
        self._latest: tuple[Int16Array, FloatArray | None] | None = None

    def put(self, event: Event) -> dict[str, Any]:
        """Take an event; returns its message."""
        message = as_json(event)
        if isinstance(event, Ready):
            message["labels"] = list(event.manifest.labels)
            self._ready, self._end = message, None
            self._counts.update(dict.fromkeys(event.thresholds, 0))
        elif isinstance(event, Detection):
            self._detections.append(message)
            self._counts[event.keyword] += 1
        elif isinstance(event, SourceEvent):
            self._source = message
            self._source_counts[event.kind] += 1
        elif isinstance(event, Paused | Resumed):
            self._paused = isinstance(event, Paused)
            self._heard = time.monotonic()
        elif isinstance(event, End):
            self._end = message
        return message

    def observe(self, audio: Int16Array, rows: Sequence[FloatArray]) -> None:
        """Take a hop and its posteriors, in the thread that reads the audio."""
        self._samples += len(audio)
        if rows:
            self._open_samples += len(audio)
        self._latest = (audio.copy(), rows[-1][-1].copy() if rows else None)
        self._heard = time.monotonic()

    def take_rows(self) -> dict[str, Any] | None:
        """A message of the latest hop; None where none has come since the last one."""
        latest, self._latest = self._latest, None
        if latest is None:
            return None
        audio, posteriors = latest
        power = float(np.mean((audio / 32768.0) ** 2))
        level = max(10.0 * np.log10(power), SILENT) if power else SILENT
        rounded = None if posteriors is None else [round(float(each), 3) for each in posteriors]
        return {"event": "rows", "level": round(level, 1), "posteriors": rounded}

    def snapshot(self) -> dict[str, Any]:
        """What a client that has just come needs to know."""
        return {
            "event": "snapshot",
            "ready": self._ready,
            "paused": self._paused,
            "source": self._source,
            "detections": list(self._detections),
            "end": self._end,
            "browser": self._browser,
        }

    def health(self) -> tuple[str, bool]:
        """In a word, and whether it is well."""
        if self._end is not None:
            return "ended", False
        if self._ready is None:
            return "starting", False
        if self._paused:
            return "paused", True
        if time.monotonic() - self._heard > PATIENCE:
            return "no audio", False
        return "listening", True

    def metrics(self, clients: int) -> str:
        """All numbers, in the text format of Prometheus."""
        detections = {f'{{keyword="{_label(word)}"}}': n for word, n in self._counts.items()}
        source = {f'{{event="{kind}"}}': n for kind, n in self._source_counts.items()}
        seconds, speech = self._samples / SAMPLE_RATE, self._open_samples / SAMPLE_RATE
        numbers: list[tuple[str, str, str, dict[str, float]]] = [
            ("detections_total", "counter", "Detections.", {**detections}),
            ("source_events_total", "counter", "Events of the microphone.", {**source}),
            ("audio_seconds_total", "counter", "Audio processed.", _one(seconds)),
            (
                "speech_seconds_total",
                "counter",
                "Audio for which the network ran.",
                _one(speech),
            ),
            ("listening", "gauge", "1 while audio comes.", _one(self.health()[0] == "listening")),
            ("paused", "gauge", "1 while muted.", _one(self._paused)),
            ("clients", "gauge", "Clients that follow the events.", _one(clients)),
            ("dropped_clients_total", "counter", "Clients too slow.", _one(self.dropped)),
        ]
        lines = []
        for name, kind, text, values in numbers:
            lines += [f"# HELP kws_{name} {text}", f"# TYPE kws_{name} {kind}"]
            lines += [f"kws_{name}{labels} {float(value):.12g}" for labels, value in values.items()]
        return "\n".join(lines) + "\n"


def _one(value: float) -> dict[str, float]:
    return {"": value}


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
