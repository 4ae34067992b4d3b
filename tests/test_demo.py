"""The demonstration recording: small, of our own making, and recognised by the shipped model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from kws import AudioFile, Detector
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING, SPOKEN

SLACK = 1.0  # seconds after the end of a word in which its detection may come


def test_it_is_small() -> None:
    """It travels in every wheel."""
    assert RECORDING.stat().st_size < 150_000


def test_labels_lie_inside() -> None:
    """What is spoken comes in order, without overlap, and where the recording is loud."""
    with AudioFile(RECORDING) as recording:
        audio = np.concatenate(list(recording)).astype(np.float64)
    before = 0.0
    for entry in json.loads(SPOKEN.read_text(encoding="utf-8")):
        assert before < entry["start"] < entry["end"] <= len(audio) / SAMPLE_RATE
        word = audio[round(entry["start"] * SAMPLE_RATE) : round(entry["end"] * SAMPLE_RATE)]
        pause = audio[round(before * SAMPLE_RATE) : round(entry["start"] * SAMPLE_RATE)]
        assert word.std() > 5 * pause.std()
        before = entry["end"]


def test_the_shipped_model_detects_the_commands() -> None:
    """Nearly all commands are spotted once, with the right word, and nothing else fires."""
    spoken = json.loads(SPOKEN.read_text(encoding="utf-8"))
    with Detector() as detector, AudioFile(RECORDING) as recording:
        keywords = detector.model.manifest.keywords
        detections = list(detector.listen(recording))
    detected = []
    for detection in detections:
        matching = [
            entry["word"]
            for entry in spoken
            if entry["start"] < detection.end < entry["end"] + SLACK
        ]
        assert matching[-1:] == [detection.keyword]
        detected.append(detection.keyword)
    commands = [entry["word"] for entry in spoken if entry["word"] in keywords]
    assert len(commands) == 10
    assert len(set(detected)) == len(detected) >= 8


def test_floats_and_silence_change_nothing() -> None:
    """The same keywords come of floats, without the gate, and after a minute of silence."""
    with AudioFile(RECORDING) as recording:
        audio = np.concatenate(list(recording))
    expected = list(Detector().listen([audio]))
    assert expected == list(Detector().listen([audio / np.float32(32768)]))
    ungated = Detector(vad=False).listen([audio])
    assert [each.keyword for each in expected] == [each.keyword for each in ungated]
    after = Detector().listen([np.zeros(60 * SAMPLE_RATE, np.int16), audio])
    assert [(each.keyword, round(each.end + 60.0, 3)) for each in expected] == [
        (each.keyword, round(each.end, 3)) for each in after
    ]


def noises() -> dict[str, NDArray[np.int16]]:
    """Twenty seconds each of what is no word."""
    generator = np.random.default_rng(0)
    time = np.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    white = generator.normal(0, 1, len(time))
    pitches = (220.0, 277.2, 329.6)
    chord = np.sum([np.sin(2 * np.pi * pitch * time) for pitch in pitches], axis=0)
    clicks = np.where(generator.random(len(time)) < 2e-4, 20_000.0, 0.0)
    sounds = {
        "faint noise": 20 * white,
        "loud noise": 3_000 * white,
        "music": 2_000 * chord * (1 + np.sin(2 * np.pi * 2 * time)),
        "clicks": clicks,
        "hum": 5_000 * np.sin(2 * np.pi * 50 * time),
    }
    return {name: np.round(sound).astype(np.int16) for name, sound in sounds.items()}


@pytest.mark.parametrize("name", noises())
def test_noise_is_no_word(name: str) -> None:
    """Noise, quiet and loud, tones and clicks fire nothing."""
    assert [] == list(Detector().listen([noises()[name]]))
