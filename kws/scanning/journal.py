"""The results of a scan on disk: a line of JSON per recording, so that a scan can go on later."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kws.decision import Detection
from kws.errors import DataError, writing
from kws.scanning.scan import Scanned


class Journal:
    """A file that begins with what decided its results and then has one line per recording.

    An existing one is gone on with. Raises DataError where it belongs to another scan, and
    KwsError where it cannot be written.
    """

    def __init__(self, path: Path, scan: dict[str, Any]) -> None:
        """`scan` is JSON-ready; two scans of equal `scan` may share a journal."""
        self.path = path
        self.done: dict[str, Scanned] = {}
        head = json.dumps({"scan": scan})
        lines = _whole_lines(path)
        if lines and lines[0] != head:
            raise DataError(
                f"{path} holds the results of another scan (of {lines[0]:.200}); "
                "name another file with --out, or delete it"
            )
        for line in lines[1:]:
            scanned = _decode(line)
            self.done[scanned.path] = scanned
        # What a kill left half-written is dropped, and that recording is scanned again.
        kept = "".join(f"{line}\n" for line in (lines or [head]))
        with writing(path):
            path.write_text(kept, encoding="utf-8")
            self._file = path.open("a", encoding="utf-8")

    def write(self, scanned: Scanned) -> None:
        """Keep a result, at once."""
        with writing(self.path):
            self._file.write(json.dumps(dataclasses.asdict(scanned)) + "\n")
            self._file.flush()
        self.done[scanned.path] = scanned

    def close(self) -> None:
        """End it for now."""
        self._file.close()


def write_detections(results: Iterator[Scanned], path: Path) -> None:
    """A CSV file with a row per detection; times in seconds of the recording."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "keyword", "score", "start", "end"])
        for scanned in results:
            for each in scanned.detections:
                times = (f"{each.score:.4f}", f"{each.start:.3f}", f"{each.end:.3f}")
                rows.writerow([scanned.path, each.keyword, *times])


def _whole_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no journal of a scan; name another file with --out") from error
    return text.split("\n")[:-1]


def _decode(line: str) -> Scanned:
    content = json.loads(line)
    detections = tuple(Detection(**each) for each in content.pop("detections"))
    return Scanned(**content, detections=detections)
