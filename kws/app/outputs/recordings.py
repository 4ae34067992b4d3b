"""The seconds around each detection, kept as recordings that `kws review` goes through."""

from __future__ import annotations

import json
import logging
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kws.app.events import End, Event, Paused, Ready, as_json
from kws.app.outputs.standard import write_note
from kws.config import SAMPLE_RATE
from kws.decision import Detection
from kws.detector import Int16Array
from kws.errors import writing
from kws.frontend import FloatArray
from kws.text import printable

logger = logging.getLogger(__name__)

BEFORE, AFTER = 1.5, 1.0  # seconds that are kept before and after a word
MEMORY = 20 * SAMPLE_RATE  # samples that are remembered, for words that come late
WAITING = 16  # recordings; the next one is left out
TIMEOUT = 5.0  # seconds that closing waits for what is not written yet
NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z_[A-Za-z0-9_-]+")  # without its ending


@dataclass(frozen=True)
class _Recording:
    """One that is to be written."""

    audio: Int16Array
    content: dict[str, object]  # of the JSON beside it
    name: str


class Recordings:
    """Writes a FLAC file for each detection, and its event as JSON beside it; an observer too.

    The newest are kept: beyond `most` of them, or `most_bytes` in all, the oldest go. Files of
    other names are left alone. It writes on a thread of its own; what goes wrong on the disk is
    logged, once until it goes well again.
    """

    def __init__(self, folder: Path, most: int, most_bytes: int) -> None:
        """Makes the folder, for its owner alone, and says on standard error that it records.

        Raises KwsError where it cannot be made.
        """
        self._folder, self._most, self._most_bytes = folder, most, most_bytes
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_note(
            f"kws: the seconds around each detection are recorded in {printable(str(folder))}, "
            f"at most {most} recordings and {most_bytes / 1e6:g} MB; the oldest go"
        )
        self._lock = threading.Lock()
        self._hops: deque[Int16Array] = deque()
        self._first = self._samples = 0  # of the audio: what is remembered from, and all of it
        self._ends: deque[tuple[Detection, int]] = deque(maxlen=64)  # where words were decided
        self._pending: list[tuple[Detection, float, int]] = []  # with Unix seconds, and that place
        self._ready: Ready | None = None
        self._warned = False
        # Whose methods are one call into C, within which no signal to stop can tear them.
        self._recordings: queue.SimpleQueue[_Recording | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="kws recordings", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """See Output."""
        with self._lock:
            if isinstance(event, Ready):
                self._ready = event
            elif isinstance(event, Detection):
                spoken = time.time() if event.time is None else event.time
                place = next((p for each, p in self._ends if _same(each, event)), self._samples)
                self._pending.append((event, spoken, place))
                self._take(AFTER)
            elif isinstance(event, Paused | End):
                self._take(0.0)
                self._hops.clear()
                self._ends.clear()  # the next stream's times begin again
                self._first = self._samples

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """See kws.detector.Observer."""
        with self._lock:
            self._hops.append(audio.copy())
            self._samples += len(audio)
            while self._samples - self._first - len(self._hops[0]) >= MEMORY:
                self._first += len(self._hops.popleft())
            self._ends.extend((detection, self._samples) for detection in fired)
            if self._pending:
                self._take(AFTER)

    def close(self) -> None:
        """See Output; what is not written yet has five seconds."""
        if self._thread.is_alive():
            self._recordings.put(None)
            self._thread.join(TIMEOUT)

    def _take(self, seconds: float) -> None:
        """Take the recordings after whose word there are so many seconds."""
        waiting = []
        for detection, spoken, place in self._pending:
            if self._samples < place + round(seconds * SAMPLE_RATE):
                waiting.append((detection, spoken, place))
                continue
            if self._recordings.qsize() < WAITING:
                self._recordings.put(self._recording(detection, spoken, place))
            else:
                self._warn(f"{WAITING} of them wait")
        self._pending = waiting

    def _recording(self, detection: Detection, spoken: float, place: int) -> _Recording:
        word = round((detection.end - detection.start) * SAMPLE_RATE)
        begin = max(self._first, place - word - round(BEFORE * SAMPLE_RATE))
        end = min(self._samples, place + round(AFTER * SAMPLE_RATE))
        remembered = np.concatenate([*self._hops, np.zeros(0, np.int16)])
        content: dict[str, object] = as_json(detection)
        start = max(begin, place - word)
        content["recording"] = {
            "start": round((start - begin) / SAMPLE_RATE, 3),  # of the word in it, seconds
            "end": round((place - begin) / SAMPLE_RATE, 3),
            "model": self._ready.manifest.name if self._ready else "",
            "threshold": self._ready.thresholds.get(detection.keyword) if self._ready else None,
        }
        day = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(spoken))
        word_in_name = re.sub(r"[^A-Za-z0-9-]+", "_", detection.keyword)[:40]
        name = f"{day}.{int(spoken * 1000) % 1000:03d}Z_{word_in_name}"
        return _Recording(remembered[begin - self._first : end - self._first], content, name)

    def _write_all(self) -> None:
        while (recording := self._recordings.get()) is not None:
            try:
                self._write(recording)
                self._prune()
                self._warned = False
            except Exception as error:  # the thread must live on
                self._warn(str(getattr(error, "strerror", None) or error))

    def _write(self, recording: _Recording) -> None:
        """The audio first, so that a JSON file always has its recording."""
        import soundfile

        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name, more = recording.name, 1
        while (self._folder / f"{name}.json").exists():
            more += 1
            name = f"{recording.name}-{more}"
        part = self._folder / f"{name}.part"
        try:
            with part.open("wb") as file:
                soundfile.write(file, recording.audio, SAMPLE_RATE, format="FLAC")
            part.replace(self._folder / f"{name}.flac")
            part.write_text(json.dumps(recording.content) + "\n", encoding="ascii")
            part.replace(self._folder / f"{name}.json")
        finally:
            part.unlink(missing_ok=True)

    def _prune(self) -> None:
        """Remove the oldest beyond what is allowed; the newest stays in any case."""
        found: dict[str, list[Path]] = {}
        for path in self._folder.iterdir():
            if path.suffix in (".flac", ".json", ".part") and NAME.fullmatch(path.stem):
                found.setdefault(path.stem, []).append(path)
        sizes = {name: sum(p.stat().st_size for p in paths) for name, paths in found.items()}
        total = sum(sizes.values())
        for name in sorted(found)[:-1]:
            if len(found) <= self._most and total <= self._most_bytes:
                return
            total -= sizes[name]
            for path in found.pop(name):
                path.unlink(missing_ok=True)

    def _warn(self, problem: str) -> None:
        if not self._warned:
            logger.warning("a detection was not recorded: %s", problem)
        self._warned = True


def _same(left: Detection, right: Detection) -> bool:
    return (left.keyword, left.end) == (right.keyword, right.end)
