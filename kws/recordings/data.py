"""Recordings in the layout of Speech Commands: found, split by speaker, read, and never guessed at.

The layout (Warden, arXiv 1804.03209) is one folder per word, clips of about one second named
`<speaker>_nohash_<n>`, and a folder `_background_noise_`. `validation_list.txt` and
`testing_list.txt` name the clips of those splits; where neither file exists, the speaker's hash
decides as in Google's own code. The official test archive has no lists but folders `_silence_` and
`_unknown_`: all of it is the testing split.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from kws.config import KEYWORDS, SAMPLE_RATE, SILENCE, UNKNOWN
from kws.errors import DataError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus"})
BACKGROUND_NOISE = "_background_noise_"
TEST_ARCHIVE_FOLDERS = ("_silence_", "_unknown_")
SPLITS = ("training", "validation", "testing")
CLIP_SAMPLES = SAMPLE_RATE  # one second
_CONVERT = "which `kws data convert` makes of it"

Int16Array = NDArray[np.int16]


@dataclass(frozen=True)
class Clip:
    """One recording of one word."""

    path: Path
    word: str  # the folder's name
    speaker: str  # the part of the file name before `_nohash_`
    split: str  # one of SPLITS

    @property
    def names_speaker(self) -> bool:
        """Whether the file's name tells who speaks; else every name stands for somebody else."""
        return "_nohash_" in self.path.name


@dataclass(frozen=True)
class Problem:
    """A file that was not used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Corpus:
    """The clips under one folder, and its noise recordings."""

    root: Path
    clips: tuple[Clip, ...]
    noise: tuple[Path, ...]

    @property
    def is_test_archive(self) -> bool:
        """Whether this is laid out as the official test archive, which is one split."""
        return any((self.root / folder).is_dir() for folder in TEST_ARCHIVE_FOLDERS)

    def split(self, name: str) -> list[Clip]:
        """The clips of one split, in a fixed order."""
        if name not in SPLITS:
            raise ValueError(f"the splits are {', '.join(SPLITS)}, not {name!r}")
        return [clip for clip in self.clips if clip.split == name]


def corpus_root(folder: Path) -> Path:
    """The folder in Speech Commands layout that a data folder is, or holds beside others."""
    inner = folder / "speech_commands"
    return inner if inner.is_dir() else folder


def label_of(word: str, keywords: Sequence[str] = KEYWORDS) -> str:
    """The class of a folder's name: a keyword, silence, or unknown for every other word."""
    if word in keywords:
        return word
    return SILENCE if word in (SILENCE, "_silence_") else UNKNOWN


def balanced(clips: Sequence[Clip], keywords: Sequence[str], seed: int) -> list[Clip]:
    """Every keyword clip, and as many unknown clips as a keyword that is there has on average.

    The unknown clips are drawn evenly over the words, so that rare words count; without any keyword
    all of them are taken. Clips of the class silence are left out.
    """
    spoken = [clip for clip in clips if clip.word in keywords]
    others: dict[str, list[Clip]] = {}
    for clip in clips:
        if label_of(clip.word, keywords) == UNKNOWN:
            others.setdefault(clip.word, []).append(clip)
    generator = np.random.default_rng(seed)
    for word in others:
        generator.shuffle(others[word])
    if spoken:
        wanted = round(len(spoken) / len({clip.word for clip in spoken}))
    else:
        wanted = sum(map(len, others.values()))
    chosen: list[Clip] = []
    while len(chosen) < wanted and others:
        for word in sorted(others):
            if len(chosen) < wanted:
                chosen.append(others[word].pop())
            if not others[word]:
                del others[word]
    return spoken + chosen


def speaker_split(speaker: str, validation: float = 10.0, testing: float = 10.0) -> str:
    """The split of a speaker by hash, as Google's `which_set` does it.

    `validation` and `testing` are percentages. A speaker's clips all fall into one split, and
    adding clips moves none of the others.
    """
    largest = 2**27 - 1
    digest = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16)
    percentage = (digest % (largest + 1)) * (100.0 / largest)
    if percentage < validation:
        return "validation"
    return "testing" if percentage < validation + testing else "training"


def find_recordings(folder: Path) -> list[Path]:
    """Every audio file below a folder, sorted; raises DataError where there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name one that holds recordings")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _listed(root: Path, name: str) -> set[str] | None:
    path = root / name
    if not path.is_file():
        return None
    # The lists of the official archive say .wav; a re-encoded copy has the same stems.
    lines = path.read_text(encoding="utf-8").split("\n")
    return {line.strip().rpartition(".")[0] or line.strip() for line in lines if line.strip()}


def find_corpus(root: Path | str) -> Corpus:
    """Read the layout below `root`; no audio is opened.

    Raises DataError where the folder is missing or holds no folder of recordings.
    """
    root = Path(root)
    if root.is_file():
        raise DataError(f"{root} is a file; unpack it and name the folder")
    if not root.is_dir():
        raise DataError(
            f"there is no folder {root}; name the folder that holds one folder per word"
        )
    validation, testing = (_listed(root, f"{s}_list.txt") for s in ("validation", "testing"))
    is_test_archive = any((root / folder).is_dir() for folder in TEST_ARCHIVE_FOLDERS)

    def split_of(key: str, speaker: str) -> str:
        if validation is None and testing is None:
            return "testing" if is_test_archive else speaker_split(speaker)
        if validation and key in validation:
            return "validation"
        return "testing" if testing and key in testing else "training"

    clips = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        if folder.name == BACKGROUND_NOISE or folder.name.startswith("."):
            continue
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                speaker = re.sub(r"_nohash_.*$", "", path.stem)
                split = split_of(f"{folder.name}/{path.stem}", speaker)
                clips.append(Clip(path, folder.name, speaker, split))
    if not clips:
        raise DataError(
            f"{root} holds no recordings in the layout <word>/<clip>.wav "
            f"(or {', '.join(sorted(SUFFIXES - {'.wav'}))})"
        )
    noise_folder = root / BACKGROUND_NOISE
    noise = find_recordings(noise_folder) if noise_folder.is_dir() else []
    return Corpus(root, tuple(clips), tuple(noise))


def read_recording(path: Path) -> Int16Array:
    """A mono 16 kHz file of any length as int16; raises DataError with the reason otherwise."""
    try:
        audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise DataError(f"cannot be read as audio ({error})") from error
    if rate != SAMPLE_RATE:
        raise DataError(f"is at {rate} Hz; expected {SAMPLE_RATE} Hz, {_CONVERT}")
    if audio.shape[1] != 1:
        raise DataError(f"has {audio.shape[1]} channels; expected one, {_CONVERT}")
    if len(audio) == 0:
        raise DataError("is empty")
    mono: Int16Array = np.ascontiguousarray(audio[:, 0])
    return mono


def fit_length(audio: Int16Array, samples: int = CLIP_SAMPLES) -> Int16Array:
    """The loudest stretch of a longer recording; a shorter one with zeros on both sides."""
    if len(audio) <= samples:
        before = (samples - len(audio)) // 2
        return np.pad(audio, (before, samples - len(audio) - before))
    power = np.concatenate(([0], np.cumsum(audio.astype(np.int64) ** 2)))
    energy = power[samples:] - power[:-samples]
    # Every stretch that holds the whole word is about as loud; the middle one has it in its middle.
    loudest = np.flatnonzero(energy >= 0.98 * energy.max())
    start = int(loudest[len(loudest) // 2])
    return audio[start : start + samples]


def read_recordings(paths: Iterable[Path]) -> tuple[list[Int16Array], list[Path], list[Problem]]:
    """Decode files in parallel: the audio, the paths it came from, and what could not be used."""

    def attempt(path: Path) -> Int16Array | Problem:
        try:
            return read_recording(path)
        except DataError as error:
            return Problem(path, str(error))

    audio, used, problems = [], [], []
    paths = list(paths)
    with ThreadPoolExecutor() as pool:
        for path, outcome in zip(paths, pool.map(attempt, paths), strict=True):
            if isinstance(outcome, Problem):
                problems.append(outcome)
            else:
                audio.append(outcome)
                used.append(path)
    return audio, used, problems


def read_clips(clips: Sequence[Clip]) -> tuple[Int16Array, list[Clip], list[Problem]]:
    """Decode clips to one second each: audio (clips, 16000), the clips used, and the problems."""
    audio, used, problems = read_recordings(clip.path for clip in clips)
    by_path = {clip.path: clip for clip in clips}
    block = np.empty((len(audio), CLIP_SAMPLES), np.int16)
    for row, samples in zip(block, audio, strict=True):
        row[:] = fit_length(samples)
    return block, [by_path[path] for path in used], problems


def split_noise(recording: Int16Array) -> tuple[Int16Array, Int16Array]:
    """A noise recording's part to train on and, the last fifth, its part to measure on."""
    cut = len(recording) * 4 // 5
    return recording[:cut], recording[cut:]


def cut_silence(
    noise: Sequence[Int16Array], count: int, generator: np.random.Generator
) -> Int16Array:
    """One-second clips of the class silence, shape (count, 16000).

    Each is cut from a random place of a random recording at a gain drawn evenly between 0 and 1;
    every tenth is digital silence, which is what a muted microphone delivers. Raises DataError
    where no recording lasts a second.
    """
    long_enough = [recording for recording in noise if len(recording) >= CLIP_SAMPLES]
    if not long_enough:
        raise DataError(
            "the class silence is cut from noise recordings of at least one second, and none was "
            f"given; put some into {BACKGROUND_NOISE} beside the word folders"
        )
    clips = np.zeros((count, CLIP_SAMPLES), np.int16)
    for index in range(count):
        if index % 10 == 9:
            continue
        recording = long_enough[generator.integers(len(long_enough))]
        start = generator.integers(len(recording) - CLIP_SAMPLES + 1)
        clips[index] = recording[start : start + CLIP_SAMPLES] * generator.random()
    return clips
