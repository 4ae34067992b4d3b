"""Sounds made from nothing that must not be taken for words: music-like tones, knocks, ticks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.recordings.data import Int16Array


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


def bursts(
    count: int, generator: np.random.Generator, seconds: float = 3.0
) -> Iterator[Int16Array]:
    """`count` recordings of short sounds with silence around them; int16, half scale.

    Each sound lasts 30 to 400 ms and is a knock (decaying noise), a chirp (decaying sweep with
    harmonics) or both: what claps, barks, crows and clicks have in common with short words.
    """
    for _ in range(count):
        mix = np.zeros(int(seconds * SAMPLE_RATE))
        position = generator.uniform(0.1, 0.6)
        while position < seconds - 0.5:
            length = generator.uniform(0.03, 0.4)
            time = np.arange(int(length * SAMPLE_RATE)) / SAMPLE_RATE
            envelope = np.minimum(1.0, time / generator.uniform(0.001, 0.05))
            envelope *= np.exp(-generator.uniform(1.0, 6.0) * time / length)
            envelope *= np.minimum(1.0, (length - time) / 0.005)
            sound = np.zeros(len(time))
            kind = generator.integers(3)
            if kind != 0:
                start, end = 2.0 ** generator.uniform(np.log2(80.0), np.log2(2500.0), 2)  # Hz
                phase = 2 * np.pi * np.cumsum(np.geomspace(start, end, len(time))) / SAMPLE_RATE
                harmonics = 1 + int(generator.integers(8))
                for harmonic in range(1, harmonics + 1):
                    if max(start, end) * harmonic < 7_500:
                        sound += np.sin(harmonic * phase) / harmonic ** generator.uniform(0.3, 1.5)
            if kind != 1:
                hiss = generator.normal(0.0, 1.0, len(time))
                smooth = int(generator.integers(1, 30))
                sound += np.convolve(hiss, np.ones(smooth) / np.sqrt(smooth), "same")
            begin = int(position * SAMPLE_RATE)
            mix[begin : begin + len(time)] = sound * envelope * generator.uniform(0.2, 1.0)
            position += length + generator.uniform(0.3, 1.0)
        yield np.round(mix / max(1e-9, np.abs(mix).max()) * 16_000).astype(np.int16)


def strikes(
    count: int, generator: np.random.Generator, seconds: float = 3.0
) -> Iterator[Int16Array]:
    """`count` recordings of something hard that is struck again and again; int16, half scale.

    Each strike is one to five impacts within a few hundredths of a second, as in the escapement of
    a clock, a key or a latch; an impact rings with the inharmonic modes of what it hits, the
    higher the shorter. One or two sounds take turns, at an even pace or not.
    """
    for _ in range(count):
        samples = int(seconds * SAMPLE_RATE)
        mix = np.zeros(samples)
        kinds = [_strike(generator) for _ in range(generator.integers(1, 3))]
        pace = 2.0 ** generator.uniform(-3.0, 0.5)  # s
        uneven = generator.uniform(0.0, 0.4) * (generator.random() < 0.5)
        position, turn = generator.uniform(0.02, 0.6), 0
        while position < seconds:
            sound = kinds[turn % len(kinds)]
            begin = int(position * SAMPLE_RATE)
            part = sound[: samples - begin]
            mix[begin : begin + len(part)] += part * generator.uniform(0.6, 1.0)
            position += pace * (1.0 + generator.uniform(-uneven, uneven))
            turn += 1
        yield np.round(mix / max(1e-9, np.abs(mix).max()) * 16_000).astype(np.int16)


def _strike(generator: np.random.Generator) -> NDArray[np.float64]:
    """One strike of `strikes`, half a second, at any level."""
    time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    pitches = 2.0 ** generator.uniform(np.log2(150.0), np.log2(7_500.0), generator.integers(2, 12))
    ring = 10.0 ** generator.uniform(-2.5, -0.9)  # s, of a mode at 1 kHz
    body = np.zeros(len(time))
    for pitch in pitches:
        decay = ring * (1_000.0 / pitch) ** generator.uniform(0.2, 1.0)
        wave = np.sin(2 * np.pi * pitch * time + generator.uniform(0.0, 6.28))
        body += generator.uniform(0.1, 1.0) * wave * np.exp(-time / decay)
    hit = generator.normal(0.0, 1.0, int(10.0 ** generator.uniform(-3.5, -2.2) * SAMPLE_RATE))
    impacts = np.zeros(len(time))
    begin = 0
    for _ in range(generator.integers(1, 6)):
        impacts[begin : begin + len(hit)] += hit * generator.uniform(0.2, 1.0)
        begin += int(generator.uniform(0.004, 0.05) * SAMPLE_RATE)
    sound: NDArray[np.float64] = np.convolve(impacts[: begin + len(hit)], body)[: len(time)]
    return sound
