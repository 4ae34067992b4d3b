"""The recordings that a training run draws from, decoded once into memory.

`DIR` is either a folder in the layout of Speech Commands, or a folder that holds one as
`speech_commands` and, beside it, any of `noise/<class>/`, `other_words/<source>/`,
`speech/<source>/` and `synthetic/<voice>/`. What the project reports on is left out, see
`kws.recordings.held_out`; so are sentences that hold a command, as far as transcripts tell.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.config import KEYWORDS, SAMPLE_RATE, SILENCE
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
from kws.recordings.held_out import is_held_out
from kws.recordings.negatives import WITHOUT_COMMANDS, sentences, sources
from kws.recordings.sentences import SpokenWord, sounds_like_command
from kws.train.mended_labels import MendedLabels
from kws.train.tones import bursts, strikes, tones

MADE = {"tones": (tones, 300), "bursts": (bursts, 300), "strikes": (strikes, 600)}  # noises
OTHER = "_other_"  # the folder of synthesised speech that is no command
SYNTHESISED, SPOKEN = "synthesised words", "words of running speech"  # sources
SINGLE = ("other_words/arabic", "other_words/dsp20")  # of one word a clip, and no command
CUT = "words of sentences"  # source
SHORTEST, LONGEST = 0.15, 0.9  # seconds of a word that is cut out of a sentence
MOST_OF_ONE = 30  # cuts of one word
MARGIN = SAMPLE_RATE * 30 // 1000  # samples kept at both ends of a cut, and faded

_NO_CLIPS: Int16Array = np.empty((0, CLIP_SAMPLES), np.int16)

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
    untranscribed: frozenset[str] = frozenset()  # sources of speech that may hold commands
    mended: str = ""  # digest of the table of mended labels; "" where there is none


def load_material(
    folder: Path,
    labels: tuple[str, ...],
    synthetic: Path | None,
    others: Path | None = None,
    mended: MendedLabels | None = None,
) -> Material:
    """Decode everything a run needs; raises DataError where words or noise are missing.

    `synthetic` is a folder that `python -m kws.train.synthesize` has written, and is used beside
    those below `DIR/synthetic`: their commands join the words, and runs of several words are
    speech. `others` is one of `kws.train.spoken`. Labels of Speech Commands' training clips are
    those of `mended`, where it names them. Where a folder is missing, a warning names it.
    """
    corpus = find_corpus(corpus_root(folder))
    training = corpus.split("training") if mended is None else mended.apply(corpus)
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
    used_sources = [str(corpus.root.name)]

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
    untranscribed = set()
    for kind in ("noise", "other_words", "speech", "synthetic"):
        if not (folder / kind).is_dir():
            logger.warning("no folder %s; training goes on without it", folder / kind)
    for name, place in sources(folder):
        kind, _, source = name.partition("/")
        if kind == "speech" and name not in WITHOUT_COMMANDS:
            recordings, cuts, is_known, bad = _read_speech(place)
            words[CUT] = np.concatenate((words.get(CUT, _NO_CLIPS), cuts))
            speech[name] = recordings
            if not is_known:
                untranscribed.add(name)
        else:
            paths = [path for path in find_recordings(place) if not is_held_out(path)]
            recordings, _, bad = read_recordings(paths)
            if name in SINGLE and recordings:
                words[source] = np.stack([fit_length(each) for each in recordings])
            elif kind == "noise":
                noises.setdefault(kind, []).extend(recordings)
            else:
                speech.setdefault(kind, []).extend(recordings)
        problems += bad
        if recordings:
            used_sources.append(name)
    below = folder / "synthetic"
    places = sorted(path for path in below.iterdir() if path.is_dir()) if below.is_dir() else []
    for place in [*places, *([synthetic] if synthetic is not None else [])]:
        problems += _add_synthesised(place, words, speech)
        used_sources.append(f"synthetic/{place.name}" if place in places else SYNTHESISED)
    if others is not None:
        recordings, _, bad = read_recordings(find_recordings(others))
        problems += bad
        if not recordings:
            raise DataError(f"{others} holds no recordings; write some with kws.train.spoken")
        words[SPOKEN] = np.stack([fit_length(each) for each in recordings])
        used_sources.append(SPOKEN)

    validation = load_evaluation_set(folder, labels, "validation")
    problems += validation.problems
    for problem in problems:
        logger.warning("not used: %s", problem)
    return Material(
        words={word: clips for word, clips in words.items() if len(clips)},
        speech={source: found for source, found in speech.items() if found},
        noise={source: found for source, found in noises.items() if found},
        validation=(validation.audio, validation.targets),
        sources=tuple(used_sources),
        problems=tuple(problems),
        untranscribed=frozenset(untranscribed),
        mended="" if mended is None else mended.digest,
    )


def _read_speech(folder: Path) -> tuple[list[Int16Array], Int16Array, bool, list[Problem]]:
    """Training's sentences without a command, words cut out of all of them, whether all of their
    texts are known, and the problems.

    The cuts are (n, 16000), each in the middle of silence.
    """
    found, problems = sentences(folder, held_out=False)
    audio, used, bad = read_recordings(each.path for each in found)
    by_path = {each.path: each for each in found}
    counted: Counter[str] = Counter()
    running, cuts = [], []
    for recording, path in zip(audio, used, strict=True):
        sentence = by_path[path]
        if not sentence.holds():
            running.append(recording)
        for word in sentence.words:
            seconds = word.end - word.start
            if sounds_like_command(word.word) or not SHORTEST <= seconds <= LONGEST:
                continue
            counted[word.word] += 1
            if counted[word.word] <= MOST_OF_ONE:
                cuts.append(cut_word(recording, word))
    is_known = all(each.text is not None for each in found)
    return running, np.stack(cuts) if cuts else _NO_CLIPS, is_known, problems + bad


def cut_word(recording: Int16Array, word: SpokenWord) -> Int16Array:
    """A word of a recording in the middle of one second of silence, its ends faded."""
    first, last = round(word.start * SAMPLE_RATE), round(word.end * SAMPLE_RATE)
    piece = recording[max(0, first - MARGIN) : last + MARGIN].astype(np.float32)
    ramp = np.minimum(1.0, np.arange(len(piece), dtype=np.float32) / MARGIN)
    return fit_length((piece * ramp * ramp[::-1]).astype(np.int16))


def _add_synthesised(
    folder: Path, words: dict[str, Int16Array], speech: dict[str, list[Int16Array]]
) -> list[Problem]:
    """Add what machines have spoken to words and speech; returns what could not be used."""
    audio, used, problems = read_clips(find_corpus(folder).clips)
    for word in words.keys() & set(KEYWORDS):
        own = [index for index, clip in enumerate(used) if clip.word == word]
        words[word] = np.concatenate((words[word], audio[own]))
    if not (folder / OTHER).is_dir():
        return problems
    recordings, _, bad = read_recordings(find_recordings(folder / OTHER))
    single = [fit_length(each) for each in recordings if len(each) <= CLIP_SAMPLES]
    if single:
        words[SYNTHESISED] = np.concatenate((words.get(SYNTHESISED, _NO_CLIPS), np.stack(single)))
    running = [each for each in recordings if len(each) > CLIP_SAMPLES]
    if running:
        speech.setdefault(SYNTHESISED, []).extend(running)
    return problems + bad
