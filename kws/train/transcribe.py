"""What recordings without transcripts say, written by a recogniser, so that commands are found.

`python -m kws.train.transcribe DIR/speech/librispeech` lets PocketSphinx (`pip install
pocketsphinx`) recognise each recording, and writes `transcripts.tsv` and `words.tsv` into the
cache folder, where `kws.recordings.sentences` looks for what a folder of recordings lacks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from kws.errors import DataError, KwsError, writing
from kws.recordings.data import Int16Array, find_recordings, read_recordings
from kws.recordings.sentences import (
    TRANSCRIPTS,
    WORDS,
    cached_transcripts,
)
from kws.train.spoken import FRAMES_PER_SECOND, Finder, Segment

_finder: Finder  # of a worker


def transcribe(folder: Path, out: Path, jobs: int = 1) -> int:
    """Write the tables for every recording directly below a folder; returns how many there are.

    In so many processes.

    Raises DataError where there are no recordings or PocketSphinx is missing.
    """
    recordings, paths, _ = read_recordings(find_recordings(folder))
    if not recordings:
        raise DataError(f"{folder} holds no recordings that can be read")
    Finder()  # what is missing is told here, not by a worker
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start_worker) as pool:
        said = list(pool.map(_find, recordings))
    texts, words = ["file\tspeaker\ttext"], ["file\tword\tstart\tend\tspeaker\tage\tgender"]
    for found, path in zip(said, paths, strict=True):
        texts.append(f"{path.name}\t\t{' '.join(each.word for each in found)}")
        for word, first, last in found:
            start, end = first / FRAMES_PER_SECOND, (last + 1) / FRAMES_PER_SECOND
            words.append(f"{path.name}\t{word}\t{start:.2f}\t{end:.2f}\t\t\t")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / WORDS).write_text("\n".join(words) + "\n", encoding="utf-8")
        (out / TRANSCRIPTS).write_text("\n".join(texts) + "\n", encoding="utf-8")
    return len(paths)


def _start_worker() -> None:
    global _finder
    _finder = Finder()


def _find(audio: Int16Array) -> list[Segment]:
    return _finder.find(audio)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kws.train.transcribe", description=__doc__)
    parser.add_argument("folder", type=Path, help="recordings without transcripts.tsv")
    parser.add_argument("--out", type=Path, help="default: the cache folder of kws")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="processes (default: one per core)"
    )
    options = parser.parse_args(arguments)
    out = options.out or cached_transcripts(options.folder)
    try:
        count = transcribe(options.folder, out, options.jobs)
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    print(f"{count} recordings transcribed in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
