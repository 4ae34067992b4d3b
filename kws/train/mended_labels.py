"""The table of training clips whose labels are mended: which clip is which command, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kws.config import KEYWORDS
from kws.errors import DataError
from kws.recordings.data import Clip, Corpus
from kws.recordings.sentences import table_rows

COLUMNS = ("file", "label")
DROPPED = "-"  # the label of a clip that is left out
_MAKE = "make it with `python -m kws.train.mend` from the same recordings"


@dataclass(frozen=True)
class MendedLabels:
    """What a table says; by the clips' paths below the corpus, with `/` between folders."""

    path: Path
    digest: str  # first 12 hex digits of the file's SHA-256
    labels: Mapping[str, str] = field(repr=False)  # a command or DROPPED

    def apply(self, corpus: Corpus) -> list[Clip]:
        """The corpus's training clips as mended; those of the other splits have no part in it.

        Raises DataError where a row names anything but a training clip.
        """
        clips = {file_of(clip, corpus): clip for clip in corpus.split("training")}
        foreign = [file for file in self.labels if file not in clips]
        if foreign:
            raise DataError(
                f"{self.path}: {len(foreign)} of its {len(self.labels)} rows name no training clip "
                f"of {corpus.root}, first {foreign[0]}; {_MAKE}"
            )
        mended = [
            replace(clip, word=self.labels.get(file, clip.word)) for file, clip in clips.items()
        ]
        return [clip for clip in mended if clip.word != DROPPED]


def file_of(clip: Clip, corpus: Corpus) -> str:
    """What a table calls a clip."""
    return clip.path.relative_to(corpus.root).as_posix()


def read_mended_labels(path: Path, keywords: Sequence[str] = KEYWORDS) -> MendedLabels:
    """Read a table; raises DataError for one that is missing, none, empty or contradicts itself."""
    labels: dict[str, str] = {}
    for row in table_rows(path, COLUMNS):
        file, label = row["file"], row["label"]
        if label not in (*keywords, DROPPED):
            raise DataError(
                f"{path}: {file} is labelled {label!r}; expected {', '.join(keywords)} or {DROPPED}"
            )
        if file in labels:
            raise DataError(f"{path} names {file} twice; {_MAKE}")
        labels[file] = label
    if not labels:
        raise DataError(f"{path} names no clips; train without it, or {_MAKE}")
    return MendedLabels(path, hashlib.sha256(path.read_bytes()).hexdigest()[:12], labels)
