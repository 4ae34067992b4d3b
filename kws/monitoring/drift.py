"""Two records of a detector's statistics, compared in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.audio import AudioFile
from kws.detector import Detector
from kws.errors import DataError
from kws.model.load import Model
from kws.monitoring.monitor import LEVEL_BINS, SCORE_BINS, SNR_BINS, Monitor, Seen, read_seen
from kws.recordings.data import find_recordings
from kws.recordings.files import is_hidden

_LEAST_SECONDS = 60.0
_LEVEL_DB = 6.0
_SNR_DB = 5.0
_SHARE = 0.05  # of the time
_SURE = 3.0  # standard deviations between two rates of detection
_SCORE = 0.5  # a label that reaches it was thought of
_SCORE_SHARE = 0.02


def load_seen(place: Path, model: Model) -> Seen:
    """The statistics of a record, a folder of records, or a folder of recordings processed now.

    Raises DataError where a place holds none of them.
    """
    if place.is_file():
        return read_seen(place)
    found = place.glob("*.json") if place.is_dir() else ()
    records = sorted(path for path in found if not is_hidden(path.name))
    if not records:
        recordings = find_recordings(place)
        if not recordings:
            raise DataError(
                f"{place} holds nothing to compare; expected a record, a folder of records or a "
                "folder of recordings"
            )
        return measure_recordings(recordings, model)
    seen = Seen()
    for record in records:
        seen.add(read_seen(record))
    return seen


def measure_recordings(recordings: list[Path], model: Model) -> Seen:
    """The statistics of recordings, each a stream of its own."""
    monitor = Monitor(model)
    with Detector(model, observer=monitor) as detector:
        for path in recordings:
            with AudioFile(path) as source:
                for _ in detector.listen(source):
                    pass
    return monitor.take()


def changes(before: Seen, after: Seen) -> Iterator[str]:
    """What is different, a sentence each; nothing where all is as it was.

    Raises DataError where there is too little to compare, or the records are of two models.
    """
    Seen(model=before.model).add(after)
    for name, seen in (("first", before), ("second", after)):
        if seen.seconds < _LEAST_SECONDS:
            raise DataError(
                f"the {name} record holds {seen.seconds:.0f} s of audio; "
                f"expected at least {_LEAST_SECONDS:.0f} s"
            )
    yield from _microphone(before, after)
    yield from _surroundings(before, after)
    yield from _model(before, after)


def _microphone(before: Seen, after: Seen) -> Iterator[str]:
    for text, low, high, levels in (
        (
            "Speech is",
            "; check the microphone's gain, what covers it and how far away people are",
            "; check the microphone's gain",
            (_median(before.speech_dbfs, LEVEL_BINS), _median(after.speech_dbfs, LEVEL_BINS)),
        ),
        (
            "The background is",
            "",
            "; find what makes the noise",
            (
                _median(before.background_dbfs, LEVEL_BINS),
                _median(after.background_dbfs, LEVEL_BINS),
            ),
        ),
    ):
        difference = levels[1] - levels[0]
        if abs(difference) >= _LEVEL_DB:
            word, remedy = ("quieter", low) if difference < 0 else ("louder", high)
            yield (
                f"{text} {abs(difference):.0f} dB {word}: its median level went from "
                f"{levels[0]:.0f} to {levels[1]:.0f} dBFS{remedy}."
            )
    for text, remedy, shares in (
        (
            "Clipping",
            "lower the microphone's gain",
            (_share(before.clipped_seconds, before), _share(after.clipped_seconds, after)),
        ),
        (
            "Exact silence, as of a muted microphone,",
            "check the mute switch and the driver",
            (_share(before.muted_seconds, before), _share(after.muted_seconds, after)),
        ),
    ):
        if abs(shares[1] - shares[0]) >= _SHARE:
            then = f"; {remedy}" if shares[1] > shares[0] else ""
            yield f"{text} {_went(*shares)} of the time{then}."


def _surroundings(before: Seen, after: Seen) -> Iterator[str]:
    ratios = _median(before.snr_db, SNR_BINS), _median(after.snr_db, SNR_BINS)
    if abs(ratios[1] - ratios[0]) >= _SNR_DB:
        word = "less" if ratios[1] < ratios[0] else "more"
        yield (
            f"Speech stands out {word}: the median signal-to-noise ratio went from "
            f"{ratios[0]:.0f} to {ratios[1]:.0f} dB."
        )
    shares = _share(before.speech_seconds, before), _share(after.speech_seconds, after)
    if (
        abs(shares[1] - shares[0]) >= _SHARE
        and not 0.5 < (shares[1] + 1e-9) / (shares[0] + 1e-9) < 2
    ):
        word = "less" if shares[1] < shares[0] else "more"
        yield f"There is {word} speech: it {_went(*shares)} of the time."


def _model(before: Seen, after: Seen) -> Iterator[str]:
    for keyword in sorted(before.detections.keys() | after.detections.keys()):
        counts = before.detections.get(keyword, 0), after.detections.get(keyword, 0)
        # If both came at the rate of the two together, the second count would be Poisson's.
        rate = sum(counts) / (before.seconds + after.seconds)
        expected = rate * after.seconds
        spread = (expected * before.seconds / (before.seconds + after.seconds)) ** 0.5
        if abs(counts[1] - expected) > _SURE * max(spread, 1.0):
            word = "less" if counts[1] < expected else "more"
            hourly = 3600 * counts[0] / before.seconds, 3600 * counts[1] / after.seconds
            yield (
                f"{keyword!r} fires {word} often: {hourly[1]:.2g} times an hour, "
                f"{hourly[0]:.2g} before."
            )
    for label in sorted(before.scores.keys() & after.scores.keys()):
        shares = _thought_of(before.scores[label]), _thought_of(after.scores[label])
        ratio = (shares[1] + 1e-3) / (shares[0] + 1e-3)
        if abs(shares[1] - shares[0]) >= _SCORE_SHARE and not 0.5 < ratio < 2.0:
            yield (
                f"The scores of {label!r} moved: reaching {_SCORE:g} {_went(*shares)} "
                "of the time that somebody speaks."
            )


def _went(before: float, after: float) -> str:
    return f"went from {100 * before:.1f} to {100 * after:.1f} %"


def _share(seconds: float, seen: Seen) -> float:
    return seconds / seen.seconds


def _thought_of(counts: list[int]) -> float:
    high = sum(count for count, low in zip(counts, SCORE_BINS, strict=True) if low >= _SCORE - 1e-9)
    return high / max(1, sum(counts))


def _median(counts: list[int], bins: NDArray[np.float64]) -> float:
    """The middle of the bin that holds the median; NaN, which is near nothing, of nothing."""
    if not sum(counts):
        return float("nan")
    place = int(np.searchsorted(np.cumsum(counts), sum(counts) / 2.0))
    return float(bins[place] + (bins[1] - bins[0]) / 2.0)
