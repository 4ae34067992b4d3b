"""Recordings in the layout of Speech Commands: found, split by speaker, read, and never guessed at.

The layout (Warden, arXiv 1804.03209) is one folder per word, clips of about one second named
`<speaker>_nohash_<n>`, in it or in folders below it, and a folder `_background_noise_`.
`validation_list.txt` and `testing_list.txt` name the clips of those splits, each line one that is
there; where neither file exists, the speaker's hash decides as in Google's own code. The official
test archive has no lists but folders `_silence_` and `_unknown_`: all of it is the testing split.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kws.audio.sound import MOST_VALUES, open_sound
from kws.config import KEYWORDS, SAMPLE_RATE, SILENCE, UNKNOWN
from kws.errors import AudioError, DataError
from kws.recordings.files import SUFFIXES as SUFFIXES
from kws.recordings.files import Problem as Problem
from kws.recordings.files import find_recordings as find_recordings
from kws.recordings.files import (
    is_hidden,
    look_through,
    report_left_out,
    require_readable,
    spelled,
    spelling_key,
    text_of,
)

BACKGROUND_NOISE = "_background_noise_"
TEST_ARCHIVE_FOLDERS = ("_silence_", "_unknown_")
SPLITS = ("training", "validation", "testing")
CLIP_SAMPLES = SAMPLE_RATE  # one second
LONGEST_HOURS = 2  # of one recording, which is held in memory
_CONVERT = "which `kws data convert` makes of it"

Int16Array = NDArray[np.int16]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One recording of one word."""

    path: Path
    word: str  # what the name of the folder spells
    speaker: str  # the part of the file name before `_nohash_`, sub-folders before it
    split: str  # one of SPLITS

    @property
    def names_speaker(self) -> bool:
        """Whether the file's name tells who speaks; else every name stands for somebody else."""
        return "_nohash_" in self.path.name


@dataclass(frozen=True)
class Corpus:
    """The clips under one folder, and its noise recordings."""

    root: Path
    clips: tuple[Clip, ...]
    noise: tuple[Path, ...]

    @property
    def is_test_archive(self) -> bool:
        """Whether this is laid out as the official test archive, which is one split."""
        return _is_test_archive(self.root)

    def split(self, name: str) -> list[Clip]:
        """The clips of one split, in a fixed order."""
        if name not in SPLITS:
            raise ValueError(f"the splits are {', '.join(SPLITS)}, not {name!r}")
        return [clip for clip in self.clips if clip.split == name]


def _is_test_archive(root: Path) -> bool:
    return any((root / folder).is_dir() for folder in TEST_ARCHIVE_FOLDERS)


def corpus_root(folder: Path) -> Path:
    """The folder in Speech Commands layout that a data folder is, or holds beside others."""
    inner = folder / "speech_commands"
    return inner if inner.is_dir() else folder


def label_of(word: str, keywords: Sequence[str] = KEYWORDS) -> str:
    """The class of a word: a keyword in any spelling, silence, or unknown for every other word."""
    key = spelling_key(word)
    for keyword in keywords:
        if key == spelling_key(keyword):
            return keyword
    return SILENCE if key in (SILENCE, "_silence_") else UNKNOWN


def balanced(clips: Sequence[Clip], keywords: Sequence[str], seed: int) -> list[Clip]:
    """Every keyword clip, and as many unknown clips as a keyword that is there has on average.

    The unknown clips are drawn evenly over the words, so that rare words count; without any keyword
    all of them are taken. Clips of the class silence are left out.
    """
    spoken = [clip for clip in clips if label_of(clip.word, keywords) in keywords]
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
    name = speaker.encode(errors="surrogateescape")  # names of files are bytes
    digest = int(hashlib.sha1(name, usedforsecurity=False).hexdigest(), 16)
    percentage = (digest % (largest + 1)) * (100.0 / largest)
    if percentage < validation:
        return "validation"
    return "testing" if percentage < validation + testing else "training"


def word_folders(root: Path) -> dict[str, list[Path]]:
    """The folders of each word below `root`; several where names differ in case or normal form.

    A keyword is spelled as the keyword, another word as its folder; `_background_noise_`, hidden
    folders and those of macOS are none. Raises DataError where `root` cannot be read.
    """
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        raise DataError(f"{root} cannot be entered ({error.strerror or error})") from error
    by_key: dict[str, list[Path]] = {}
    for folder in folders:
        if folder.name != BACKGROUND_NOISE and not is_hidden(folder.name):
            by_key.setdefault(spelling_key(folder.name), []).append(folder)
    words: dict[str, list[Path]] = {}
    for key, found in by_key.items():
        names = [spelled(folder.name) for folder in found]
        word = key if key in (*KEYWORDS, *names) else names[0]
        words[word] = found
        if len(found) > 1:
            logger.warning("%s spell the same word and are read as one", " and ".join(names))
    return words


def _listed(root: Path, name: str) -> list[str]:
    """The lines of a split list, which say `<word>/<clip>.wav`; none where there is no list."""
    path = root / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    try:
        # Names of files are bytes, so that a list of them may be anything else too.
        lines = re.split(r"[\r\n]+", text_of(content, "surrogateescape"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16; save it as one of them") from error
    return [line.strip() for line in lines if line.strip()]


def _find_listed(
    root: Path, name: str, clips: AbstractSet[str], other: AbstractSet[str]
) -> set[str]:
    """The keys of the clips that a list names; raises DataError where a line names no clip.

    `clips` and `other` are the keys of the clips and of the noise that is there. Separators may be
    those of Windows, and of absolute paths the end counts.
    """
    lines = _listed(root, name)
    found: set[str] = set()
    missing = []
    for line in lines:
        parts = [part for part in line.replace("\\", "/").split("/") if part not in ("", ".")]
        for first in range(max(1, len(parts) - 1)):
            key = spelling_key("/".join(parts[first:]))
            # The lists of the official archive say .wav; a re-encoded copy has the same stems.
            stem = key.rpartition(".")[0] or key
            named = {key, stem} & clips
            found |= named
            if named or stem in other:
                break
        else:
            missing.append(line)
    if missing:
        raise DataError(
            f"{root / name}: {len(missing)} of its {len(lines)} lines name no clip that is there, "
            f"first {missing[0]!r}; expected lines such as yes/clip.wav. Correct the list, or "
            "delete all lists: the speakers' names decide then"
        )
    return found


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
    places: list[tuple[str, Path, Path]] = []  # word, its folder, the clip
    left_out: Counter[str] = Counter()
    for word, folders in word_folders(root).items():
        for folder in folders:
            found = look_through(folder)
            require_readable(found)
            left_out += found.left_out
            places += [(word, folder, path) for path in found.recordings]
    report_left_out(root, left_out)
    if not places:
        raise DataError(
            f"{root} holds no recordings in the layout <word>/<clip>.wav "
            f"(or {', '.join(sorted(SUFFIXES - {'.wav'}))})"
        )
    noise_folder = root / BACKGROUND_NOISE
    noise = find_recordings(noise_folder) if noise_folder.is_dir() else []
    split_of = _splits(root, [path for _, _, path in places], noise)
    clips = []
    for word, folder, path in places:
        inner = path.relative_to(folder).parent
        speaker = re.sub(r"_nohash_.*$", "", path.stem)
        if "_nohash_" not in path.name and inner != Path():
            speaker = f"{inner.as_posix()}/{speaker}"  # two sub-folders may both hold 1.wav
        clips.append(Clip(path, word, speaker, split_of(path, speaker)))
    return Corpus(root, tuple(clips), tuple(noise))


def _splits(root: Path, clips: Sequence[Path], noise: Sequence[Path]) -> Callable[[Path, str], str]:
    """What gives a clip and its speaker a split: the lists, or without any the speaker's hash."""

    def key_of(path: Path) -> str:
        return spelling_key(path.relative_to(root).with_suffix("").as_posix())

    if not any((root / f"{split}_list.txt").is_file() for split in ("validation", "testing")):
        if _is_test_archive(root):
            return lambda path, speaker: "testing"
        return lambda path, speaker: speaker_split(speaker)
    known, beside = {key_of(path) for path in clips}, {key_of(path) for path in noise}
    validation, testing = (
        _find_listed(root, f"{split}_list.txt", known, beside)
        for split in ("validation", "testing")
    )

    def split_of(path: Path, speaker: str) -> str:
        key = key_of(path)
        if key in validation:
            return "validation"
        return "testing" if key in testing else "training"

    return split_of


def read_recording(path: Path) -> Int16Array:
    """A mono 16 kHz file of up to LONGEST_HOURS as int16; raises DataError with the reason else."""
    try:
        with closing(open_sound(path)) as sound:
            if sound.rate != SAMPLE_RATE:
                raise DataError(f"is at {sound.rate} Hz; expected {SAMPLE_RATE} Hz, {_CONVERT}")
            if sound.channels != 1:
                raise DataError(f"has {sound.channels} channels; expected one, {_CONVERT}")
            blocks, left = [], LONGEST_HOURS * 3600 * SAMPLE_RATE
            while len(block := sound.read_int16(MOST_VALUES)):
                blocks.append(block[:, 0])
                left -= len(block)
                if left < 0:
                    raise DataError(f"lasts more than {LONGEST_HOURS} hours; cut it into pieces")
    except AudioError as error:
        raise DataError(str(error).removeprefix(f"{path} ")) from error
    return np.concatenate(blocks)


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
