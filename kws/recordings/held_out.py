"""What no training run and no choice of a threshold may use: it is reported on.

One rule for everything, from names alone, so that it holds on any machine and adding recordings
moves none of the others.

* Speech Commands: the speakers of the validation and testing splits.
* `speech/orders`: all. `speech/speechocean`: a fifth of the speakers. `speech/librispeech`: a fifth
  of the files.
* `other_words`: *jarvis*, *view_glass*, of *dsp20* the words print and close, of *arabic* a fifth
  of the words.
* `noise`: *clock_tick*, *rain* and *rooster*; the last fifth of each `_background_noise_`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

WORD_FOLDERS = ("jarvis", "view_glass")  # of other_words
NOISE_FOLDERS = ("clock_tick", "rain", "rooster")
SPEECH_FOLDERS = ("orders",)
DSP20_WORDS = ("print", "close")
FOLDS = 5  # one in so many, by hash


def in_held_out_fifth(source: str, name: str) -> bool:
    """Whether a speaker, word or file of a source, such as "arabic", falls into the held-out fifth.

    By the SHA-1 of source, a space and name, modulo 5.
    """
    digest = hashlib.sha1(f"{source} {name}".encode(), usedforsecurity=False).hexdigest()
    return int(digest, 16) % FOLDS == 0


def word_of(path: Path) -> str:
    """The word of a clip in `other_words/dsp20` or `other_words/arabic`, from its file's name."""
    return path.stem.split("_")[0]


def speaker_of(path: Path) -> str:
    """The speaker of a recording in `speech/speechocean`, from its file's name."""
    return path.stem.split("_")[0]


def is_held_out(path: Path) -> bool:
    """Whether a recording below `noise`, `other_words`, `speech` or `synthetic` is held out.

    Goes by the two folders that it lies in, such as `noise/rain`; what lies elsewhere is not.
    Speech Commands has its own lists, see `kws.recordings.data`.
    """
    source, kind = path.parent.name, path.parent.parent.name
    if kind == "noise":
        return source in NOISE_FOLDERS
    if kind == "speech":
        if source == "speechocean":
            return in_held_out_fifth(source, speaker_of(path))
        if source == "librispeech":
            return in_held_out_fifth(source, path.stem)
        return source in SPEECH_FOLDERS
    if kind == "other_words":
        if source == "dsp20":
            return word_of(path) in DSP20_WORDS
        if source == "arabic":
            return in_held_out_fifth(source, word_of(path))
        return source in WORD_FOLDERS
    return False
