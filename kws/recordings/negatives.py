"""Recordings without a command, by source: what false accepts are counted on and trained against.

A data folder holds, beside Speech Commands, any of `speech/<source>/`, `other_words/<source>/` and
`noise/<source>/`. Sentences of `speech` that hold a command, or what sounds like one, are none of
them, as far as transcripts tell; see `kws.recordings.sentences`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kws.config import KEYWORDS
from kws.recordings.data import Problem, find_recordings
from kws.recordings.held_out import is_held_out
from kws.recordings.sentences import Sentence, read_sentences

KINDS = ("speech", "other_words", "noise")
WITHOUT_COMMANDS = ("speech/orders",)  # none of them is in its vocabulary; no transcripts


def sources(data: Path) -> Iterator[tuple[str, Path]]:
    """Name, such as "speech/orders", and folder of each source below a data folder, sorted."""
    for kind in KINDS:
        if (data / kind).is_dir():
            for folder in sorted(path for path in (data / kind).iterdir() if path.is_dir()):
                yield f"{kind}/{folder.name}", folder


def sentences(
    folder: Path, *, held_out: bool | None = None
) -> tuple[list[Sentence], list[Problem]]:
    """The recordings of one source of speech: training's, those held out, or all (None)."""
    found, problems = read_sentences(folder)
    return [each for each in found if held_out in (None, is_held_out(each.path))], problems


def negatives(
    data: Path,
    *,
    held_out: bool | None = None,
    keywords: Sequence[str] = KEYWORDS,
    transcribed: bool = False,
) -> dict[str, list[Path]]:
    """Recordings that hold none of the keywords, by source; sources with none are left out.

    `held_out` chooses training's material (False), what is reported on (True) or all (None).
    `transcribed` leaves out sentences that may hold a keyword, because nobody wrote down their
    text. Raises DataError where a transcript's table is none.
    """
    found = {}
    for name, folder in sources(data):
        if name.startswith("speech/") and name not in WITHOUT_COMMANDS:
            said, _ = sentences(folder, held_out=held_out)
            known = [each for each in said if each.text is not None or not transcribed]
            paths = [each.path for each in known if not each.holds(keywords)]
        else:
            paths = [
                path for path in find_recordings(folder) if held_out in (None, is_held_out(path))
            ]
        if paths:
            found[name] = paths
    return found
