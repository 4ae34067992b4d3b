"""Recordings of any rate, channel count and format as the 16 kHz mono WAV that training reads."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from kws.audio import AudioFile
from kws.config import SAMPLE_RATE
from kws.errors import AudioError, DataError
from kws.recordings.data import SPLITS, SUFFIXES, Int16Array, Problem

READABLE = SUFFIXES | {".mp3", ".aif", ".aiff", ".au", ".caf"}

logger = logging.getLogger(__name__)


def find_convertible(folder: Path) -> list[Path]:
    """Every file below a folder that may be a recording; raises DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name one that holds recordings")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in READABLE and p.is_file())
    if not found:
        raise DataError(f"{folder} holds no recordings ({', '.join(sorted(READABLE))})")
    return found


def convert(
    folder: Path, out: Path, advance: Callable[[int], None] = lambda files: None
) -> tuple[int, list[Problem]]:
    """Write a copy of a folder below `out`, which must not exist; split lists are copied too.

    Returns how many recordings were written, and those that could not be read. Raises DataError
    where there is nothing to convert or something to overwrite, OSError where the disk refuses.
    """
    paths = find_convertible(folder)
    if out.exists():
        raise DataError(f"{out} already exists; name a folder that does not")
    problems, narrow = [], 0
    for path in paths:
        copy = out / path.relative_to(folder).with_suffix(".wav")
        try:
            audio, rate = read_any(path)
            if copy.exists():
                raise AudioError(f"another recording is already called {copy}")
        except AudioError as error:
            problems.append(Problem(path, str(error)))
        else:
            narrow += rate < SAMPLE_RATE
            copy.parent.mkdir(parents=True, exist_ok=True)
            _write(copy, audio)
        advance(1)
    for split in SPLITS:
        if (folder / f"{split}_list.txt").is_file() and out.is_dir():
            shutil.copy(folder / f"{split}_list.txt", out)
    if narrow:
        logger.warning(
            "%d recordings are at less than 16 kHz: what distinguishes s, f and t is missing, so "
            "expect more mistakes; record again at 16 kHz or more if you can",
            narrow,
        )
    return len(paths) - len(problems), problems


def _write(path: Path, audio: Int16Array) -> None:
    try:
        soundfile.write(path, audio, SAMPLE_RATE)
    except soundfile.LibsndfileError as error:
        raise OSError(str(error)) from error


def read_any(path: Path) -> tuple[Int16Array, int]:
    """A recording as 16 kHz mono, and the rate that it had; raises AudioError."""
    with AudioFile(path) as source:
        blocks = list(source)
    rate = soundfile.info(path).samplerate
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16), rate
