"""Which files below a folder are recordings, and which word the name of a folder spells.

One set of file kinds for every command. What is left out is counted and said; the side files of
macOS (`._clip.wav`, `__MACOSX`, `.DS_Store`) and other hidden files are none of the user's.
"""

from __future__ import annotations

import codecs
import logging
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kws.errors import DataError
from kws.text import printable

SUFFIXES = frozenset(
    {".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
    | {".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
)
# Audio that no decoder here reads, and samples without a header.
OTHER_AUDIO = frozenset(
    {".m4a", ".aac", ".mp4", ".wma", ".amr", ".3gp", ".webm", ".mka", ".mkv", ".mov", ".avi"}
    | {".ape", ".wv", ".spx", ".raw", ".pcm"}
)
_COMPANIONS = ("readme", "license", "licence", "validation_list", "testing_list", "training_list")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """A file or folder that was not used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}")


@dataclass(frozen=True)
class Found:
    """What lies below one folder."""

    recordings: tuple[Path, ...]  # sorted
    left_out: Counter[str]  # suffix in lower case -> files with it that are no recordings
    unreadable: tuple[Problem, ...]  # folders that cannot be entered, links that lead nowhere


def look_through(folder: Path) -> Found:
    """Every file below a folder; raises DataError where there is no such folder.

    Links to files are followed, links to folders are not (they may lead in a circle), and say so.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name one that holds recordings")
    recordings: list[Path] = []
    left_out: Counter[str] = Counter()
    unreadable: list[Problem] = []

    def cannot_enter(error: OSError) -> None:
        place = Path(error.filename or folder)
        unreadable.append(Problem(place, f"cannot be entered ({error.strerror or error})"))

    for place, inner, names in os.walk(folder, onerror=cannot_enter):
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        for name in inner:
            if os.path.islink(os.path.join(place, name)):
                unreadable.append(Problem(Path(place, name), "is a link to a folder; name that"))
        for name in names:
            path = Path(place, name)
            suffix = path.suffix.lower()
            if is_hidden(name):
                continue
            if suffix in SUFFIXES and path.is_file():
                recordings.append(path)
            elif suffix in SUFFIXES and path.is_symlink() and not path.exists():
                unreadable.append(Problem(path, "is a link to a file that is not there"))
            elif not name.lower().startswith(_COMPANIONS):
                left_out[suffix] += 1
    return Found(tuple(sorted(recordings)), left_out, tuple(unreadable))


def find_recordings(folder: Path) -> list[Path]:
    """Every recording below a folder, sorted; what is left out is told in a warning.

    Raises DataError where there is no such folder, or one below it cannot be entered.
    """
    found = look_through(folder)
    require_readable(found)
    report_left_out(folder, found.left_out)
    return list(found.recordings)


def require_readable(found: Found) -> None:
    """Raise DataError where a part of a folder could not be looked into."""
    if found.unreadable:
        count = len(found.unreadable)
        raise DataError(
            f"{count} of the places to look into cannot be read, first {found.unreadable[0]}; "
            "change their permissions, or take them out of the folder"
        )


def report_left_out(folder: Path, left_out: Counter[str]) -> None:
    """Warn of the files that are no recordings, if there are any."""
    if not left_out:
        return
    kinds = ", ".join(
        f"{count} {suffix or 'without suffix'}" for suffix, count in left_out.most_common(8)
    )
    hint = ""
    if OTHER_AUDIO.intersection(left_out):
        hint = "; make WAV of other audio: ffmpeg -i IN -ar 16000 -ac 1 OUT.wav"
    logger.warning(
        "left out of %s: %d files that are not WAV, FLAC, Ogg, Opus, MP3, AIFF, AU or CAF (%s)%s",
        folder,
        left_out.total(),
        kinds,
        hint,
    )


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or is what macOS leaves beside others."""
    return name.startswith(".") or name == "__MACOSX"


def text_of(content: bytes, errors: str = "strict") -> str:
    """What an editor saved: UTF-8, or UTF-16 of either order, with or without a byte-order mark.

    `errors` is Python's, for UTF-8. Raises UnicodeDecodeError for anything else.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    if b"\0" in content[:2]:
        return content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16-le")
    return content.decode("utf-8-sig", errors)


def spelled(name: str) -> str:
    """A name in Unicode's composed form (NFC), as labels are; macOS and zip files decompose it."""
    return unicodedata.normalize("NFC", name)


@lru_cache(maxsize=4096)
def spelling_key(name: str) -> str:
    """Equal for names that spell the same, whatever their case and normal form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
