"""Which words may stand for "no command": those that a pronouncing dictionary keeps apart from one.

The dictionary is in the format of CMUdict: a word and its phones a line, another pronunciation
it as `word(2)`. The one that comes with the package pocketsphinx has 134,000 words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from kws.errors import DataError

Phones = tuple[str, ...]
Dictionary = Mapping[str, frozenset[Phones]]  # every pronunciation of each word

_ENTRY = re.compile(r"([a-z']+)(?:\(\d+\))?\s+(.+)")


def read_dictionary(path: Path) -> Dictionary:
    """The words of letters in a file in the format of CMUdict; raises DataError for other files."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a dictionary ({error})") from error
    found: dict[str, set[Phones]] = {}
    for line in lines:
        if entry := _ENTRY.fullmatch(line.strip().lower()):
            found.setdefault(entry[1], set()).add(tuple(entry[2].split()))
    if not found:
        raise DataError(
            f"{path} has no word in the format of CMUdict; expected lines such as: stop S T AA P"
        )
    return {word: frozenset(ways) for word, ways in found.items()}


def ways_to_say(words: Iterable[str], dictionary: Dictionary) -> frozenset[Phones]:
    """The pronunciations of these words; raises DataError where the dictionary lacks one."""
    words = list(words)
    if lacking := [word for word in words if word not in dictionary]:
        raise DataError(f"the dictionary does not have {', '.join(lacking)}; take another")
    return frozenset().union(*(dictionary[word] for word in words))


def begins_or_ends_like(word: str, others: Collection[Phones], dictionary: Dictionary) -> bool:
    """Whether a word, carelessly cut, may leave one of these, as "going" and "cup" do."""
    return any(
        other in (way[: len(other)], way[-len(other) :])
        for way in dictionary.get(word, ())
        for other in others
    )


def short_words(dictionary: Dictionary, avoided: Collection[Phones], phones: int) -> list[str]:
    """Words of two to so many phones that never sound like the avoided ones, sorted."""
    return sorted(
        word
        for word, ways in dictionary.items()
        if all(2 <= len(way) <= phones for way in ways) and not ways & frozenset(avoided)
    )
