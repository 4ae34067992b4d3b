"""Audio of which it is known what is spoken when: built from clips, or read with its labels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.audio import AudioFile
from kws.config import SAMPLE_RATE
from kws.errors import DataError
from kws.recordings.data import Int16Array
from kws.recordings.files import text_of

LOUDNESS = 0.03 * 32_768  # of the words of a scene, in int16 units: -30 dBFS
PAUSE = (0.8, 2.5)  # seconds between two clips, drawn evenly
_BLOCK = 160  # samples, 10 ms


@dataclass(frozen=True)
class Spoken:
    """One word and where it lies."""

    word: str
    start: float  # seconds
    end: float  # seconds


@dataclass(frozen=True)
class Scene:
    """A recording of any length and the words in it, in order of time."""

    audio: Int16Array  # (samples,), 16 kHz
    spoken: tuple[Spoken, ...]


def word_extent(clip: Int16Array) -> tuple[int, int]:
    """First and last sample of what is loud in a clip of one word.

    Loud are the blocks of 10 ms above 6 % of the loudest one, or above three times the clip's own
    background where that is more.
    """
    blocks = clip[: len(clip) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).astype(np.float64)
    energy = np.sqrt(np.mean(blocks * blocks, axis=1))
    floor = max(0.06 * energy.max(), 3.0 * np.percentile(energy, 15))
    loud = np.flatnonzero(energy >= min(floor, 0.5 * energy.max()))
    return int(loud[0]) * _BLOCK, int(loud[-1] + 1) * _BLOCK


def loudness(audio: NDArray[Any]) -> float:
    """Root mean square of the loud parts, in the samples' own unit; at least 1e-9.

    Loud are the blocks of 10 ms that reach a tenth of the loudest: pauses say nothing of how loud
    somebody speaks. Words and what lies behind them are mixed by it.
    """
    blocks = audio[: len(audio) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).astype(np.float64)
    energy = np.sqrt(np.mean(blocks * blocks, axis=1))
    loud = energy[energy >= 0.1 * energy.max(initial=0.0)]
    return float(np.sqrt(np.mean(loud * loud))) + 1e-9 if len(loud) else 1e-9


def build_scene(
    clips: Sequence[tuple[str, Int16Array]],
    keywords: Sequence[str],
    generator: np.random.Generator,
    background: Sequence[Int16Array] = (),
    snr_db: float | None = None,
    pause: tuple[float, float] = PAUSE,
) -> Scene:
    """Clips (word, audio) in random order at one loudness, with pauses, over a background.

    Only the `keywords` among them count as spoken. The background is recordings one after the
    other, each from a random place and `snr_db` below the words; None leaves digital silence.
    Raises DataError where there are no clips.
    """
    if not clips:
        raise DataError("a scene needs at least one clip")
    parts: list[NDArray[np.float64]] = [np.zeros(SAMPLE_RATE)]
    length, spoken = SAMPLE_RATE, []
    for index in generator.permutation(len(clips)):
        word, clip = clips[index]
        start, end = word_extent(clip)
        parts.append(clip * (LOUDNESS / max(loudness(clip), 1.0)))
        if word in keywords:
            times = (length + start) / SAMPLE_RATE, (length + end) / SAMPLE_RATE
            spoken.append(Spoken(word, *times))
        gap = np.zeros(round(generator.uniform(*pause) * SAMPLE_RATE))
        parts.append(gap)
        length += len(clip) + len(gap)
    audio = np.concatenate(parts)
    if snr_db is not None and background:
        audio += _bed(background, len(audio), generator) * 10.0 ** (-snr_db / 20.0)
    return Scene(np.clip(np.round(audio), -32768, 32767).astype(np.int16), tuple(spoken))


def _bed(
    recordings: Sequence[Int16Array], samples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Pieces of up to ten seconds of random recordings, each at LOUDNESS, joined to a length."""
    pieces: list[NDArray[np.float64]] = []
    missing = samples
    while missing > 0:
        recording = recordings[int(generator.integers(len(recordings)))]
        longest = min(len(recording), 10 * SAMPLE_RATE)
        start = int(generator.integers(len(recording) - longest + 1))
        piece = recording[start : start + longest].astype(np.float64)
        piece *= LOUDNESS / max(loudness(piece), 1.0)
        pieces.append(piece[:missing])
        missing -= len(piece)
    return np.concatenate(pieces)


def read_scene(recording: Path, labels: Path) -> Scene:
    """A recording with a label file.

    Labels are Audacity's (start, end and word in seconds, parted by tabs) or, where the file ends
    in .csv, comma-separated with the columns start, end and word. Raises AudioError for the
    recording and DataError for the labels, with the line that is wrong.
    """
    with AudioFile(recording) as source:
        blocks = list(source)
    audio = np.concatenate(blocks) if blocks else np.empty(0, np.int16)
    return Scene(audio, read_labels(labels))


def read_labels(path: Path) -> tuple[Spoken, ...]:
    """The words of a label file, in order of time; see `read_scene`."""
    try:
        text = text_of(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the labels {path}: {error}") from error
    is_csv = path.suffix.lower() == ".csv"
    lines = text.splitlines()
    rows = list(csv.reader(lines, delimiter="," if is_csv else "\t"))
    first = 0
    if is_csv:
        head = [name.strip().lower() for name in rows[0]] if rows else []
        if not {"start", "end", "word"} <= set(head):
            raise DataError(f"{path}: expected a first line start,end,word, got {lines[:1]}")
        order = [head.index(name) for name in ("start", "end", "word")]
        first = 1
    else:
        order = [0, 1, 2]
    spoken = []
    for number, row in enumerate(rows[first:], first + 1):
        if not row or row[0].startswith("\\"):  # Audacity's frequency ranges
            continue
        try:
            start, end, word = (row[place].strip() for place in order)
            entry = Spoken(word, float(start), float(end))
        except (ValueError, IndexError):
            raise DataError(f"{path}:{number}: expected start, end and word, got {row}") from None
        if not 0.0 <= entry.start <= entry.end:
            raise DataError(f"{path}:{number}: the word {word!r} ends before it starts")
        spoken.append(entry)
    return tuple(sorted(spoken, key=lambda entry: entry.start))
