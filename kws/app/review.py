"""What people say of the recordings of `kws listen --record-detections`, and folders made of it."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import DataError, SettingError, writing

MARKS = "review.json"
VERSION = 1
NO_WORD = "_unknown_"  # what `kws finetune` calls speech that is none of the words
PAD = 0.1  # seconds after a word that its clip keeps


@dataclass(frozen=True)
class Recorded:
    """One recording with the detection that it was made for."""

    path: Path  # FLAC
    keyword: str
    score: float  # in (0, 1]
    threshold: float | None
    time: float | None  # Unix seconds, unless it was detected in a recording
    start: float  # seconds into the recording, where the word lies
    end: float

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def audio(self) -> NDArray[np.int16]:
        """(samples,) at 16 kHz; raises DataError where it cannot be read."""
        import soundfile

        try:
            found, rate = soundfile.read(self.path, dtype="int16", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise DataError(f"cannot read {self.path}: {error}") from error
        if rate != SAMPLE_RATE:
            raise DataError(f"expected a rate of {SAMPLE_RATE} Hz in {self.path}, got {rate}")
        audio: NDArray[np.int16] = found[:, 0]
        return audio


class Review:
    """The recordings of a folder, oldest first, and which word each holds, as far as it is known.

    Each mark is kept at once in a file in the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Raises DataError for a folder without recordings, or marks that cannot be read."""
        self.folder = folder
        self.recordings = _find(folder)
        self._path = folder / MARKS
        self._words = _read_marks(self._path)
        self._order: list[str] = []  # marked by this object, in that order

    def word(self, recording: Recorded) -> str | None:
        """The word that it holds, NO_WORD for none of them, or None where nobody has said."""
        return self._words.get(recording.name)

    def mark(self, recording: Recorded, word: str) -> None:
        """Say which word it holds, or NO_WORD. Raises SettingError for what cannot be a word."""
        if word != NO_WORD:
            check_word(word)
        self._words[recording.name] = word
        self._order.append(recording.name)
        self._keep()

    def undo(self) -> Recorded | None:
        """Take the last mark back; returns whose it was, None where this object made none."""
        if not self._order:
            return None
        name = self._order.pop()
        del self._words[name]
        self._keep()
        return next(each for each in self.recordings if each.name == name)

    def _keep(self) -> None:
        part = self._path.with_suffix(".part")
        with writing(self._path):
            part.write_text(
                json.dumps({"v": VERSION, "words": self._words}, indent=0), encoding="ascii"
            )
            part.replace(self._path)

    def write(self, out: Path) -> dict[str, int]:
        """Make folders for `kws finetune` and `kws calibrate`; how many recordings each has.

        `out/words` has a folder of clips for each word and NO_WORD; `out/background` has the whole
        recordings in which no word was said.
        """
        import soundfile

        for recording in self.recordings:
            word = self.word(recording)
            if word is None:
                continue
            try:
                audio = recording.audio()
            except DataError:
                continue  # it is gone, or damaged
            begin, end = (round(each * SAMPLE_RATE) for each in (recording.start, recording.end))
            clip = audio[begin : end + round(PAD * SAMPLE_RATE)]
            files = [(out / "words" / word, clip)]
            if word == NO_WORD:
                files.append((out / "background", audio))
            for folder, content in files:
                with writing(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                    with (folder / f"{recording.name}.flac").open("wb") as file:
                        soundfile.write(file, content, SAMPLE_RATE, format="FLAC")
        folders = [*sorted((out / "words").glob("*")), out / "background"]
        return {
            str(folder.relative_to(out)): count
            for folder in folders
            if (count := len(list(folder.glob("*.flac"))))
        }


def check_word(word: str) -> None:
    """Raise SettingError for what can be no word and no folder of it."""
    plain = unicodedata.normalize("NFC", word)
    if not (0 < len(plain) <= 60 and plain.isprintable() and plain == plain.strip()) or (
        plain[0] in "._" or any(each in '/\\:*?"<>|' for each in plain) or plain.endswith(".")
    ):
        raise SettingError(f"expected a word that can be a folder's name, got {word!r}")


def _find(folder: Path) -> list[Recorded]:
    if not folder.is_dir():
        raise DataError(f"expected a folder of `kws listen --record-detections`, got {folder}")
    found = []
    for path in sorted(folder.glob("*.json")):
        recording = path.with_suffix(".flac")
        if path.name != MARKS and recording.is_file():
            found.append(_recorded(path, recording))
    if not found:
        raise DataError(f"no recordings of `kws listen --record-detections` are in {folder}")
    return found


def _recorded(path: Path, recording: Path) -> Recorded:
    try:
        content: Any = json.loads(path.read_bytes())
        placed = content["recording"]
        time, threshold = content["time"], placed["threshold"]
        found = Recorded(
            path=recording,
            keyword=str(content["keyword"]),
            score=float(content["score"]),
            threshold=None if threshold is None else float(threshold),
            time=None if time is None else float(time),
            start=float(placed["start"]),
            end=float(placed["end"]),
        )
        check_word(found.keyword)
        if not 0.0 <= found.start <= found.end:
            raise ValueError("a word that ends before it begins")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not describe a detection ({error})") from error
    return found


def _read_marks(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        content: Any = json.loads(path.read_bytes())
        if content["v"] != VERSION:
            raise ValueError(f"version {content['v']}, expected {VERSION}")
        words = {str(name): str(word) for name, word in content["words"].items()}
        for word in words.values():
            if word != NO_WORD:
                check_word(word)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not hold marks of `kws review` ({error})") from error
    return words
