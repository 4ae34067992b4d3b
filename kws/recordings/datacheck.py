"""What is wrong with a folder of recordings, found before a training run does."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kws.config import SAMPLE_RATE, SILENCE, UNKNOWN
from kws.recordings.data import (
    SPLITS,
    TEST_ARCHIVE_FOLDERS,
    Clip,
    Corpus,
    Int16Array,
    fit_length,
    label_of,
    read_recordings,
    word_folders,
)
from kws.recordings.mislabelled import find_mislabelled, sketch
from kws.recordings.mix import level

KINDS = {
    "empty": "a folder without recordings is a class that cannot be learned",
    "few": "too few recordings to learn a word from",
    "reserved": "the name of a class that every model has",
    "unusable": "cannot be read, or not 16 kHz mono",
    "silent": "no sound",
    "clipped": "recorded too loud",
    "cut off": "the word runs into an end of the clip, or the clip is very short",
    "duplicate": "the same samples as another clip",
    "mislabelled": "sounds like another word",
}
_FEW = 5  # recordings of a word
_SILENT_DBFS = -60.0
_CLIPPED = 0.002  # share of samples at full scale
_SHORT = SAMPLE_RATE * 3 // 10  # samples
_EDGE_DB = 8.0  # an end this close to the loudest 20 ms is not an end of the word
_CONTRAST_DB = 20.0  # loudest over quietest 20 ms, below which there is no telling
_AT_ONCE = 1024  # clips in memory


@dataclass(frozen=True)
class Finding:
    """One clip that somebody should listen to, or one folder to look into."""

    kind: str  # one of KINDS
    path: Path
    detail: str


@dataclass(frozen=True)
class Split:
    """How much one split holds; speakers as far as file names tell them."""

    clips: int
    speakers: int
    words: int


@dataclass(frozen=True)
class DataReport:
    """What was found."""

    clips: int
    findings: tuple[Finding, ...]
    splits: dict[str, Split]
    shared_speakers: dict[str, tuple[str, ...]]  # speaker -> the splits they are in, if several

    def of(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]


def check_data(
    corpus: Corpus, advance: Callable[[int, int], None] = lambda done, total: None
) -> DataReport:
    """Read every clip of a corpus and list what looks wrong.

    `advance` is told how many clips of how many were read.
    """
    findings = list(_look_through(corpus))
    seen: dict[bytes, Path] = {}
    sketches, spoken = [], []
    by_path = {clip.path: clip for clip in corpus.clips}
    for start in range(0, len(corpus.clips), _AT_ONCE):
        batch = corpus.clips[start : start + _AT_ONCE]
        recordings, used, problems = read_recordings(clip.path for clip in batch)
        findings += [Finding("unusable", problem.path, problem.reason) for problem in problems]
        for path, audio in zip(used, recordings, strict=True):
            clip = by_path[path]
            first = seen.setdefault(
                hashlib.sha1(audio.tobytes(), usedforsecurity=False).digest(), path
            )
            if first != path and audio.any():
                findings.append(Finding("duplicate", path, f"of {first}"))
            if label_of(clip.word) == SILENCE:
                continue
            found = _listen(clip, audio)
            findings += found
            if not any(finding.kind == "silent" for finding in found):
                sketches.append(sketch(fit_length(audio)))
                spoken.append(clip)
        advance(start + len(batch), len(corpus.clips))
    if spoken:
        words, speakers = [c.word for c in spoken], [c.speaker for c in spoken]
        for index, word, margin in find_mislabelled(np.stack(sketches), words, speakers):
            text = f"{spoken[index].word} that sounds like {word} (margin {margin:.2f})"
            findings.append(Finding("mislabelled", spoken[index].path, text))
    splits = {name: corpus.split(name) for name in SPLITS}
    return DataReport(
        clips=len(corpus.clips),
        findings=tuple(findings),
        splits={name: _count(clips) for name, clips in splits.items() if clips},
        shared_speakers=_shared(splits),
    )


def _look_through(corpus: Corpus) -> Iterator[Finding]:
    """What is wrong with the folders, whatever their recordings hold."""
    counts = Counter(clip.word for clip in corpus.clips)
    for word, folders in sorted(word_folders(corpus.root).items()):
        folder = folders[0]
        if not counts[word]:
            yield Finding("empty", folder, "holds no recordings")
        elif counts[word] < _FEW and word not in TEST_ARCHIVE_FOLDERS:
            yield Finding("few", folder, f"holds {counts[word]}; expected at least {_FEW}")
        if word.casefold() in (SILENCE, UNKNOWN):
            text = f"is read as the class {word.casefold()}; rename it if it is a word"
            yield Finding("reserved", folder, text)


def _listen(clip: Clip, audio: Int16Array) -> list[Finding]:
    if len(audio) < _SHORT:
        return [Finding("cut off", clip.path, f"lasts {len(audio) / SAMPLE_RATE:.2f} s")]
    decibel = _decibel(level(audio) / 32768.0)
    if decibel < _SILENT_DBFS:
        return [Finding("silent", clip.path, f"at {decibel:.0f} dBFS")]
    findings = []
    full = float(np.mean(np.abs(audio.astype(np.int32)) >= 32_700))
    if full > _CLIPPED:
        text = f"{100 * full:.1f} % of the samples at full scale"
        findings.append(Finding("clipped", clip.path, text))
    size = SAMPLE_RATE // 50
    blocks = audio[: len(audio) // size * size].reshape(-1, size).astype(np.float64)
    rms = np.sqrt(np.mean(blocks * blocks, axis=1)) + 1.0
    if _decibel(rms.max() / rms.min()) >= _CONTRAST_DB:
        ends = {"start": rms[0], "end": rms[-1]}
        cut = [name for name, end in ends.items() if _decibel(rms.max() / end) < _EDGE_DB]
        if cut:
            findings.append(Finding("cut off", clip.path, f"loud at its {' and '.join(cut)}"))
    return findings


def _decibel(ratio: float) -> float:
    return 20.0 * float(np.log10(max(ratio, 1e-9)))


def _count(clips: list[Clip]) -> Split:
    speakers = {clip.speaker for clip in clips if clip.names_speaker}
    return Split(len(clips), len(speakers), len({clip.word for clip in clips}))


def _shared(splits: dict[str, list[Clip]]) -> dict[str, tuple[str, ...]]:
    places: dict[str, set[str]] = {}
    for name, clips in splits.items():
        for clip in filter(lambda clip: clip.names_speaker, clips):
            places.setdefault(clip.speaker, set()).add(name)
    return {
        speaker: tuple(sorted(found)) for speaker, found in sorted(places.items()) if len(found) > 1
    }
