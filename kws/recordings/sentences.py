"""Recorded sentences and what is said in them, so that those with a command are told apart.

A folder of recordings may hold two tables of tab-separated values: `transcripts.tsv` (file,
speaker, text) and `words.tsv` (file, word, start, end in seconds, speaker, age, gender). Where it
holds none, those that `python -m kws.train.transcribe` has written into the cache folder are read.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from kws.config import KEYWORDS
from kws.errors import DataError
from kws.recordings.data import Problem, find_recordings

TRANSCRIPTS, WORDS = "transcripts.tsv", "words.tsv"
TRANSCRIPT_COLUMNS = ("file", "speaker", "text")
WORD_COLUMNS = ("file", "word", "start", "end", "speaker", "age", "gender")
SLACK = 0.1  # seconds by which a word may end after its recording, for rounding
# Words that cannot be told from a command by ear; a recogniser writes "alright" for "all right".
HOMOPHONES = {
    "no": ("know", "noh"),
    "right": ("write", "wright", "rite", "alright"),
    "go": ("goh",),
    "yes": ("yess",),
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpokenWord:
    """A word in a recording."""

    word: str
    start: float  # seconds
    end: float  # seconds


@dataclass(frozen=True)
class Sentence:
    """One recording and its transcript."""

    path: Path
    text: tuple[str, ...] | None  # words, in small letters; None where there is no transcript
    words: tuple[SpokenWord, ...] = ()  # with their times, where these are known
    speaker: str = ""
    age: int | None = None
    gender: str = ""

    def spoken(self, keywords: Sequence[str] = KEYWORDS) -> tuple[SpokenWord, ...]:
        """The commands in it, homophones under the command's own name."""
        names = _names(keywords)
        return tuple(
            SpokenWord(names[each.word], each.start, each.end)
            for each in self.words
            if each.word in names
        )

    def holds(self, keywords: Sequence[str] = KEYWORDS) -> bool:
        """Whether it holds a command or what sounds like one; False where nothing is known."""
        names = _names(keywords)
        return any(word in names for word in self.text or ())


def _names(keywords: Sequence[str]) -> dict[str, str]:
    """The command that each word stands for, by itself and by what sounds the same."""
    return {
        sound: keyword for keyword in keywords for sound in (keyword, *HOMOPHONES.get(keyword, ()))
    }


def sounds_like_command(word: str, keywords: Sequence[str] = KEYWORDS) -> bool:
    """Whether a word is a command or cannot be told from one by ear."""
    return word.lower() in _names(keywords)


def cached_transcripts(folder: Path) -> Path:
    """The folder of the tables of recordings that have none: in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "kws" / "transcripts" / folder.resolve().name


def read_sentences(folder: Path) -> tuple[list[Sentence], list[Problem]]:
    """Every recording below a folder in the order of its path, with what the tables say of it.

    A recording that no table names has no text. Rows that name no recording, and words that lie
    outside their recording, are problems, and what they say is left out. Raises DataError where
    there is no such folder or a table is none.
    """
    paths = find_recordings(folder)
    tables = folder if (folder / TRANSCRIPTS).is_file() else cached_transcripts(folder)
    problems: list[Problem] = []
    if not (tables / TRANSCRIPTS).is_file():
        logger.warning(
            "%s has no %s; its commands, if any, are not known. Write one with "
            "`python -m kws.train.transcribe %s`",
            folder,
            TRANSCRIPTS,
            folder,
        )
        return [Sentence(path, None) for path in paths], problems
    texts = {row["file"]: row for row in table_rows(tables / TRANSCRIPTS, TRANSCRIPT_COLUMNS)}
    words: dict[str, list[Mapping[str, str]]] = {}
    if (tables / WORDS).is_file():
        for row in table_rows(tables / WORDS, WORD_COLUMNS):
            words.setdefault(row["file"], []).append(row)
    else:
        logger.warning("%s has no %s; when its words are spoken is not known", tables, WORDS)
    names = {path.name for path in paths}
    for name in sorted((texts.keys() | words.keys()) - names):
        problems.append(Problem(folder / name, "is in a table and not in the folder"))
    sentences = []
    for path in paths:
        sentence, reason = _sentence(path, texts.get(path.name), words.get(path.name, []))
        sentences.append(sentence)
        if reason:
            problems.append(Problem(path, reason))
    return sentences, problems


def _sentence(
    path: Path, about: Mapping[str, str] | None, rows: Sequence[Mapping[str, str]]
) -> tuple[Sentence, str]:
    """A recording with its rows and, where they do not fit it, the reason."""
    if about is None:
        return Sentence(path, None), f"is not in {TRANSCRIPTS}"
    text = tuple(about["text"].lower().split())
    speaker = about["speaker"]
    try:
        words = tuple(
            SpokenWord(row["word"].lower(), float(row["start"]), float(row["end"])) for row in rows
        )
        seconds = soundfile.info(path).duration if words else 0.0
    except (ValueError, soundfile.LibsndfileError, OSError, RuntimeError) as error:
        return Sentence(path, text, (), speaker), f"its words have no times ({error})"
    age = rows[0]["age"] if rows else ""
    details = (speaker, int(age) if age.isdigit() else None, rows[0]["gender"] if rows else "")
    if any(not 0 <= word.start < word.end <= seconds + SLACK for word in words):
        return (
            Sentence(path, text, (), *details),
            f"lasts {seconds:.2f} s and a word of {WORDS} lies outside it; its times are not used",
        )
    if words and tuple(word.word for word in words) != text:
        return (
            Sentence(path, text, (), *details),
            f"the words of {WORDS} are not those of {TRANSCRIPTS}; their times are not used",
        )
    return Sentence(path, text, words, *details), ""


def table_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a table; raises DataError where it has no such columns."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise DataError(
                    f"{path} has no column {', '.join(missing)}; expected tab-separated "
                    f"{', '.join(columns)} in its first line"
                )
            for row in reader:
                if any(row[name] is None for name in columns):
                    raise DataError(
                        f"{path}, line {reader.line_num}: expected {len(columns)} columns"
                    )
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table ({error})") from error
