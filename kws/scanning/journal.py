"""The results of a scan on disk: a line of JSON per recording, so that a scan can go on later."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kws.decision import Detection
from kws.errors import DataError, KwsError, writing
from kws.scanning.scan import Scanned

SYNC_SECONDS = 1.0  # what a power cut may cost
_STATE = "state"  # key of a failed recording's size and times, in nanoseconds


class Journal:
    """A file that begins with what decided its results and then has one line per recording.

    An existing one is gone on with. Nothing in it is written again or replaced, so that no kill can
    cost what it holds; only a last line that a kill left unfinished is cut off. A recording that
    could not be read to its end is done only as long as its file stays the same.

    Raises DataError where the file is damaged, is no journal or belongs to another scan, and
    KwsError where it cannot be written or another scan is writing it; it is then left as it is.
    """

    def __init__(self, path: Path, scan: dict[str, Any]) -> None:
        """`scan` is JSON-ready; two scans of equal `scan` may share a journal."""
        self.path = path
        self.done: dict[str, Scanned] = {}
        head = json.dumps({"scan": scan})
        content = _read(path)
        whole = content.rfind(b"\n") + 1
        if whole:
            self._load(content[:whole], scan)
        elif not head.encode().startswith(content):
            raise self._foreign()
        with writing(path):
            self._file = path.open("ab", buffering=0)
        try:
            _lock(self._file.fileno(), path)
            with writing(path):
                self._file.truncate(whole)
                self._synced = time.monotonic()
                if not whole:
                    self._append(head)
        except BaseException:
            self._file.close()
            raise

    def _load(self, content: bytes, scan: dict[str, Any]) -> None:
        lines = content[:-1].split(b"\n")
        try:
            head = json.loads(lines[0])
        except ValueError:
            raise self._foreign() from None
        if not isinstance(head, dict) or head.keys() != {"scan"}:
            raise self._foreign()
        if head["scan"] != json.loads(json.dumps(scan)):
            raise DataError(
                f"{self.path} holds the results of another scan "
                f"(of {json.dumps(head['scan']):.200}); name another file with --out, or delete it"
            )
        for number, line in enumerate(lines[1:], start=2):
            try:
                scanned, state = _decode(line)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                raise DataError(
                    f"{self.path} is damaged in line {number}, which is no result of a scan; mend "
                    "or delete that line, or name another file with --out"
                ) from None
            if scanned.error and (state is None or state != _state_of(scanned.path)):
                self.done.pop(scanned.path, None)
            else:
                self.done[scanned.path] = scanned

    def _foreign(self) -> DataError:
        return DataError(f"{self.path} is no journal of a scan; name another file with --out")

    def write(self, scanned: Scanned) -> None:
        """Keep a result, at once."""
        content = dataclasses.asdict(scanned)
        again = content.pop("again")
        if scanned.error:
            content[_STATE] = None if again else _state_of(scanned.path)
        with writing(self.path):
            self._append(json.dumps(content))
        self.done[scanned.path] = scanned

    def _append(self, line: str) -> None:
        data = line.encode() + b"\n"
        before = os.fstat(self._file.fileno()).st_size
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            self._file.truncate(before)  # half a line is of no use
            raise
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """End it for now; raises KwsError where the disk refuses."""
        with writing(self.path), self._file:
            os.fsync(self._file.fileno())


def write_detections(results: Iterator[Scanned], path: Path) -> None:
    """A CSV file with a row per detection; times in seconds of the recording."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "keyword", "score", "start", "end"])
        for scanned in results:
            for each in scanned.detections:
                times = (f"{each.score:.4f}", f"{each.start:.3f}", f"{each.end:.3f}")
                rows.writerow([scanned.path, each.keyword, *times])


def _read(path: Path) -> bytes:
    """All of a regular file; nothing where there is none. Raises DataError."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no regular file; name one with --out")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); name another file with --out"
        ) from error


def _decode(line: bytes) -> tuple[Scanned, list[int] | None]:
    """A result and, where it is a failure, what its file was like."""
    content = json.loads(line)
    state = content.pop(_STATE, None)
    detections = tuple(_detection(each) for each in content.pop("detections"))
    scanned = Scanned(**content, detections=detections)
    if not isinstance(scanned.path, str) or not isinstance(scanned.error, str | None):
        raise ValueError("a path or an error that is no text")
    _require_number(scanned.seconds)
    return scanned, state


def _detection(content: dict[str, Any]) -> Detection:
    detection = Detection(**content)
    if not isinstance(detection.keyword, str):
        raise ValueError("a keyword that is no text")
    for number in (detection.score, detection.start, detection.end):
        _require_number(number)
    return detection


def _require_number(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number, got {value!r:.40}")


def _state_of(path: str) -> list[int] | None:
    """What changes when a file does; None where it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _lock(handle: int, path: Path) -> None:
    """Keep other scans from writing the same file, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise KwsError(
            f"another scan is writing {path}; wait for it, or name another file with --out"
        ) from error
    except OSError:  # a file system that has no locks
        pass
