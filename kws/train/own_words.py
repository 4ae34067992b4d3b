"""Somebody's own recordings, ten to a hundred of each word, made into material for training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE, SILENCE, UNKNOWN
from kws.errors import DataError
from kws.recordings.data import (
    CLIP_SAMPLES,
    TEST_ARCHIVE_FOLDERS,
    Clip,
    Corpus,
    Int16Array,
    Problem,
    corpus_root,
    cut_silence,
    find_corpus,
    find_recordings,
    label_of,
    read_clips,
    read_recordings,
    split_noise,
    word_folders,
)
from kws.recordings.files import spelling_key
from kws.train.materials import Material
from kws.train.tones import tones

FEWEST = 5  # recordings of a word
HELD_OUT = 0.2  # share of each word's recordings that is kept to measure on

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnWords:
    """What to train on and measure on, and how much of it there is."""

    material: Material
    labels: tuple[str, ...]  # the words, silence, unknown
    clips: dict[str, tuple[int, int]]  # by word: to train on, to measure on


def load_own_words(
    folder: Path,
    words: Sequence[str] | None = None,
    speech: Path | None = None,
    noise: Path | None = None,
) -> OwnWords:
    """Decode a folder with one folder of 16 kHz mono recordings per word.

    The words are all folders, or those named; what else is there teaches unknown, as do
    `_unknown_` and `speech` (recordings of any length in which none of the words is spoken).
    Silence comes from `_background_noise_`, `_silence_` and `noise`; without any of them it is made
    up. Speakers named as in Speech Commands stay on one side of what is measured on.

    Raises DataError for a word with fewer than FEWEST recordings that can be read, or one that has
    the name of a class.
    """
    corpus = find_corpus(corpus_root(folder))
    wanted = _wanted(corpus, words)
    labels = (*wanted, SILENCE, UNKNOWN)
    spoken = [clip for clip in corpus.clips if label_of(clip.word) != SILENCE]
    audio, used, problems = read_clips(spoken)
    _require_enough(corpus.root, wanted, used, problems)
    held_out = _held_out(corpus, used)
    training: dict[str, list[int]] = {}
    measured: dict[str, list[int]] = {}
    for index, clip in enumerate(used):
        side = measured if clip in held_out else training
        side.setdefault(clip.word, []).append(index)
    noises, bad = _noises(corpus, noise)
    problems += bad
    running: list[Int16Array] = []
    if speech is not None:
        recordings, _, bad = read_recordings(find_recordings(speech))
        running = [recording for recording in recordings if len(recording) > SAMPLE_RATE // 5]
        problems += bad
    if not running and training.keys() <= set(labels):
        logger.warning(
            "nothing but the words was given, so the model cannot learn other speech; "
            "name recordings without the words with --speech DIR for fewer false alarms"
        )
    for problem in problems:
        logger.warning("not used: %s", problem)
    given = {"own recordings": folder, "own speech": speech, "own noise": noise}
    material = Material(
        words={word: audio[rows] for word, rows in sorted(training.items())},
        speech={"speech": running} if running else {},
        noise={
            "noise": [split_noise(recording)[0] for recording in noises],
            "tones": list(tones(20, np.random.default_rng(0))),
        },
        validation=_validation(audio, measured, labels, noises),
        sources=tuple(source for source, place in given.items() if place is not None),
        problems=tuple(problems),
    )
    counts = {
        word: (len(training.get(word, ())), len(measured.get(word, ()))) for word in labels[:-2]
    }
    return OwnWords(material, labels, counts)


def _wanted(corpus: Corpus, words: Sequence[str] | None) -> list[str]:
    """The words to learn, as `Clip` spells them; raises DataError for a name that cannot be one."""
    folders = word_folders(corpus.root).keys() - {*TEST_ARCHIVE_FOLDERS}
    by_key = {spelling_key(word): word for word in folders}
    for word in words or ():
        if spelling_key(word) not in by_key:
            raise DataError(
                f"{corpus.root} has no folder {word}; it has {', '.join(sorted(folders))}"
            )
    wanted = sorted(folders) if words is None else [by_key[spelling_key(word)] for word in words]
    for word in wanted:
        if word.casefold() in (SILENCE, UNKNOWN):
            raise DataError(
                f"{corpus.root / word} has the name of a class that every model has; "
                f"call it _{word.casefold()}_ if that is what it holds, or rename the word"
            )
    if not wanted:
        raise DataError(f"{corpus.root} has no folder of a word to learn")
    return wanted


def _require_enough(
    root: Path, wanted: Sequence[str], used: Sequence[Clip], problems: Sequence[Problem]
) -> None:
    for word in wanted:
        count = sum(clip.word == word for clip in used)
        if count < FEWEST:
            folders = word_folders(root)[word]
            bad = [each for each in problems if any(f in each.path.parents for f in folders)]
            first = f"; {len(bad)} could not be used, first {bad[0]}" if bad else ""
            raise DataError(
                f"expected at least {FEWEST} recordings of each word, better 20 by several people, "
                f"got {count} in {root / word}{first}"
            )


def _held_out(corpus: Corpus, clips: Sequence[Clip]) -> set[Clip]:
    """The validation list's clips where there is one, else a fifth of each word's.

    Where names tell the speakers, all of some speakers' clips, unless that leaves a word with less
    than half of its own.
    """
    if (corpus.root / "validation_list.txt").is_file():
        return {clip for clip in clips if clip.split == "validation"}
    by_word: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: _hash(clip.speaker)):
        by_word.setdefault(clip.word, []).append(clip)
    first = {clip for own in by_word.values() for clip in own[: round(len(own) * HELD_OUT)]}
    if not any(clip.names_speaker for clip in clips):
        return first
    # In the order of a hash the same speakers come first for every word.
    speakers = {clip.speaker for clip in first}
    chosen = {clip for clip in clips if clip.speaker in speakers}
    if all(2 * len(chosen.intersection(own)) <= len(own) for own in by_word.values()):
        return chosen
    logger.warning("too few speakers to keep some apart: measuring on speakers that are learned")
    return first


def _hash(text: str) -> bytes:
    return hashlib.sha1(text.encode(errors="surrogateescape"), usedforsecurity=False).digest()


def _noises(corpus: Corpus, folder: Path | None) -> tuple[list[Int16Array], list[Problem]]:
    """Recordings of a second or more; made-up ones where there are none."""
    paths = list(corpus.noise) + [c.path for c in corpus.clips if label_of(c.word) == SILENCE]
    if folder is not None:
        paths += find_recordings(folder)
    recordings, _, problems = read_recordings(paths)
    # Of a recording, four fifths are trained on and one is measured on: both need a second.
    found = [recording for recording in recordings if len(recording) >= CLIP_SAMPLES]
    found = [np.tile(r, -(-5 * CLIP_SAMPLES // len(r))) for r in found]
    return found or [_coloured(slope) for slope in (0.0, 0.5, 1.0)], problems


def _coloured(slope: float) -> Int16Array:
    """Ten seconds of Gaussian noise whose power falls with frequency to the power of 2 slope."""
    samples = 10 * CLIP_SAMPLES
    white = np.fft.rfft(np.random.default_rng(0).normal(size=samples))
    shaped = np.fft.irfft(white / np.maximum(np.arange(len(white)), 10.0) ** slope, samples)
    scaled = np.round(shaped * (3000.0 / shaped.std())).clip(-32768, 32767)
    noise: Int16Array = scaled.astype(np.int16)
    return noise


def _validation(
    audio: Int16Array,
    measured: dict[str, list[int]],
    labels: tuple[str, ...],
    noises: list[Int16Array],
) -> tuple[Int16Array, NDArray[np.int64]]:
    """The held-out clips, and as many of silence as there are of a word on average."""
    rows = [row for found in measured.values() for row in found]
    names = [word if word in labels else UNKNOWN for word, found in measured.items() for _ in found]
    count = round(sum(name != UNKNOWN for name in names) / (len(labels) - 2))
    silence = cut_silence([split_noise(n)[1] for n in noises], count, np.random.default_rng(0))
    targets = [labels.index(name) for name in (*names, *[SILENCE] * count)]
    return np.concatenate((audio[rows], silence)), np.array(targets, np.int64)
