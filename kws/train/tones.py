"""Music-like sound made from nothing: chords, beeps and sweeps that must not be taken for words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kws.config import SAMPLE_RATE
from kws.data import Int16Array


def tones(count: int, generator: np.random.Generator, seconds: float = 3.0) -> Iterator[Int16Array]:
    """`count` recordings of random notes with harmonics, vibrato and a beat; int16, half scale."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    for _ in range(count):
        mix = np.zeros(len(time))
        beat = generator.uniform(0.15, 1.0)  # s
        decay = generator.uniform(1.0, 20.0)  # 1/s
        envelope = np.exp(-decay * (time % beat)) * np.minimum(1.0, (time % beat) / 0.01)
        for _ in range(generator.integers(1, 6)):
            pitch = 55.0 * 2.0 ** (generator.integers(0, 60) / 12.0)  # Hz
            sweep = pitch * 2.0 ** (generator.normal(0.0, 0.2) * time * (generator.random() < 0.2))
            vibrato = 1.0 + 0.01 * generator.random() * np.sin(2 * np.pi * 5.0 * time)
            phase = 2 * np.pi * np.cumsum(sweep * vibrato) / SAMPLE_RATE
            fall = generator.uniform(0.5, 2.5)
            for harmonic in range(1, generator.integers(2, 12)):
                if pitch * harmonic < 7_000:
                    mix += np.sin(harmonic * phase + generator.uniform(0, 6.28)) / harmonic**fall
        steady = generator.random() * 0.5
        mix *= steady + (1.0 - steady) * envelope
        yield np.round(mix / max(1e-9, np.abs(mix).max()) * 16_000).astype(np.int16)
