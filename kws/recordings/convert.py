"""Recordings of any rate, channel count and format as the 16 kHz mono WAV that training reads."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import soundfile

from kws.audio.sound import open_sound
from kws.config import SAMPLE_RATE
from kws.errors import AudioError, DataError
from kws.recordings.data import SPLITS, Problem
from kws.recordings.files import look_through, report_left_out

BLOCK_MS = 960

logger = logging.getLogger(__name__)


def convert(
    folder: Path, out: Path, advance: Callable[[int, int], None] = lambda done, total: None
) -> tuple[int, list[Problem]]:
    """Write a copy of a folder below `out`, which must not exist; split lists are copied too.

    `advance` is told how many files of how many are done. Returns how many recordings were written,
    and the files and folders that could not be read. Raises DataError where there is nothing to
    convert or something to overwrite, OSError where the disk refuses.
    """
    found = look_through(folder)
    report_left_out(folder, found.left_out)
    if not found.recordings:
        raise DataError(f"{folder} holds no recordings{_first(found.unreadable)}")
    if out.exists():
        raise DataError(f"{out} already exists; name a folder that does not")
    problems, narrow = list(found.unreadable), 0
    for done, path in enumerate(found.recordings):
        copy = out / path.relative_to(folder).with_suffix(".wav")
        try:
            if copy.exists():
                raise AudioError(f"another recording is already called {copy}")
            narrow += _write(path, copy) < SAMPLE_RATE
        except AudioError as error:
            problems.append(Problem(path, str(error).removeprefix(f"{path} ")))
        advance(done + 1, len(found.recordings))
    for split in SPLITS:
        if (folder / f"{split}_list.txt").is_file() and out.is_dir():
            shutil.copy(folder / f"{split}_list.txt", out)
    if narrow:
        logger.warning(
            "%d recordings are at less than 16 kHz: what distinguishes s, f and t is missing, so "
            "expect more mistakes; record again at 16 kHz or more if you can",
            narrow,
        )
    return len(found.recordings) + len(found.unreadable) - len(problems), problems


def _first(problems: Sequence[Problem]) -> str:
    return f" that can be read; {len(problems)} cannot, first {problems[0]}" if problems else ""


def _write(path: Path, copy: Path) -> int:
    """Write a copy of a recording; returns the rate that it had.

    Raises AudioError where it cannot be read to its end, and leaves no copy then, and OSError.
    """
    with closing(open_sound(path)) as sound:
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            # A name may be any bytes, which libsndfile does not take.
            with (
                copy.open("wb") as file,
                soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, "PCM_16", format="WAV") as out,
            ):
                for block in sound.blocks(BLOCK_MS):
                    out.write(block)
        except AudioError:
            copy.unlink()
            raise
        except soundfile.LibsndfileError as error:
            raise OSError(str(error)) from error
        return sound.rate
