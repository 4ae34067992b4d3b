"""Make the demonstration recording again: `python docs/tools/demonstration.py` (needs espeak-ng).

Every voice is espeak-ng's and every noise is computed here, so that nobody else's recording is in
the package. Each command gets the voice in which the default model knows it best, for microphones
detect the words too; so this is to be run again after a new model. What is spoken when goes into
commands.json; no detection does.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kws import Detector
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING, SPOKEN
from kws.errors import AudioError, KwsError

FloatArray = NDArray[np.float32]

SPEECH_LEVEL = 0.08  # root mean square of a word, full scale 1
NOISE_LEVEL = 0.004  # of the room: about 26 dB below the words
GAP = 1.0  # seconds between words
SEED = 1


WORDS = (
    *("yes", "no", "computer", "up", "down", "window", "left", "right", "elephant", "on", "off"),
    *("stop", "telephone", "go"),
)


@dataclass(frozen=True)
class Voice:
    """How espeak-ng pronounces a word."""

    name: str
    speed: int  # words per minute
    pitch: int  # 0 to 99


VOICES = tuple(
    Voice(name, speed, pitch)
    for name in (
        "en-us",
        "en-gb",
        *(f"en-us+{v}" for v in ("m3", "belinda", "Andrea", "john", "Michael", "rob", "ed")),
    )
    for speed in (110, 130, 150, 170)
    for pitch in (45, 60)
)


@dataclass(frozen=True)
class Spoken:
    """One word, where it lies in the recording, and who says it."""

    word: str
    start: float  # seconds
    end: float
    voice: Voice


def speak(word: str, voice: Voice) -> FloatArray:
    """The word at SPEECH_LEVEL, (samples,) at 16 kHz, silence around it cut off."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise AudioError("espeak-ng is not installed; apt-get install espeak-ng, or the like")
    manner = ["-v", voice.name, "-s", str(voice.speed), "-p", str(voice.pitch)]
    made = subprocess.run([program, "--stdout", *manner, word], check=True, capture_output=True)
    audio, rate = soundfile.read(io.BytesIO(made.stdout), dtype="float32")
    audio = soxr.resample(audio, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(audio) > 0.01 * np.abs(audio).max())
    spoken: FloatArray = audio[loud[0] : loud[-1] + 1]
    return spoken * np.float32(SPEECH_LEVEL / np.sqrt(np.mean(spoken**2)))


def room(samples: int, generator: np.random.Generator) -> FloatArray:
    """A quiet room, (samples,): noise that falls 3 dB per octave, and the hum of the mains."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 50.0)), samples)
    noise /= np.sqrt(np.mean(noise**2))
    hum = 0.3 * np.sin(2 * np.pi * 100.0 * np.arange(samples) / SAMPLE_RATE)
    return (NOISE_LEVEL * (noise + hum)).astype(np.float32)


def compose(script: Sequence[tuple[str, Voice]]) -> tuple[FloatArray, list[Spoken]]:
    """The words with pauses between them, (samples,) float32 at 16 kHz, and what is spoken when."""
    parts, spoken = [], []
    silence = np.zeros(round(GAP * SAMPLE_RATE), np.float32)
    at = 0
    for word, voice in script:
        audio = speak(word, voice)
        parts += [silence, audio]
        start, at = at + len(silence), at + len(silence) + len(audio)
        seconds = round(start / SAMPLE_RATE, 3), round(at / SAMPLE_RATE, 3)
        spoken.append(Spoken(word, *seconds, voice))
    audio = np.concatenate([*parts, silence])
    return audio + room(len(audio), np.random.default_rng(SEED)), spoken


def best_voice(word: str, detectors: Sequence[Sequence[Detector]], eager: Detector) -> Voice:
    """The voice in which the word, said after another one, reaches the highest score.

    Only what all detectors of the first group detect counts, by their lowest score, and where they
    detect it in no voice, what those of the next group do. A word that is no keyword takes the
    first voice in which nothing fires, not even in the eager one; the first of all where there is
    no such voice.
    """
    audio = {voice: compose([("computer", VOICES[0]), (word, voice)])[0] for voice in VOICES}
    if word not in eager.model.manifest.keywords:
        quiet = (voice for voice in VOICES if not list(eager.listen([audio[voice]])))
        return next(quiet, VOICES[0])
    for group in detectors:
        scores = {}
        for voice in VOICES:
            found = [list(detector.listen([audio[voice]])) for detector in group]
            if all([each.keyword for each in one] == [word] for one in found):
                scores[voice] = min(one[0].score for one in found)
        if scores:
            return max(scores, key=lambda voice: scores[voice])
    return VOICES[0]


def main() -> int:
    """Write the recording and its labels; returns the exit code."""
    try:
        # With the verifier and without: not everybody has it.
        both = [
            [Detector(sensitivity=sensitivity, verify=verify) for verify in (True, False)]
            for sensitivity in ("low", "medium")
        ]
        groups, eager = [*both, [Detector()]], Detector(sensitivity="high")
        script = [(word, best_voice(word, groups, eager)) for word in WORDS]
        audio, spoken = compose(script)
    except (KwsError, subprocess.CalledProcessError) as error:
        print(f"kws: error: {error}", file=sys.stderr)
        return 1
    # Ogg Opus, about 24 kbit/s: a third of FLAC's size, and it keeps the words where they are.
    soundfile.write(
        RECORDING, audio, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=0.93
    )
    lines = ",\n  ".join(json.dumps(asdict(entry)) for entry in spoken)
    SPOKEN.write_text(f"[\n  {lines}\n]\n", encoding="utf-8")
    print(f"{RECORDING}: {len(audio) / SAMPLE_RATE:.1f} s, {RECORDING.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
