"""What accuracy is measured on: speakers, words, noises, rooms and devices never trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.devices import LOUD_DB, QUIET_DB, over_telephone, with_gain
from benchmarks.simulated_rooms import in_room, simulate
from kws.evaluation.evalset import EvaluationSet, load_evaluation_set
from kws.evaluation.evaluate import add_noise_to_all
from kws.recordings.data import (
    CLIP_SAMPLES,
    Int16Array,
    find_recordings,
    fit_length,
    read_recordings,
)
from kws.recordings.held_out import NOISE_FOLDERS
from kws.recordings.negatives import negatives

ROOMS = 40
SNRS_DB = (20.0, 10.0, 5.0, 0.0)
STEP = 1600  # samples between the seconds of a longer recording


def conditions(
    labels: Sequence[str], data: Path, snrs_db: Sequence[float] = SNRS_DB
) -> Iterator[tuple[str, EvaluationSet]]:
    """The validation clips: as they are, in held-out noise, in simulated rooms, through devices."""
    clean = load_evaluation_set(data, labels, "validation")
    yield "clean", clean
    noise, _, _ = read_recordings(
        path for kind in NOISE_FOLDERS for path in find_recordings(data / "noise" / kind)
    )
    for snr_db in snrs_db:
        noisy = add_noise_to_all(clean, labels, noise, snr_db)
        yield f"{snr_db:g} dB", replace(clean, audio=noisy)
    rooms = simulate(ROOMS, seed=0)
    chosen = np.random.default_rng(0).integers(len(rooms), size=len(clean.audio))
    rooms_audio = [
        in_room(clip, rooms[room]) for clip, room in zip(clean.audio, chosen, strict=True)
    ]
    yield "rooms", replace(clean, audio=np.stack(rooms_audio))
    yield "telephone", replace(clean, audio=over_telephone(clean.audio))
    yield "quiet", replace(clean, audio=with_gain(clean.audio, QUIET_DB))
    yield "clipped", replace(clean, audio=with_gain(clean.audio, LOUD_DB))


def unseen_words(data: Path) -> Iterator[tuple[str, list[Int16Array]]]:
    """Recordings of the words and phrases that training leaves out, by their source."""
    for name, paths in negatives(data, held_out=True).items():
        if name.startswith("other_words/"):
            yield name.removeprefix("other_words/"), read_recordings(paths)[0]


def seconds_of(recordings: Sequence[Int16Array]) -> tuple[Int16Array, NDArray[np.int64]]:
    """The seconds of all recordings, (n, 16000), and the index of the recording of each, (n,)."""
    seconds, owners = [np.empty((0, CLIP_SAMPLES), np.int16)], []
    for owner, recording in enumerate(recordings):
        found = _seconds(recording)
        seconds.append(np.stack(found))
        owners += [owner] * len(found)
    return np.concatenate(seconds), np.array(owners, np.int64)


def _seconds(recording: Int16Array) -> list[Int16Array]:
    """Every second of a recording, STEP apart, the last one included; a short one as one clip."""
    if len(recording) <= CLIP_SAMPLES:
        return [fit_length(recording)]
    last = len(recording) - CLIP_SAMPLES
    return [recording[start : start + CLIP_SAMPLES] for start in (*range(0, last, STEP), last)]
