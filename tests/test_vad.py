"""The speech gate: shut in silence, open on speech and for the hangover after it."""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kws import AudioFile, vad
from kws.config import KEYWORDS, VadConfig
from kws.demo import RECORDING, SPOKEN
from kws.errors import BackendUnavailable
from kws.recordings.data import find_corpus, read_recording
from kws.vad import PERIOD, SETTLED, SpeechGate

FRAME = 320


@pytest.fixture(scope="module")
def demonstration() -> NDArray[np.int16]:
    """The recording of `kws listen --demo`."""
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))


class Scripted:
    """Stands for webrtcvad: a frame is speech where its first sample is not zero."""

    frames = 0  # that it was given

    def create(self) -> str:
        return "a detector"

    def init(self, detector: str) -> None:
        assert detector == "a detector"

    def set_mode(self, detector: str, aggressiveness: int) -> None:
        assert ("a detector", 1) == (detector, aggressiveness)

    def process(self, detector: str, rate: int, frame: bytes, samples: int) -> bool:
        assert ("a detector", 16_000, 640, 320) == (detector, rate, len(frame), samples)
        self.frames += 1
        return frame[:2] != b"\0\0"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Let the script decide what speech is."""
    script = Scripted()
    monkeypatch.setattr(vad.importlib, "import_module", lambda name: script)
    return script


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
@pytest.mark.parametrize(("hangover_ms", "expected"), [(19, 1), (20, 2), (21, 2), (39, 2)])
def test_hangover_of_no_whole_frame(hangover_ms: int, expected: int) -> None:
    """Only whole frames within the hangover count."""
    gate = SpeechGate(VadConfig(hangover_ms=hangover_ms))
    assert "o" * expected == run(gate, "s---").rstrip(".")


@pytest.mark.usefixtures("scripted")
def test_reset() -> None:
    """After a reset the gate is shut."""
    gate = SpeechGate(VadConfig(hangover_ms=200))
    assert "oo" == run(gate, "s-")
    gate.reset()
    assert "..." == run(gate, "---")


def test_settled_silence_is_skipped(scripted: Scripted) -> None:
    """webrtcvad gets no zeros before the first sound, nor once its state has settled; as a sound
    comes it gets those that make its state the same."""
    gate = SpeechGate(VadConfig(hangover_ms=60))
    assert gate.rests
    run(gate, "-" * 2 * PERIOD)
    assert 0 == scripted.frames
    assert "oooo..." == run(gate, "s------")
    assert 1 + 6 == scripted.frames
    run(gate, "-" * (SETTLED - 7))
    assert not gate.rests
    run(gate, "-")
    assert gate.rests
    assert 1 + SETTLED == scripted.frames
    run(gate, "-" * (PERIOD + 4))
    gate.rest(2 * PERIOD + 3)
    assert 1 + SETTLED == scripted.frames
    assert "o" == run(gate, "s")
    assert not gate.rests
    assert 1 + SETTLED + 7 + 1 == scripted.frames


@pytest.mark.usefixtures("scripted")
def test_no_rest_while_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the hangover is, it runs out first; speech in zeros is no rest either."""
    monkeypatch.setattr(vad, "SETTLED", 2)
    gate = SpeechGate(VadConfig(hangover_ms=60))
    assert "oooo" == run(gate, "s---")
    assert not gate.rests
    assert "." == run(gate, "-")
    assert gate.rests
    monkeypatch.setattr(Scripted, "process", lambda *_: True)
    assert "ooooo" == run(gate, "s----")
    assert not gate.rests


class EveryFrame:
    """webrtcvad on each frame, zeros or not."""

    def __init__(self, aggressiveness: int) -> None:
        self.library = importlib.import_module("_webrtcvad")
        self.detector = self.library.create()
        self.library.init(self.detector)
        self.library.set_mode(self.detector, aggressiveness)

    def is_speech(self, frame: NDArray[np.int16]) -> bool:
        return bool(self.library.process(self.detector, 16_000, frame.tobytes(), len(frame)))


def memory(detector: object) -> bytes:
    """All that a detector of webrtcvad knows."""
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    state = ctypes.string_at(address(detector, b"WebRtcVadPtr"), 736)
    if state[-4:] != (42).to_bytes(4, sys.byteorder):
        pytest.skip("the memory of this webrtcvad is laid out otherwise")
    return state


@pytest.mark.parametrize("frame_ms", [10, 20, 30])
@pytest.mark.parametrize("aggressiveness", [0, 1, 3])
def test_silence_that_is_skipped_changes_nothing(
    frame_ms: int, aggressiveness: int, demonstration: NDArray[np.int16]
) -> None:
    """Digital silence of any length between words, before them and before the faintest noise: each
    decision, and all that webrtcvad knows, is what it is with webrtcvad run on every frame."""
    size = 16 * frame_ms
    gate = SpeechGate(VadConfig(aggressiveness=aggressiveness, frame_ms=frame_ms, hangover_ms=0))
    reference = EveryFrame(aggressiveness)
    generator = np.random.default_rng(0)
    sounds = (
        demonstration[16_000:40_000],
        generator.integers(-1, 2, 100 * size).astype(np.int16),
        demonstration[40_000:80_000] // 50,  # faint speech
        generator.integers(-3, 4, 50 * size).astype(np.int16),
        generator.normal(0, 9_000, 30 * size).clip(-32_768, 32_767).astype(np.int16),
        demonstration[80_000:100_000],
    )
    pauses = (9, SETTLED - 1, SETTLED + 1, SETTLED + PERIOD, SETTLED + 250, 2 * SETTLED + 77)
    zeros = np.zeros(size, np.int16)
    decided = set()
    for sound, pause in zip(sounds, pauses, strict=True):
        for _ in range(pause):
            assert gate.is_open(zeros) == reference.is_speech(zeros)
        for start in range(0, len(sound) - size + 1, size):
            frame = sound[start : start + size]
            speech = reference.is_speech(frame)
            assert gate.is_open(frame) == speech
            decided.add(speech)
            if not start:  # but for how many frames it has counted
                pairs = zip(memory(gate._vad), memory(reference.detector), strict=True)
                other = [place for place, (one, two) in enumerate(pairs) if one != two]
                assert not other or max(other) // 4 == min(other) // 4
    assert {True, False} == decided


def test_silence() -> None:
    """Digital silence and a faint hum never open the gate."""
    gate = SpeechGate(VadConfig(aggressiveness=3))
    hum = np.round(3 * np.sin(2 * np.pi * 50 * np.arange(FRAME) / 16_000)).astype(np.int16)
    assert not any(gate.is_open(np.zeros(FRAME, np.int16)) for _ in range(200))
    assert not any(gate.is_open(hum) for _ in range(200))


@pytest.mark.parametrize("frame_ms", [10, 20, 30])
def test_frame_lengths(frame_ms: int, demonstration: NDArray[np.int16]) -> None:
    """With each frame length of webrtcvad it is shut before a word, open on it and some after."""
    word = demonstration[16_000:21_000]
    gate = SpeechGate(VadConfig(frame_ms=frame_ms, hangover_ms=600))
    audio = np.concatenate((np.zeros(16_000, np.int16), word, np.zeros(24_000, np.int16)))
    size = 16 * frame_ms
    whole = len(audio) // size * size
    states = [gate.is_open(audio[at : at + size]) for at in range(0, whole, size)]
    opened, shut = states.index(True), len(states) - states[::-1].index(True)
    assert all(states[opened:shut])
    assert 16_000 <= (opened + 1) * size <= 16_000 + len(word)
    # webrtcvad has a hangover of its own, of some frames.
    assert 0.55 <= (shut * size - 16_000 - len(word)) / 16_000 <= 0.9


def test_several_frames_at_once(demonstration: NDArray[np.int16]) -> None:
    """A hop of four frames leaves the gate as four frames one by one do."""
    audio = demonstration[: 60 * 4 * FRAME].reshape(-1, 4, FRAME)
    one_by_one, at_once = SpeechGate(), SpeechGate()
    expected = [[one_by_one.is_open(frame) for frame in hop][-1] for hop in audio]
    assert expected == [at_once.is_open(hop.reshape(-1)) for hop in audio]
    assert {True, False} == set(expected)


@pytest.mark.parametrize("aggressiveness", [0, 3])
def test_commands_of_the_demonstration_open_it(
    aggressiveness: int, demonstration: NDArray[np.int16]
) -> None:
    """It is open at the end of every command, at its strictest too."""
    gate = SpeechGate(VadConfig(aggressiveness=aggressiveness))
    states = [
        gate.is_open(demonstration[at : at + FRAME])
        for at in range(0, len(demonstration) - FRAME + 1, FRAME)
    ]
    for entry in json.loads(SPOKEN.read_text(encoding="utf-8")):
        assert states[int(entry["end"] * 50)], entry["word"]


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
    """The message says why, and names the package that works."""

    def broken(name: str) -> Any:
        raise ModuleNotFoundError("No module named '_webrtcvad'")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(BackendUnavailable, match=r"_webrtcvad.*pip install webrtcvad-wheels"):
        SpeechGate()
