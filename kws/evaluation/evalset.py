"""The clips that a model is judged on, in every layout that training reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.config import SILENCE, UNKNOWN
from kws.errors import DataError
from kws.recordings.data import (
    SPLITS,
    Corpus,
    Int16Array,
    Problem,
    balanced,
    corpus_root,
    cut_silence,
    find_corpus,
    label_of,
    read_clips,
    read_recordings,
    split_noise,
)

ALL = "all"


@dataclass(frozen=True)
class EvaluationSet:
    """One second of audio a clip, and what is said in it."""

    audio: Int16Array  # (clips, 16000)
    targets: NDArray[np.int64]  # (clips,), indexes into the labels
    names: tuple[str, ...]  # path below the corpus; of silence where it was cut
    split: str  # one of SPLITS, or all
    problems: tuple[Problem, ...]


def default_split(corpus: Corpus) -> str:
    """The split that tells most of a model that was trained on this corpus.

    Testing where the corpus keeps such clips, else validation. Recordings without lists and
    without speakers in their names were not split by anybody: all of them.
    """
    listed = any((corpus.root / f"{split}_list.txt").is_file() for split in SPLITS)
    if not (listed or corpus.is_test_archive or any(clip.names_speaker for clip in corpus.clips)):
        return ALL
    return "testing" if corpus.split("testing") else "validation"


def load_evaluation_set(
    folder: Path | str, labels: Sequence[str], split: str | None = None
) -> EvaluationSet:
    """Decode the clips of a split; `split` is one of SPLITS, all, or None for the telling one.

    The official test archive is taken as it is. Elsewhere the clips are balanced as Google's test
    archive is: all clips of the keywords, as many of other words as a keyword has on average, and
    as many of silence, cut from the last fifth of each noise recording (training takes the rest).
    Where no keyword is there, all other words are taken. A class that the labels lack is left out;
    one that the folder cannot fill stays empty.

    Raises DataError where the folder holds no recordings, or the split no clip that can be read.
    """
    corpus = find_corpus(corpus_root(Path(folder)))
    split = split or default_split(corpus)
    candidates = list(corpus.clips) if split == ALL else corpus.split(split)
    keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    if corpus.is_test_archive:
        chosen = candidates
    else:
        chosen = balanced(candidates, keywords, seed=0)
        chosen += [clip for clip in candidates if label_of(clip.word, keywords) == SILENCE]
    chosen = [clip for clip in chosen if label_of(clip.word, keywords) in labels]
    audio, used, problems = read_clips(chosen)
    if problems and not used:
        raise DataError(f"none of {len(problems)} clips could be used, first {problems[0]}")
    if not used:
        has = ", ".join(f"{s} {len(corpus.split(s))}" for s in SPLITS)
        raise DataError(
            f"{corpus.root} has no clip for the split {split} (clips: {has}, {ALL} "
            f"{len(corpus.clips)}); choose another, or name some in {split}_list.txt"
        )
    targets = [labels.index(label_of(clip.word, keywords)) for clip in used]
    names = [clip.path.relative_to(corpus.root).as_posix() for clip in used]
    if SILENCE in labels and labels.index(SILENCE) not in targets and corpus.noise:
        silence, bad = _silence(corpus, len(used) // len(set(targets)))
        problems += bad
        audio = np.concatenate((audio, silence))
        targets += [labels.index(SILENCE)] * len(silence)
        names += [f"{SILENCE} {index}" for index in range(len(silence))]
    return EvaluationSet(audio, np.array(targets), tuple(names), split, tuple(problems))


def _silence(corpus: Corpus, count: int) -> tuple[Int16Array, list[Problem]]:
    noise, _, problems = read_recordings(corpus.noise)
    held_out = [split_noise(recording)[1] for recording in noise]
    return cut_silence(held_out, count, np.random.default_rng(0)), problems
