"""The detector: any blocks, the same detections; nothing that comes in leaves it broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kws import Detection, Detector, DetectorPool, load_model
from kws.config import SAMPLE_RATE
from kws.errors import AudioError, KwsError, ModelError, SettingError
from kws.model.load import Model

pytest.importorskip("onnxruntime")

Int16Array = NDArray[np.int16]
WORD = 0.9  # seconds that a tone must last before its mean spectrum over one second is clear


@pytest.fixture(scope="module")
def model(tones: Path) -> Model:
    """The network that knows tones."""
    return load_model(tones)


def say(*parts: str | float) -> Int16Array:
    """Tones by name, pauses of faint noise by their seconds."""
    from tone_model import tone

    generator = np.random.default_rng(3)
    audio = [
        tone(part, seconds=WORD)
        if isinstance(part, str)
        else generator.normal(0, 2, round(part * SAMPLE_RATE)).astype(np.int16)
        for part in parts
    ]
    return np.concatenate(audio)


def words(detections: Sequence[Detection]) -> list[str]:
    """What was detected, in order."""
    return [detection.keyword for detection in detections]


class Counting:
    """A backend that keeps the windows it scores."""

    def __init__(self, model: Model) -> None:
        self.backend = model.backend
        self.seen: list[NDArray[np.float32]] = []

    def run(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen += list(features)
        return self.backend.run(features)


def counting(model: Model) -> tuple[Model, Counting]:
    """The model with its windows kept."""
    counter = Counting(model)
    counted = dataclasses.replace(model)
    counted.__dict__["backend"] = counter  # where the cached property looks first
    return counted, counter


def test_one_word_one_detection(model: Model) -> None:
    """Each spoken word is detected once, at its time."""
    with Detector(model, vad=False) as detector:
        found = detector.process(say(1.0, "low", 1.5, "high", 1.5))
    assert ["low", "high"] == words(found)
    for detection, start in zip(found, (1.0, 3.4), strict=True):
        assert start + 0.3 < detection.end < start + 1.5
        assert detection.start < start + WORD / 2 < detection.end
        assert 0.6 <= detection.score <= 1.0


def test_other_sounds(model: Model) -> None:
    """Silence, noise and a tone that is no keyword give nothing."""
    detector = Detector(model, vad=False)
    assert [] == detector.process(say(1.0, "unknown", 1.5, "silence", 1.0))
    assert [] == detector.process(np.zeros(3 * SAMPLE_RATE, np.int16))


def test_real_pipeline_defaults(tones: Path) -> None:
    """A folder, the gate and the defaults are enough."""
    found = list(Detector(tones).listen([say(0.5, "high", 1.0)]))
    assert ["high"] == words(found)


SPOKEN = ("silence", 0.3, "low", 1.2, "high", 0.2, "unknown", 0.7, "low", 1.0)


@pytest.fixture(scope="module")
def expected(model: Model) -> dict[bool, list[Detection]]:
    """What the whole recording in one block gives, with and without the gate."""
    return {vad: Detector(model, vad=vad).process(say(*SPOKEN)) for vad in (False, True)}


@settings(max_examples=25, deadline=None)
@given(
    places=st.lists(st.integers(0, 100_000), max_size=60),
    vad=st.booleans(),
    as_float=st.booleans(),
)
def test_blocks_do_not_matter(
    places: list[int],
    vad: bool,
    as_float: bool,
    model: Model,
    expected: dict[bool, list[Detection]],
) -> None:
    """Any cutting, empty blocks and float blocks included, gives identical detections."""
    audio = say(*SPOKEN)
    detector = Detector(model, vad=vad)
    found = []
    for block in np.split(audio, sorted(place % len(audio) for place in places)):
        found += detector.process(block / np.float32(32768) if as_float else block)
    assert len(expected[vad]) >= 2
    assert expected[vad] == found


@pytest.mark.parametrize("length", [1, 7, 160, 161, 319, 320, 321, 512, 16_000, 16_001])
def test_block_lengths(length: int, model: Model, expected: dict[bool, list[Detection]]) -> None:
    """Fixed block lengths, a single sample included, give identical detections."""
    audio = say(*SPOKEN)
    detector = Detector(model)
    found = []
    for start in range(0, len(audio), length):
        found += detector.process(audio[start : start + length])
    assert expected[True] == found


def test_real_speech_in_blocks(recordings: Path, model: Model) -> None:
    """Real clips give identical posteriors' decisions in blocks and at once."""
    from kws.recordings.data import find_corpus, read_recording

    clips = find_corpus(recordings).clips[::4000]
    audio = np.concatenate([read_recording(clip.path) for clip in clips])
    whole = Detector(model, threshold=0.3).process(audio)
    blocks = np.split(audio, range(441, len(audio), 441))
    detector = Detector(model, threshold=0.3)
    assert whole == [found for block in blocks for found in detector.process(block)]


def test_gate_rests_in_silence(model: Model) -> None:
    """The network sees nothing of an hour of silence, and works as soon as there is speech."""
    counted, counter = counting(model)
    detector = Detector(counted)
    minute = np.zeros(60 * SAMPLE_RATE, np.int16)
    for _ in range(60):
        assert [] == detector.process(minute)
    assert [] == counter.seen
    assert ["low"] == words(detector.process(say("low", 1.0)))
    assert len(counter.seen) < 150


def test_gate_shows_the_network_what_came_before(model: Model) -> None:
    """As the gate opens, the network sees the preroll's frames, and digital silence before them."""
    audio = say(1.0, "low", 2.0)
    windows = []
    strict = dataclasses.replace(model.manifest.vad, aggressiveness=2)  # closed in the noise before
    gated_model = dataclasses.replace(
        model, manifest=dataclasses.replace(model.manifest, vad=strict)
    )
    for vad in (False, True):
        counted, counter = counting(gated_model)
        Detector(counted, vad=vad).process(audio)
        windows.append(counter.seen)
    everything, gated = windows
    assert 0 < len(gated) < len(everything)
    first, new = gated[0], 6  # frames of the first hop
    assert not first[:-new].any()
    step = next(
        i for i, window in enumerate(everything) if np.array_equal(window[-new:], gated[2][-new:])
    )
    assert 0.4 < (step + 1) * 0.02 < 1.0
    # From then on both see the same, once a second of it has passed.
    assert np.array_equal(everything[step + 50], gated[2 + 50])


def test_threshold_of_some_keywords(model: Model) -> None:
    """A mapping replaces the thresholds of its words alone."""
    audio = say(0.5, "low", 1.0, "high", 1.0)
    own = Detector(model).process(audio)
    late = Detector(model, threshold={"low": 0.99}).process(audio)
    assert ["low", "high"] == words(own) == words(late)
    assert own[0].end < late[0].end
    assert own[1] == late[1]
    assert {"low": 0.99, "high": 0.6} == Detector(model, threshold={"low": 0.99}).thresholds
    assert {"low": 0.9, "high": 0.6} == Detector(model).thresholds


def test_some_keywords(model: Model) -> None:
    """Only the chosen keywords are detected, in the model's order, whatever else is set."""
    audio = say(0.5, "low", 1.0, "high", 1.0)
    assert ["high"] == words(Detector(model, keywords=["high"]).process(audio))
    assert ["low"] == words(Detector(model, keywords=("low",), threshold=0.5).process(audio))
    assert ("low", "high") == Detector(model, keywords={"high", "low"}).keywords
    pool = DetectorPool(model, 1, keywords=["high"], threshold={"high": 0.5})
    assert ("high",) == pool.keywords
    assert {"high": 0.5} == pool.thresholds
    assert ["high"] == words(pool.process([audio])[0])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"threshold": {"loww": 0.5}}, "no keyword is called 'loww', did you mean 'low'?"),
        ({"threshold": {"Low": 0.5}}, "no keyword is called 'Low', did you mean 'low'?"),
        ({"threshold": {"silence": 0.5}}, "'silence'; the keywords are low, high"),
        ({"threshold": {"low": 1.5}}, r"expected a threshold in \(0, 1\] for low, got 1.5"),
        ({"threshold": {"low": "0.5"}}, "for low, got '0.5'"),
        ({"threshold": "0.5"}, "for low, got '0.5'"),
        ({"threshold": float("nan")}, "for low, got nan"),
        ({"threshold": {"low": 0.5}, "keywords": ["high"]}, "'low'; the keywords are high"),
        ({"keywords": ["hihg"]}, "no keyword is called 'hihg', did you mean 'high'?"),
        ({"keywords": []}, "expected at least one keyword; the model's are low, high"),
        ({"keywords": "low"}, r'expected keywords as a list of words, such as \["low"\]'),
        ({"sensitivity": "hi"}, "no sensitivity is called 'hi', did you mean 'high'?"),
    ],
)
def test_settings_that_do_not_exist(options: dict[str, Any], reason: str, model: Model) -> None:
    """What the model lacks is refused with what it has, and with the nearest."""
    for make in (Detector, DetectorPool):
        with pytest.raises(SettingError, match=reason):
            make(model, **options)


def test_threshold(model: Model) -> None:
    """A threshold replaces the model's own, and only those in (0, 1] are taken."""
    audio = say(0.5, "low", 1.0)
    assert ["low"] == words(Detector(model, threshold=0.5).process(audio))
    early = Detector(model, threshold=0.3).process(audio)[0]
    late = Detector(model, threshold=0.95).process(audio)[0]
    assert early.end < late.end
    for wrong in (0.0, -0.1, 1.01, float("nan")):
        with pytest.raises(SettingError, match="a threshold in"):
            Detector(model, threshold=wrong)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ([0, 1, 2], "got list"),
        (b"\0\0", "got bytes; np.frombuffer"),
        (np.zeros(320), "got float64"),
        (np.zeros(320, np.int32), "got int32"),
        (np.zeros(320, np.uint8), "got uint8"),
        (np.zeros(320, ">i2"), "got >i2"),
        (np.zeros((320, 2), np.int16), r"got shape \(320, 2\); take one channel"),
        (np.zeros((), np.int16), r"got shape \(\)"),
        (np.full(320, np.nan, np.float32), "320 of 320 samples are NaN"),
        (np.array([0.0, np.inf, -np.inf], np.float32), "2 of 3 samples"),
        (np.array([0.0, 900.0, -20.0], np.float32), "range -1 to 1, got -20 to 900; divide int16"),
        (np.full(320, -32768.0, np.float32), "divide int16 samples by 32768"),
        (np.full(1, -8.1, np.float32), "got -8.1 to -8.1"),
    ],
)
def test_bad_blocks(block: object, reason: str, model: Model) -> None:
    """A bad block is an AudioError that says why, and the stream goes on as if it never came."""
    audio = say(0.5, "low", 1.0)
    detector = Detector(model)
    expected = detector.process(audio)
    detector.reset()
    found = []
    for place in np.split(audio, 4):
        with pytest.raises(AudioError, match=reason):
            detector.process(block)  # type: ignore[arg-type]
        found += detector.process(place)
    assert ["low"] == words(expected)
    assert expected == found


def test_loud_garbage(model: Model) -> None:
    """Full-scale square waves, DC and clipped floats do no harm to what follows."""
    square = np.where(np.arange(SAMPLE_RATE) % 50 < 25, 32767, -32768).astype(np.int16)
    detector = Detector(model)
    for garbage in (
        square,
        np.full(SAMPLE_RATE, -32768, np.int16),
        np.full(SAMPLE_RATE, 7.9, np.float32),
    ):
        detector.process(garbage)
    detector.process(say(1.5))
    assert ["high"] == words(detector.process(say("high", 1.0)))


def test_callers_may_reuse_their_block(model: Model) -> None:
    """What was passed is not looked at again."""
    audio = say(0.5, "low", 1.0)
    expected = Detector(model).process(audio)
    detector = Detector(model)
    found = []
    buffer = np.empty(1_000, np.int16)
    for start in range(0, len(audio) - 999, 1_000):
        buffer[:] = audio[start : start + 1_000]
        found += detector.process(buffer)
        buffer[:] = -1
    assert expected == found


def test_reset(model: Model) -> None:
    """After a reset the same audio gives the same detections at the same times."""
    audio = say(0.5, "low", 1.0)
    detector = Detector(model)
    first = detector.process(audio)
    detector.process(audio[:9_999])
    detector.reset()
    assert first == detector.process(audio)


def test_closed(model: Model) -> None:
    """Leaving the block closes the detector, and every later use of it says so."""
    audio = say(0.5, "low", 1.0)
    with Detector(model) as detector:
        assert ["low"] == words(detector.process(audio))
    detector.close()
    for use in (lambda: detector.process(audio), detector.finish, detector.reset):
        with pytest.raises(KwsError, match="this Detector is closed; make a new one"):
            use()
    assert ("low", "high") == detector.keywords


def test_listen(model: Model) -> None:
    """A source is any iterable of blocks; each is a stream of its own, and may be left early."""
    audio = say(0.5, "low", 1.0, "high", 1.0)
    detector = Detector(model)
    listening = detector.listen(iter(np.array_split(audio, 50)))
    assert "low" == next(listening).keyword
    listening.close()
    assert ["low", "high"] == words(list(detector.listen(np.array_split(audio, 50))))
    assert [] == list(detector.listen([]))


def test_end_of_stream(model: Model) -> None:
    """A word on which the recording ends is decided, and not later than the recording ends."""
    audio = say(0.5, "low")[: -SAMPLE_RATE // 8]
    detector = Detector(model, threshold=0.85)
    length = len(audio) / SAMPLE_RATE
    found = list(detector.listen([audio]))
    assert ["low"] == words(found)
    assert all(detection.start < detection.end <= length for detection in found)
    assert [] == detector.finish()


def test_missing_model(tmp_path: Path) -> None:
    """No model is told before any audio is processed."""
    with pytest.raises(ModelError, match="there is no model"):
        Detector(tmp_path / "none")


@pytest.mark.parametrize("value", [7.9, -40_000.0, 1e35, np.finfo(np.float32).max])
def test_floats_beyond_both_scales_are_clipped(value: float) -> None:
    """As documented, without a word of NumPy's: its warnings are errors here."""
    loud, full = Detector(), Detector()
    block = np.full(1600, value, np.float32)
    assert loud.process(block) == full.process(np.sign(block))
