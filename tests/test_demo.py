"""The demonstration recording: small, of our own making, and recognised by the shipped model."""

from __future__ import annotations

import json

import numpy as np

from kws import Detector
from kws.audio import AudioFile
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
