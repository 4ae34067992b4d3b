"""`python -m benchmarks.product.endurance`: a day of audio through one detector, at full speed.

Ten minutes of words, speech, noise and silence are repeated until so many hours are over. A
detector that leaks grows; one whose clock or state drifts gives other detections, or the same ones
elsewhere, in a later repetition than in the second."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import keep, program
from kws import Detection, Detector
from kws.config import SAMPLE_RATE
from kws.errors import DataError
from kws.recordings.data import (
    Int16Array,
    corpus_root,
    find_corpus,
    find_recordings,
    read_clips,
    read_recordings,
)
from kws.recordings.mix import add_noise

PIECE = 20 * SAMPLE_RATE  # samples of each kind, in turn
MINUTES = 10  # of what is repeated
QUIET_END = 10 * SAMPLE_RATE  # digital silence, so that each repetition begins alike
BLOCK = SAMPLE_RATE * 80 // 1000  # as a microphone delivers
EVERY = 6  # repetitions for each row: an hour


@dataclass
class Hour:
    """What an hour of audio was like."""

    detections: int = 0
    other_repetitions: int = 0  # with other detections than the second repetition
    memory_bytes: int = 0  # resident, at the end


def audio_to_repeat(data: Path, seed: int) -> Int16Array:
    """Words in noise, speech, noise and silence in turn; raises DataError where one is missing."""
    generator = np.random.default_rng(seed)
    corpus = find_corpus(corpus_root(data))
    clips = corpus.split("validation")
    chosen = [clips[index] for index in generator.permutation(len(clips))[: 10 * MINUTES]]
    words, _, _ = read_clips(chosen)
    speech = _some(data / "speech" / "orders", generator)
    noise = _some(data / "noise", generator)
    parts: list[Int16Array] = []
    while sum(map(len, parts)) < MINUTES * 60 * SAMPLE_RATE - QUIET_END - PIECE:
        turn = len(parts) % 4
        if turn == 0:
            rows = generator.integers(len(words), size=10)
            spoken = np.concatenate([np.pad(words[row], (0, SAMPLE_RATE)) for row in rows])
            parts.append(add_noise(spoken, _cut(noise, generator), 15.0))
        elif turn == 3:
            parts.append(generator.normal(0, 10, PIECE).astype(np.int16))  # a quiet room
        else:
            parts.append(_cut(speech if turn == 1 else noise, generator))
    rest = MINUTES * 60 * SAMPLE_RATE - sum(map(len, parts))
    return np.concatenate([*parts, np.zeros(rest, np.int16)])


def _some(folder: Path, generator: np.random.Generator) -> Int16Array:
    """About ten minutes of a folder's recordings, joined."""
    paths = find_recordings(folder)
    recordings, _, _ = read_recordings(paths[i] for i in generator.permutation(len(paths))[:60])
    joined = np.concatenate([np.zeros(0, np.int16), *recordings])
    if len(joined) < PIECE:
        raise DataError(f"expected {PIECE // SAMPLE_RATE} s of recordings in {folder}")
    return joined[: 30 * PIECE]


def _cut(audio: Int16Array, generator: np.random.Generator) -> Int16Array:
    begin = int(generator.integers(len(audio) - PIECE + 1))
    return audio[begin : begin + PIECE]


def measure(audio: Int16Array, hours: int, detector: Detector) -> dict[str, Any]:
    """Rows by hour, and how far the detections of a repetition drift from the second's."""
    repetitions = hours * EVERY
    rows: list[Hour] = []
    reference: list[Detection] = []
    drift = 0.0
    for number in range(repetitions):
        if number % EVERY == 0:
            rows.append(Hour())
        found = [
            detection
            for start in range(0, len(audio), BLOCK)
            for detection in detector.process(audio[start : start + BLOCK])
        ]
        shift = number * len(audio) / SAMPLE_RATE
        if number == 1:
            reference, reference_shift = found, shift
        if number > 1:
            if [each.keyword for each in found] == [each.keyword for each in reference]:
                moved = (
                    abs((each.end - shift) - (other.end - reference_shift))
                    for each, other in zip(found, reference, strict=True)
                )
                drift = max(drift, *moved, 0.0)
            else:
                rows[-1].other_repetitions += 1
        rows[-1].detections += len(found)
        rows[-1].memory_bytes = resident()
    return {
        "hours": hours,
        "repetitions": repetitions,
        "detections_in_each": len(reference),
        "repetitions_with_other_detections": sum(row.other_repetitions for row in rows),
        "largest_shift_of_a_detection_s": drift,
        "memory_after_first_hour_bytes": rows[0].memory_bytes,
        "memory_at_the_end_bytes": rows[-1].memory_bytes,
        "growth_bytes": rows[-1].memory_bytes - rows[0].memory_bytes,
        "by_hour": {
            f"hour {index:02d}": {
                "detections": row.detections,
                "repetitions_with_other_detections": row.other_repetitions,
                "memory_bytes": row.memory_bytes,
            }
            for index, row in enumerate(rows, start=1)
        },
    }


def resident() -> int:
    """Bytes of memory that this process holds; the most that it has held where Linux is not."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.endurance", __doc__)
    parser.add_argument("--hours", type=int, default=24, help="of audio (24)")
    parser.add_argument("--seed", type=int, default=0)
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    audio = audio_to_repeat(options.data, options.seed)
    with Detector() as detector:
        return measure(audio, options.hours, detector)


if __name__ == "__main__":
    sys.exit(main())
