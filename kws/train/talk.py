"""What goes on behind a word: people talking, several at once, a television with music.

The level of a bed of talk is that of the whole recording it was cut from, so that pauses stay
pauses. Where it is louder than the word by FOREGROUND_DB the talk is the foreground and the word
no command; where both are about equally loud nobody can say which counts, and the row has no loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kws.recordings.data import Int16Array
from kws.train import augment

FOREGROUND_DB = 3.0  # what one voice must be louder by to be the foreground
SECOND_VOICE, SECOND_DB = 0.3, (-12.0, 0.0)  # share of beds, and level beside the first voice
MUSIC, MUSIC_DB = 0.25, (-15.0, 3.0)  # the same of notes
ELSEWHERE = 0.35  # share of beds in a room of their own


class Talk:
    """Draws beds of talk from recordings of speech and, for television, of notes; as one seed."""

    def __init__(self, speech: dict[str, list[Int16Array]], music: Sequence[Int16Array]) -> None:
        running = [each for name, found in speech.items() if _runs(name) for each in found]
        self._speech = running or [each for found in speech.values() for each in found]
        self._music = list(music)
        self._levels = np.array([loudness(each) for each in self._speech])
        self._music_levels = np.array([loudness(each) for each in self._music])
        seconds = np.array([len(each) for each in self._speech], float)
        self._share = np.cumsum(seconds / max(1.0, seconds.sum()))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._speech)

    def draw(
        self,
        count: int,
        samples: int,
        draw: np.random.Generator,
        generator: torch.Generator,
        narrow: float,
    ) -> Tensor:
        """Beds (count, samples) of loudness 1, on the generator's device.

        `narrow` is as in `augment.apply_room`.
        """
        beds = np.zeros((count, samples), np.float32)
        for row in range(count):
            beds[row] = self._voice(samples, draw)
            if draw.random() < SECOND_VOICE:
                beds[row] += _amplitude(draw.uniform(*SECOND_DB)) * self._voice(samples, draw)
            if self._music and draw.random() < MUSIC:
                number = int(draw.integers(len(self._music)))
                notes = _piece(self._music[number], samples, draw) / self._music_levels[number]
                beds[row] += _amplitude(draw.uniform(*MUSIC_DB)) * notes
        found = torch.from_numpy(beds).to(generator.device)
        elsewhere = torch.rand(count, generator=generator, device=generator.device) < ELSEWHERE
        if elsewhere.any():
            found[elsewhere] = augment.apply_room(found[elsewhere], narrow, generator)
        return found

    def _voice(self, samples: int, draw: np.random.Generator) -> NDArray[np.float32]:
        """One voice, recordings one after the other, each by its length as likely."""
        window = np.zeros(samples, np.float32)
        at = 0
        while at < samples:
            number = min(int(np.searchsorted(self._share, draw.random())), len(self._speech) - 1)
            recording = self._speech[number]
            begin = int(draw.integers(max(1, len(recording) - 1600))) if at == 0 else 0
            part = recording[begin : begin + samples - at]
            window[at : at + len(part)] = part / self._levels[number]
            at += len(part)
        return window


def _runs(name: str) -> bool:
    """Whether a source of speech is sentences rather than single phrases."""
    return name.startswith("speech")


def _piece(recording: Int16Array, samples: int, draw: np.random.Generator) -> NDArray[np.float32]:
    begin = int(draw.integers(max(1, len(recording) - samples)))
    part = recording[begin : begin + samples]
    return np.pad(part, (0, samples - len(part))).astype(np.float32)


def _amplitude(decibel: float) -> float:
    amplitude: float = 10.0 ** (decibel / 20.0)
    return amplitude


def loudness(audio: Int16Array) -> float:
    """Level of a recording's loud parts: root mean square of its 10 ms blocks within 20 dB of the
    loudest."""
    padded = np.pad(audio, (0, -len(audio) % 160)).astype(np.float32)
    blocks = np.sqrt(np.mean(padded.reshape(-1, 160) ** 2, axis=1))
    loud = blocks[blocks >= 0.1 * blocks.max()]
    return max(1.0, float(np.sqrt(np.mean(loud**2))))
