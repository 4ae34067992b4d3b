"""Statistics of a deployed detector, as counts: levels, noise, share of speech, scores.

No audio and no time within the hour is kept, so that a record may leave the device. `kws drift`
compares two of them.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.decision import Detection
from kws.errors import DataError
from kws.frontend import FloatArray
from kws.model.load import Model
from kws.recordings.data import Int16Array

VERSION = 1
LEVEL_BINS = np.arange(-96.0, 1.0, 3.0)  # dBFS, lower edges; what is quieter is in the first
SNR_BINS = np.arange(0.0, 61.0, 3.0)  # dB
SCORE_BINS = np.arange(0.0, 1.0, 0.1)
_SPELL = 10.0  # s over which a signal-to-noise ratio is estimated
_LEAST_SPEECH = 0.5  # s of it in a spell, below which there is no estimate

logger = logging.getLogger(__name__)


@dataclass
class Seen:
    """Counts of hops of audio, which add up over time and devices."""

    version: int = VERSION
    model: str = ""
    seconds: float = 0.0
    speech_seconds: float = 0.0  # with the gate open
    muted_seconds: float = 0.0  # of exact zeros
    clipped_seconds: float = 0.0  # with samples at full scale
    speech_dbfs: list[int] = field(default_factory=lambda: [0] * len(LEVEL_BINS))
    background_dbfs: list[int] = field(default_factory=lambda: [0] * len(LEVEL_BINS))  # unmuted
    snr_db: list[int] = field(default_factory=lambda: [0] * len(SNR_BINS))  # of spells with speech
    scores: dict[str, list[int]] = field(default_factory=dict)  # highest posterior while open
    detections: dict[str, int] = field(default_factory=dict)

    def add(self, other: Seen) -> None:
        """Count what the other record counts, too; raises DataError for another model's."""
        if self.model and other.model and self.model != other.model:
            raise DataError(
                f"these records are of two models, {self.model} and {other.model}, whose scores "
                "do not compare; take those of one"
            )
        self.model = self.model or other.model
        for name in ("seconds", "speech_seconds", "muted_seconds", "clipped_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.speech_dbfs = _sum(self.speech_dbfs, other.speech_dbfs)
        self.background_dbfs = _sum(self.background_dbfs, other.background_dbfs)
        self.snr_db = _sum(self.snr_db, other.snr_db)
        for label, counts in other.scores.items():
            self.scores[label] = _sum(self.scores.get(label, [0] * len(counts)), counts)
        for keyword, count in other.detections.items():
            self.detections[keyword] = self.detections.get(keyword, 0) + count


class Monitor:
    """Collects a record from a detector's callback: `Detector(observer=Monitor(model))`."""

    def __init__(self, model: Model) -> None:
        self._name, self._labels = model.manifest.name, model.manifest.labels
        self._seen = Seen(model=self._name)
        self._spell: list[tuple[float, bool]] = []  # level in dBFS and whether the gate was open

    def take(self) -> Seen:
        """What was seen since the last time; counting begins again."""
        seen, self._seen = self._seen, Seen(model=self._name)
        return seen

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """See kws.detector.Observer."""
        seen, seconds = self._seen, len(audio) / SAMPLE_RATE
        seen.seconds += seconds
        if rows:
            seen.speech_seconds += seconds
            highest = np.concatenate(rows).max(axis=0)
            for label, score in zip(self._labels, highest, strict=True):
                counts = seen.scores.setdefault(label, [0] * len(SCORE_BINS))
                _count(counts, SCORE_BINS, float(score))
        for detection in fired:
            seen.detections[detection.keyword] = seen.detections.get(detection.keyword, 0) + 1
        if not audio.any():
            seen.muted_seconds += seconds
            return
        wide = audio.astype(np.float64)
        if np.abs(wide).max() >= 32_767.0:
            seen.clipped_seconds += seconds
        level = 10.0 * float(np.log10(np.mean(wide * wide))) - 20.0 * float(np.log10(32768.0))
        _count(seen.speech_dbfs if rows else seen.background_dbfs, LEVEL_BINS, level)
        self._spell.append((level, bool(rows)))
        if len(self._spell) * seconds >= _SPELL:
            self._close_spell(seconds)

    def _close_spell(self, seconds: float) -> None:
        """Estimate a ratio: the loud end of speech over the quiet end of everything."""
        speech = [level for level, is_speech in self._spell if is_speech]
        if len(speech) * seconds >= _LEAST_SPEECH:
            noise = float(np.percentile([level for level, _ in self._spell], 10))
            _count(self._seen.snr_db, SNR_BINS, float(np.percentile(speech, 90)) - noise)
        self._spell.clear()


class HourlyRecords:
    """A monitor that writes what it saw into a folder, one small JSON file per hour (UTC).

    What goes wrong on the disk is logged, once, and does not stop the listening.
    """

    def __init__(self, folder: Path, model: Model, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives the time in seconds since 1970."""
        self._folder, self._clock = folder, clock
        self._monitor = Monitor(model)
        self._hour = self._clock() // 3600
        self._warned = False

    def __enter__(self) -> HourlyRecords:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """See kws.detector.Observer."""
        hour = self._clock() // 3600
        if hour != self._hour:
            self._write()
            self._hour = hour
        self._monitor.observe(audio, rows, fired)

    def _write(self) -> None:
        seen = self._monitor.take()
        if not seen.seconds:
            return
        hour = time.strftime("%Y-%m-%dT%HZ", time.gmtime(3600 * self._hour))
        path = self._folder / f"{hour}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if path.is_file():  # of a run that ended within this hour
                seen.add(read_seen(path))
            write_seen(seen, path)
        except (OSError, DataError) as error:
            if not self._warned:
                logger.warning("the record of this hour is not written: %s", error)
            self._warned = True


def write_seen(seen: Seen, path: Path) -> None:
    """Write a record whole or not at all; raises OSError."""
    content = asdict(seen)
    for name in ("seconds", "speech_seconds", "muted_seconds", "clipped_seconds"):
        content[name] = round(content[name], 2)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read_seen(path: Path) -> Seen:
    """Read a record that `write_seen` wrote; raises DataError for anything else."""
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}; expected {VERSION}")
        seen = Seen(**content)
        Seen().add(seen)  # has the right lengths
        counts = [*seen.speech_dbfs, *seen.background_dbfs, *seen.snr_db, *seen.detections.values()]
        counts += [count for row in seen.scores.values() for count in row]
        if any(type(count) is not int or count < 0 for count in counts):
            raise ValueError("invalid count")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a record of `kws listen --monitor` ({error})") from error
    return seen


def _count(counts: list[int], bins: NDArray[np.float64], value: float) -> None:
    place = int(np.searchsorted(bins, value, side="right")) - 1
    counts[max(0, place)] += 1


def _sum(left: list[int], right: list[int]) -> list[int]:
    return [a + b for a, b in zip(left, right, strict=True)]
