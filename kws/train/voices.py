"""Programs that speak: a text in, an utterance out, by a random voice, speed and pitch."""

from __future__ import annotations

import importlib
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soxr

from kws.config import SAMPLE_RATE
from kws.errors import DataError
from kws.model.runtimes import disable_telemetry
from kws.recordings.data import Int16Array

HEADER = 44  # bytes of a WAV file written to a pipe, whose length field is not filled in


class Voices(Protocol):
    """One program and its voices."""

    def speak(self, text: str, draw: random.Random) -> Int16Array:
        """One utterance as int16 at 16 kHz, (samples,)."""


class Espeak:
    """espeak-ng: many accents and throats, none of them human."""

    ACCENTS = ("", "-us", "-gb-scotland", "-gb-x-rp", "-029", "-gb-x-gbclan", "-gb-x-gbcwmd")
    THROATS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5")

    def __init__(self) -> None:
        self._program = _find("espeak-ng")

    def speak(self, text: str, draw: random.Random) -> Int16Array:
        """See Voices."""
        voice = f"en{draw.choice(self.ACCENTS)}+{draw.choice(self.THROATS)}"
        speed, pitch = draw.randint(110, 230), draw.randint(10, 90)
        command = [self._program, "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
        return _resampled(_piped(command), 22_050.0)


class Flite:
    """flite: a few voices that were cut from recordings of people."""

    VOICES = ("awb", "kal16", "rms", "slt")

    def __init__(self) -> None:
        self._program = _find("flite")

    def speak(self, text: str, draw: random.Random) -> Int16Array:
        """See Voices."""
        stretch = f"duration_stretch={draw.uniform(0.8, 1.4):.2f}"
        command = [self._program, "-voice", draw.choice(self.VOICES), "--setf", stretch]
        # Played faster or slower, one throat becomes a longer or shorter one.
        rate = SAMPLE_RATE * draw.uniform(0.85, 1.25)
        return _resampled(_piped([*command, "-t", text, "-o", "/dev/stdout"]), rate)


class Piper:
    """Any voice of Piper, a neural synthesiser, from the voice's ONNX file; JSON lies beside it."""

    def __init__(self, voice: Path) -> None:
        disable_telemetry()  # Piper loads ONNX Runtime by itself
        try:
            piper: Any = importlib.import_module("piper")
        except ImportError as error:
            raise DataError("Piper is not installed; pip install piper-tts") from error
        if not voice.is_file() or not voice.with_name(voice.name + ".json").is_file():
            raise DataError(f"expected a voice of Piper: {voice} and {voice.name}.json beside it")
        self._settings = piper.SynthesisConfig
        try:
            self._voice = piper.PiperVoice.load(str(voice))
        except Exception as error:  # of JSON, of ONNX Runtime and of its own
            raise DataError(f"{voice} is no voice of Piper ({error})") from error

    def speak(self, text: str, draw: random.Random) -> Int16Array:
        """See Voices; what is drawn here differs from run to run, since Piper draws too."""
        settings = self._settings(
            speaker_id=draw.randrange(self._voice.config.num_speakers),
            length_scale=draw.uniform(0.8, 1.5),
            noise_scale=draw.uniform(0.4, 1.1),
            noise_w_scale=draw.uniform(0.4, 1.1),
        )
        pieces = [each.audio_int16_array for each in self._voice.synthesize(text, settings)]
        # Played faster or slower, one throat becomes a longer or shorter one.
        rate = self._voice.config.sample_rate * draw.uniform(0.85, 1.3)
        return _resampled(np.concatenate(pieces or [np.zeros(0, np.int16)]), rate)


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise DataError(f"{program} is not installed; try `apt install {program}`")
    return found


def _piped(command: list[str]) -> Int16Array:
    done = subprocess.run(command, capture_output=True)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise DataError(f"{command[0]} failed: {reason}")
    spoken = done.stdout
    return np.frombuffer(spoken[HEADER : len(spoken) // 2 * 2], np.int16)


def _resampled(audio: Int16Array, rate: float) -> Int16Array:
    resampled: Int16Array = soxr.resample(audio, rate, SAMPLE_RATE)
    return resampled
