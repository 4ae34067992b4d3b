"""The recordings that a training run draws from, decoded once into memory.

`DIR` is either a folder in the layout of Speech Commands, or a folder that holds one as
`speech_commands` and, beside it, any of `noise/<class>/`, `other_words/<word>/` and
`speech/librispeech/`. What the project reports on is held out here: speakers of the validation
and testing splits, the words and noise classes named below, and all of `speech/orders`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.config import KEYWORDS, SILENCE
from kws.errors import DataError
from kws.evaluation.evalset import load_evaluation_set
from kws.recordings.data import (
    BACKGROUND_NOISE,
    CLIP_SAMPLES,
    Int16Array,
    Problem,
    corpus_root,
    find_corpus,
    find_recordings,
    fit_length,
    label_of,
    read_clips,
    read_recordings,
    split_noise,
)
from kws.train.tones import bursts, strikes, tones

HELD_OUT_WORDS = ("cat", "marvin")  # of Speech Commands
HELD_OUT_PHRASES = ("jarvis", "view_glass")  # of other_words
HELD_OUT_NOISE = ("clock_tick", "rain", "rooster")  # of noise
MADE = {"tones": (tones, 300), "bursts": (bursts, 300), "strikes": (strikes, 600)}  # noises
OTHER = "_other_"  # the folder of synthesised speech that is no command
SYNTHESISED, SPOKEN = "synthesised words", "words of running speech"  # sources

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """Decoded audio for training and for the validation after each epoch.

    `words` maps each word to its clips (n, 16000), int16. `speech` and `noise` are recordings of
    any length by source; those of `speech` hold no isolated command. Single words that are no
    commands, whichever they are, are the words of their source. `validation` is (audio, label
    indexes).
    """

    words: dict[str, Int16Array]
    speech: dict[str, list[Int16Array]]
    noise: dict[str, list[Int16Array]]
    validation: tuple[Int16Array, NDArray[np.int64]]
    sources: tuple[str, ...]
    problems: tuple[Problem, ...] = field(repr=False)


def load_material(
    folder: Path, labels: tuple[str, ...], synthetic: Path | None, others: Path | None = None
) -> Material:
    """Decode everything a run needs; raises DataError where words or noise are missing.

    `synthetic` is a folder that `python -m kws.train.synthesize` has written: its commands join
    the words, and runs of several words are speech. `others` is one of `kws.train.spoken`.
    """
    corpus = find_corpus(corpus_root(folder))
    training = [clip for clip in corpus.split("training") if clip.word not in HELD_OUT_WORDS]
    spoken = [clip for clip in training if label_of(clip.word, labels) != SILENCE]
    audio, used, problems = read_clips(spoken)
    words: dict[str, Int16Array] = {}
    for word in sorted({clip.word for clip in used}):
        words[word] = audio[[index for index, clip in enumerate(used) if clip.word == word]]
    missing = [word for word in labels if word in KEYWORDS and word not in words]
    if missing:
        bad = [problem for problem in problems if problem.path.parent.name in missing]
        first = f"; {len(bad)} could not be used, first {bad[0]}" if bad else ""
        raise DataError(
            f"{corpus.root} has no training clips of {', '.join(missing)}; every keyword needs "
            f"some{first}"
        )
    sources = [str(corpus.root.name)]

    noise, _, bad = read_recordings(corpus.noise)
    problems += bad
    if not noise:
        raise DataError(
            f"{corpus.root} has no noise, which the class silence is cut from; put recordings of "
            f"a second or more into its folder {BACKGROUND_NOISE}"
        )
    noises = {
        BACKGROUND_NOISE: [split_noise(recording)[0] for recording in noise],
        **{
            source: list(make(count, np.random.default_rng(0)))
            for source, (make, count) in MADE.items()
        },
    }
    silence = [clip.path for clip in training if label_of(clip.word, labels) == SILENCE]
    if silence:
        noises[SILENCE], _, bad = read_recordings(silence)
        problems += bad
    speech: dict[str, list[Int16Array]] = {}
    for kind, held_out, target in (
        ("noise", HELD_OUT_NOISE, noises),
        ("other_words", HELD_OUT_PHRASES, speech),
        ("speech/librispeech", (), speech),
    ):
        if not (folder / kind).is_dir():
            logger.warning("no folder %s; training goes on without it", folder / kind)
            continue
        paths = [p for p in find_recordings(folder / kind) if p.parent.name not in held_out]
        recordings, _, bad = read_recordings(paths)
        problems += bad
        target[kind] = recordings
        sources.append(kind)
    if synthetic is not None:
        synthesised, used, bad = read_clips(find_corpus(synthetic).clips)
        problems += bad
        for word in words.keys() & set(KEYWORDS):
            own = [index for index, clip in enumerate(used) if clip.word == word]
            words[word] = np.concatenate((words[word], synthesised[own]))
        recordings, _, bad = read_recordings(find_recordings(synthetic / OTHER))
        problems += bad
        single = [each for each in recordings if len(each) <= CLIP_SAMPLES]
        if single:
            words[SYNTHESISED] = np.stack([fit_length(each) for each in single])
        speech[SYNTHESISED] = [each for each in recordings if len(each) > CLIP_SAMPLES]
        sources.append(SYNTHESISED)
    if others is not None:
        recordings, _, bad = read_recordings(find_recordings(others))
        problems += bad
        if not recordings:
            raise DataError(f"{others} holds no recordings; write some with kws.train.spoken")
        words[SPOKEN] = np.stack([fit_length(each) for each in recordings])
        sources.append(SPOKEN)

    validation = load_evaluation_set(folder, labels, "validation")
    problems += validation.problems
    for problem in problems:
        logger.warning("not used: %s", problem)
    return Material(
        words=words,
        speech={source: found for source, found in speech.items() if found},
        noise={source: found for source, found in noises.items() if found},
        validation=(validation.audio, validation.targets),
        sources=tuple(sources),
        problems=tuple(problems),
    )
