"""Simulated devices: a telephone line, a quiet microphone, one that clips."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr

from kws.config import SAMPLE_RATE
from kws.recordings.data import Int16Array

LINE_RATE = 8000  # Hz
QUIET_DB, LOUD_DB = -30.0, 20.0


def over_telephone(clips: Int16Array) -> Int16Array:
    """Clips (n, samples) sent over a line of 8 kHz and 8 bits, mu-law (ITU-T G.711), and back."""
    sent = soxr.resample(clips.T.astype(np.float32) / 32768.0, SAMPLE_RATE, LINE_RATE)
    line = io.BytesIO()
    soundfile.write(line, sent.T.ravel(), LINE_RATE, format="WAV", subtype="ULAW")
    line.seek(0)
    received, _ = soundfile.read(line, dtype="float32")
    received_clips = soxr.resample(received.reshape(len(clips), -1).T, LINE_RATE, SAMPLE_RATE).T
    return _converted(received_clips * 32768.0)


def with_gain(clips: Int16Array, gain_db: float) -> Int16Array:
    """Clips as a converter of 16 bits delivers them at another gain, clipped at full scale."""
    return _converted(clips * 10.0 ** (gain_db / 20.0))


def _converted(audio: np.ndarray) -> Int16Array:
    converted: Int16Array = np.clip(np.rint(audio), -32768, 32767).astype(np.int16)
    return converted
