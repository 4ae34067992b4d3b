"""Make the demonstration recording again: `python -m kws.demo.make` (needs espeak-ng).

Every voice is espeak-ng's and every noise is computed here, so that nobody else's recording is in
the package. What is spoken when goes into commands.json; nothing about detections does.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.demo import RECORDING, SPOKEN
from kws.errors import AudioError, KwsError

FloatArray = NDArray[np.float32]

SPEECH_LEVEL = 0.08  # root mean square of a word, full scale 1
NOISE_LEVEL = 0.004  # of the room: about 26 dB below the words
GAP = 1.0  # seconds between words
SEED = 1


@dataclass(frozen=True)
class Line:
    """One word and how espeak-ng says it."""

    word: str
    voice: str
    speed: int  # words per minute
    pitch: int  # 0 to 99


@dataclass(frozen=True)
class Spoken:
    """One word and where it lies in the recording."""

    word: str
    start: float  # seconds
    end: float


SCRIPT = (
    Line("yes", "en-us+Andrea", 150, 45),
    Line("no", "en-gb", 110, 60),
    Line("computer", "en-us+m3", 130, 45),
    Line("up", "en-us+m3", 150, 60),
    Line("down", "en-us+belinda", 150, 45),
    Line("window", "en-gb", 130, 60),
    Line("left", "en-gb", 110, 60),
    Line("right", "en-us+m3", 150, 45),
    Line("elephant", "en-us+Andrea", 130, 45),
    Line("on", "en-gb", 150, 60),
    Line("off", "en-gb", 130, 60),
    Line("stop", "en-us+Michael", 130, 45),
    Line("telephone", "en-us+Michael", 130, 45),
    Line("go", "en-gb", 150, 60),
)


def speak(line: Line) -> FloatArray:
    """The word at SPEECH_LEVEL, (samples,) at 16 kHz, silence around it cut off."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise AudioError("espeak-ng is not installed; apt-get install espeak-ng, or the like")
    command = [program, "--stdout", "-v", line.voice, "-s", str(line.speed), "-p", str(line.pitch)]
    made = subprocess.run([*command, line.word], check=True, capture_output=True)
    audio, rate = soundfile.read(io.BytesIO(made.stdout), dtype="float32")
    audio = soxr.resample(audio, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(audio) > 0.01 * np.abs(audio).max())
    word: FloatArray = audio[loud[0] : loud[-1] + 1]
    return word * np.float32(SPEECH_LEVEL / np.sqrt(np.mean(word**2)))


def room(samples: int, generator: np.random.Generator) -> FloatArray:
    """A quiet room, (samples,): noise that falls 3 dB per octave, and the hum of the mains."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(hertz, 50.0)), samples)
    noise /= np.sqrt(np.mean(noise**2))
    hum = 0.3 * np.sin(2 * np.pi * 100.0 * np.arange(samples) / SAMPLE_RATE)
    return (NOISE_LEVEL * (noise + hum)).astype(np.float32)


def compose(script: tuple[Line, ...] = SCRIPT) -> tuple[FloatArray, list[Spoken]]:
    """The whole recording, (samples,) float32 at 16 kHz, and what is spoken in it."""
    parts, spoken = [], []
    silence = np.zeros(round(GAP * SAMPLE_RATE), np.float32)
    at = 0
    for line in script:
        word = speak(line)
        parts += [silence, word]
        start, at = at + len(silence), at + len(silence) + len(word)
        spoken.append(Spoken(line.word, round(start / SAMPLE_RATE, 3), round(at / SAMPLE_RATE, 3)))
    audio = np.concatenate([*parts, silence])
    return audio + room(len(audio), np.random.default_rng(SEED)), spoken


def main() -> int:
    """Write the recording and its labels; returns the exit code."""
    try:
        audio, spoken = compose()
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
