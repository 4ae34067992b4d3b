"""Simulated rooms: shoebox impulse responses by the image source method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyroomacoustics
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.recordings.data import Int16Array
from kws.recordings.mix import level


@dataclass(frozen=True)
class Room:
    """One talker and one microphone in a room."""

    response: NDArray[np.float64]  # from the direct sound on
    t60: float  # s, measured on the response
    distance: float  # m


def simulate(count: int, seed: int, t60: tuple[float, float] = (0.2, 0.6)) -> list[Room]:
    """Rooms of 2.5 to 7 m, with reverberation times over the range and talkers 0.5 to 4 m away.

    Sabine's formula gives walls whose simulated response decays more slowly than requested, so the
    walls are corrected once by what was measured, and a room that is still outside the range is
    drawn again.
    """
    generator = np.random.default_rng(seed)
    rooms: list[Room] = []
    while len(rooms) < count:
        size = generator.uniform([3.0, 2.5, 2.3], [7.0, 5.0, 3.0])
        wanted = t60[0] + (t60[1] - t60[0]) * (len(rooms) + 0.5) / count
        talker = generator.uniform([0.4, 0.4, 1.0], size - [0.4, 0.4, 0.5])
        microphone = generator.uniform([0.2, 0.2, 0.5], size - [0.2, 0.2, 0.5])
        distance = float(np.linalg.norm(talker - microphone))
        if not 0.5 <= distance <= 4.0:
            continue
        try:
            first = _respond(size, talker, microphone, wanted)
            room = _respond(size, talker, microphone, wanted**2 / _decay(first))
        except ValueError:  # no wall absorbs enough for so short a time in so large a room
            continue
        if t60[0] <= _decay(room) <= t60[1]:
            direct = round(distance / pyroomacoustics.constants.get("c") * SAMPLE_RATE)
            delay = pyroomacoustics.constants.get("frac_delay_length") // 2
            rooms.append(Room(room[max(0, direct + delay - 16) :], _decay(room), distance))
    return rooms


def in_room(clip: Int16Array, room: Room) -> Int16Array:
    """The clip as the room's microphone gets it, as loud and as early as it was; same length."""
    size = 1 << (len(clip) + len(room.response) - 1).bit_length()
    spectrum = np.fft.rfft(clip.astype(np.float64), size) * np.fft.rfft(room.response, size)
    reverberant = np.fft.irfft(spectrum, size)[: len(clip)]
    loud = reverberant * (level(clip) / max(level(reverberant), 1e-9))
    clipped: Int16Array = np.clip(np.round(loud), -32768, 32767).astype(np.int16)
    return clipped


def _respond(
    size: NDArray[np.float64],
    talker: NDArray[np.float64],
    microphone: NDArray[np.float64],
    t60: float,
) -> NDArray[np.float64]:
    absorption, order = pyroomacoustics.inverse_sabine(t60, size)
    walls = pyroomacoustics.Material(absorption)
    room = pyroomacoustics.ShoeBox(size, fs=SAMPLE_RATE, materials=walls, max_order=order)
    room.add_source(talker)
    room.add_microphone(microphone)
    room.compute_rir()
    response: NDArray[np.float64] = np.asarray(room.rir[0][0], np.float64)
    return response


def _decay(response: NDArray[np.float64]) -> float:
    return float(pyroomacoustics.experimental.measure_rt60(response, SAMPLE_RATE))
