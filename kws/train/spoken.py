"""Single words cut out of running speech: words that are no command, in many voices.

`python -m kws.train.spoken --speech DIR --out WORDS` lets PocketSphinx (`pip install pocketsphinx`)
find the words in recordings without transcripts, and writes each into a file of its own. A word
that it mistakes for another is still no command, as long as it is not mistaken *from* a command;
words that sound like one, and those whose beginning or end does, are left out. Read with
`python -m kws.train --words WORDS`.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from kws.config import KEYWORDS, SAMPLE_RATE
from kws.errors import DataError, KwsError, writing
from kws.recordings.data import CLIP_SAMPLES, Int16Array, find_recordings, read_recordings
from kws.recordings.held_out import DSP20_WORDS, WORD_FOLDERS
from kws.train.pronunciations import (
    Dictionary,
    Phones,
    begins_or_ends_like,
    read_dictionary,
    ways_to_say,
)

FRAMES_PER_SECOND = 100  # of PocketSphinx
SHORTEST, LONGEST = 0.2, 0.9  # seconds; shorter ones are half swallowed
MARGIN = SAMPLE_RATE * 30 // 1000  # samples kept at both ends, and faded
MOST_OF_ONE = 30  # pieces of one word


class Segment(NamedTuple):
    """A word that was found."""

    word: str
    first: int  # frame
    last: int  # frame


def avoided(dictionary: Dictionary) -> frozenset[Phones]:
    """Pronunciations of the commands, and the words that training holds out."""
    held_out = [word for word in (*WORD_FOLDERS, *DSP20_WORDS) if word in dictionary]
    return ways_to_say([*KEYWORDS, *held_out], dictionary)


def cut(
    audio: Int16Array, segments: Sequence[Segment], dictionary: Dictionary
) -> Iterator[tuple[str, Int16Array]]:
    """The words of a recording that are no command, each in the middle of one second of silence."""
    commands = avoided(dictionary)
    for word, first, last in segments:
        seconds = (last + 1 - first) / FRAMES_PER_SECOND
        unfit = word not in dictionary or begins_or_ends_like(word, commands, dictionary)
        if unfit or not SHORTEST <= seconds <= LONGEST:
            continue
        hop = SAMPLE_RATE // FRAMES_PER_SECOND
        piece = audio[max(0, first * hop - MARGIN) : (last + 1) * hop + MARGIN].astype(np.float32)
        ramp = np.minimum(1.0, np.arange(len(piece), dtype=np.float32) / MARGIN)
        clip = np.zeros(CLIP_SAMPLES, np.int16)
        start = (CLIP_SAMPLES - len(piece)) // 2
        clip[start : start + len(piece)] = piece * ramp * ramp[::-1]
        yield word, clip


class Finder:
    """Finds the words in recordings; raises DataError where PocketSphinx is not installed."""

    def __init__(self) -> None:
        try:
            sphinx: Any = importlib.import_module("pocketsphinx")
        except ImportError as error:
            raise DataError("PocketSphinx is not installed; pip install pocketsphinx") from error
        dictionary = sphinx.get_model_path("en-us/cmudict-en-us.dict")
        self.dictionary = read_dictionary(Path(dictionary))
        self._decoder = sphinx.Decoder(
            hmm=sphinx.get_model_path("en-us/en-us"),
            lm=sphinx.get_model_path("en-us/en-us.lm.bin"),
            dict=dictionary,
            samprate=float(SAMPLE_RATE),
            loglevel="FATAL",
        )

    def find(self, audio: Int16Array) -> list[Segment]:
        """The words of one recording in their order; what is no word, such as a breath, is not."""
        self._decoder.start_utt()
        self._decoder.process_raw(audio.tobytes(), full_utt=True)
        self._decoder.end_utt()
        return [
            Segment(re.sub(r"\(\d+\)$", "", each.word), each.start_frame, each.end_frame)
            for each in self._decoder.seg() or ()
            if each.word[0] not in "<[+"
        ]


def write_words(folder: Path, out: Path) -> int:
    """Cut the words of every recording below a folder into files below `out`; returns how many.

    Raises DataError where there are no recordings or PocketSphinx is missing.
    """
    finder = Finder()
    recordings, paths, _ = read_recordings(find_recordings(folder))
    if not recordings:
        raise DataError(f"{folder} holds no recordings that can be read")
    counted: Counter[str] = Counter()
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for audio, path in zip(recordings, paths, strict=True):
            for word, clip in cut(audio, finder.find(audio), finder.dictionary):
                counted[word] += 1
                if counted[word] <= MOST_OF_ONE:
                    name = f"{word.replace(chr(39), '')}_{path.stem}_{counted[word]:03d}.flac"
                    soundfile.write(out / name, clip, SAMPLE_RATE)
    return sum(min(count, MOST_OF_ONE) for count in counted.values())


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kws.train.spoken", description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--out", type=Path, required=True, help="folder to write FLAC files into")
    options = parser.parse_args(arguments)
    try:
        written = write_words(options.speech, options.out)
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    print(f"{written} words in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
