"""The speech gate: shut in silence, open on speech and for the hangover after it."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kws import vad
from kws.config import KEYWORDS, VadConfig
from kws.errors import BackendUnavailable
from kws.recordings.data import find_corpus, read_recording
from kws.vad import SpeechGate

FRAME = 320


class Scripted:
    """Stands for webrtcvad: a frame is speech where its first sample is not zero."""

    def __init__(self, aggressiveness: int) -> None:
        self.aggressiveness = aggressiveness

    def is_speech(self, frame: bytes, rate: int) -> bool:
        assert (640, 16_000) == (len(frame), rate)
        return frame[:2] != b"\0\0"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the script decide what speech is."""

    class Module:
        Vad = Scripted

    monkeypatch.setattr(vad.importlib, "import_module", lambda name: Module)


def run(gate: SpeechGate, speech: str) -> str:
    """Feed a frame per character, "s" for speech; "o" where the gate is open after it."""
    frames = [np.full(FRAME, character == "s", np.int16) for character in speech]
    return "".join("o" if gate.is_open(frame) else "." for frame in frames)


@pytest.mark.usefixtures("scripted")
def test_hangover() -> None:
    """The gate stays open as long after the last speech frame as configured, and no longer."""
    gate = SpeechGate(VadConfig(hangover_ms=60))
    assert "..oooo....oooooo.." == run(gate, "--s-------s-s-----")


@pytest.mark.usefixtures("scripted")
def test_no_hangover() -> None:
    """Without a hangover the gate is open on speech frames alone."""
    assert ".o.oo." == run(SpeechGate(VadConfig(hangover_ms=0)), "-s-ss-")


@pytest.mark.usefixtures("scripted")
def test_reset() -> None:
    """After a reset the gate is shut."""
    gate = SpeechGate(VadConfig(hangover_ms=200))
    assert "oo" == run(gate, "s-")
    gate.reset()
    assert "..." == run(gate, "---")


def test_silence() -> None:
    """Digital silence and a faint hum never open the gate."""
    gate = SpeechGate(VadConfig(aggressiveness=3))
    hum = np.round(3 * np.sin(2 * np.pi * 50 * np.arange(FRAME) / 16_000)).astype(np.int16)
    assert not any(gate.is_open(np.zeros(FRAME, np.int16)) for _ in range(200))
    assert not any(gate.is_open(hum) for _ in range(200))


def test_frame_lengths(noise: NDArray[np.int16]) -> None:
    """All three frame lengths of webrtcvad work."""
    for frame_ms in (10, 20, 30):
        gate = SpeechGate(VadConfig(frame_ms=frame_ms))
        assert isinstance(gate.is_open(noise[: 16 * frame_ms]), bool)


def test_spoken_words_open_it(recordings: Path) -> None:
    """Nine in ten real clips of keywords open the gate even at its strictest."""
    clips = [clip for clip in find_corpus(recordings).clips if clip.word in KEYWORDS][::200]
    gate = SpeechGate(replace(VadConfig(), aggressiveness=3))
    opened = 0
    for clip in clips:
        gate.reset()
        audio = read_recording(clip.path)
        opened += any(
            gate.is_open(audio[start : start + FRAME])
            for start in range(0, len(audio) - FRAME + 1, FRAME)
        )
    assert len(clips) > 20
    assert opened >= 0.9 * len(clips)


def test_webrtcvad_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original package on a new setuptools fails; the message names the one that works."""

    def broken(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'pkg_resources'")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(BackendUnavailable, match=r"pkg_resources.*pip install webrtcvad-wheels"):
        SpeechGate()
