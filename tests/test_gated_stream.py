"""The streaming engine: hops, gate, pre-roll, catch-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kws import AudioFile, Detection, Detector, Model, ModelError, load_model
from kws.demo import RECORDING
from kws.frontend import FloatArray, log_mel
from kws.gated_stream import GatedRows, GatedStreams
from kws.vad import SETTLED, SpeechGate

pytest.importorskip("onnxruntime")

Int16Array = NDArray[np.int16]


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped model."""
    return load_model()


@pytest.fixture(scope="module")
def demonstration() -> Int16Array:
    """The recording of `kws listen --demo`: commands, other words, pauses."""
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))


class Script:
    """Stands for the gate: open in the hops, by number, that a test names."""

    opens: Sequence[int] = ()

    def __init__(self, config: object) -> None:
        self.reset()

    def reset(self) -> None:
        self.hop = -1

    def is_open(self, audio: Int16Array) -> bool:
        self.hop += 1
        return self.hop in self.opens


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> type[Script]:
    """Let a script decide when the gate is open."""
    monkeypatch.setattr("kws.gated_stream.SpeechGate", Script)
    return Script


class EveryFrame(SpeechGate):
    """The gate with webrtcvad run on every frame, zeros or not."""

    rests = False

    def is_open(self, audio: Int16Array) -> bool:
        for frame in audio.reshape(-1, 320):
            self._silent = 0
            super().is_open(frame)
        return self._open_for >= 0


class Observed:
    """All that a detector lets an observer know."""

    def __init__(self) -> None:
        self.audio: list[Int16Array] = []
        self.rows: list[FloatArray] = []

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        self.audio.append(audio.copy())
        self.rows += rows


def rows_of(streams: GatedStreams, audio: Int16Array) -> list[list[GatedRows]]:
    """What each hop of the audio gives the first stream."""
    return [streams.rows(*hop) for hop in streams.cut([audio])]


@pytest.mark.parametrize("closed", range(9))
def test_preroll(
    closed: int,
    script: type[Script],
    model: Model,
    demonstration: Int16Array,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the gate opens, the network gets the hops of the pre-roll, all of them and no more."""
    monkeypatch.setattr(script, "opens", range(closed, 20))
    free = GatedStreams(model, vad=False, verify=False)
    audio = demonstration[free.hop * 8 : free.hop * 20]
    gated = rows_of(GatedStreams(model, verify=False), audio)
    preroll = -(-model.manifest.vad.preroll_ms // model.manifest.decision.hop_ms)
    assert 6 == preroll
    assert [0] * closed == [len(rows) for rows in gated[:closed]]
    caught_up = min(preroll, closed)
    assert [caught_up + 1] + [1] * (11 - closed) == [len(rows) for rows in gated[closed:]]
    steps = model.manifest.decision.hop_ms // 20
    first, *others = [row for rows in gated for row in rows]
    assert [(closed - caught_up) * steps] == first.rested
    assert all(each.rested == [0] for each in others)
    everything = [row for rows in rows_of(free, audio) for row in rows][closed - caught_up :]
    assert len(everything) == len(others) + 1
    for one, other in zip(everything, (first, *others), strict=True):
        np.testing.assert_array_equal(one.features, other.features)


def test_a_gate_that_opens_again(
    script: type[Script], model: Model, demonstration: Int16Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long pause the network begins again; after one within the pre-roll it goes on."""
    monkeypatch.setattr(script, "opens", [3, 4, 11, 20])
    streams = GatedStreams(model, verify=False)
    gated = rows_of(streams, demonstration[16_000 : 16_000 + 21 * streams.hop])
    counts = {number: len(rows) for number, rows in enumerate(gated) if rows}
    assert {3: 4, 4: 1, 11: 7, 20: 7} == counts
    rested = {number: rows[0].rested for number, rows in enumerate(gated) if rows}
    assert {3: [0], 4: [0], 11: [0], 20: [2 * 4]} == rested
    network = model.open_stream()  # from silence
    for rows in gated[20]:
        expected = network.posteriors(rows.features[0])
        np.testing.assert_array_equal(expected, rows.posteriors[0])
    network.reset()
    first = network.posteriors(gated[11][0].features[0])
    assert not np.array_equal(first, gated[11][0].posteriors[0])


def test_first_frames_of_each_stream(model: Model, demonstration: Int16Array) -> None:
    """Frames that begin before a stream are silence, in each of several and after a reset."""
    streams = GatedStreams(model, 3, vad=False, verify=False)
    hop = streams.hop
    loud = demonstration[16_000 : 16_000 + 4 * hop].reshape(4, hop)
    silence = np.zeros(hop, np.int16)
    (first,) = streams.rows([0, 1, 2], np.stack([silence, loud[0], loud[1]]))
    assert not first.features[0].any()
    for stream in (1, 2):
        assert not first.features[stream, :2].any()
        assert first.features[stream, 2:].all()
    streams.reset(1)
    (second,) = streams.rows([0, 1, 2], np.stack([loud[2], loud[2], loud[2]]))
    assert second.features[0, :2].any()  # silence went before, the sound reaches into them
    assert not second.features[1, :2].any()
    np.testing.assert_array_equal(second.features[0, 2:], second.features[1, 2:])
    assert second.features[2].all()


def test_frames_without_the_kernel(demonstration: Int16Array) -> None:
    """They are those of `log_mel` on the whole, bit for bit."""
    model = load_model(backend="onnx")
    audio = demonstration[: 2 * 16_000]
    rows = rows_of(GatedStreams(model, vad=False, verify=False), audio)
    features = np.concatenate([each.features[0] for hop in rows for each in hop])
    whole = log_mel(audio, model.manifest.features)
    np.testing.assert_array_equal(whole[: len(features) - 2], features[2:])  # two begin before it


def test_candidates_are_verified_at_once_or_later(model: Model, demonstration: Int16Array) -> None:
    """What is left to be queried makes the same rows of it."""
    audio = demonstration[: 3 * 16_000]
    at_once, later = GatedStreams(model, vad=False), GatedStreams(model, vad=False, later=True)
    verifier, queried = later.verifier, 0
    assert verifier is not None
    for (one,), (other,) in zip(rows_of(at_once, audio), rows_of(later, audio), strict=True):
        assert one.queries == ()
        np.testing.assert_array_equal(one.unverified, other.unverified)
        np.testing.assert_array_equal(other.unverified, other.posteriors)
        expected = other.posteriors[0].copy()
        (query,) = other.queries
        if query is not None:
            expected[query.rows] = verifier.returned([query])[0]
            queried += 1
        np.testing.assert_array_equal(expected, one.posteriors[0])
    assert 0 < queried < len(audio) / later.hop


@pytest.mark.parametrize("frame_ms", [10, 30])
def test_times_that_do_not_fit(frame_ms: int, model: Model) -> None:
    """A frame of the gate that does not divide a hop is refused, with both numbers."""
    vad = replace(model.manifest.vad, frame_ms=frame_ms)
    other = replace(model, manifest=replace(model.manifest, vad=vad))
    if frame_ms == 10:
        streams = GatedStreams(other)
        assert streams.hop == 1280
        assert streams.verifier is not None  # by default
    else:
        with pytest.raises(ModelError, match=r"a vad\.frame_ms that divides 80, got 30"):
            GatedStreams(other)
        GatedStreams(other, vad=False)


def test_hops_of_several_streams(model: Model) -> None:
    """Whole hops come as they fill, of those streams alone, and nothing is lost or doubled."""
    streams = GatedStreams(model, 3)
    hop = streams.hop
    generator = np.random.default_rng(0)
    audio = generator.integers(-9, 9, (3, 50 * hop)).astype(np.int16)
    whole: list[list[Int16Array]] = [[], [], []]
    places = [0, 0, 0]
    for _ in range(40):
        blocks: list[Int16Array | None] = []
        for stream in range(3):
            length = int(generator.choice([0, 1, hop - 1, hop, 3 * hop + 7, 14 * hop]))
            block = audio[stream, places[stream] : places[stream] + length]
            places[stream] += len(block)
            blocks.append(block if length else None)
        for ready, hops in streams.cut(blocks):
            assert ready == sorted(set(ready))
            streams.rows(ready, hops)
            for stream, samples in zip(ready, hops, strict=True):
                whole[stream].append(samples.copy())
        assert places == [streams.samples(stream) for stream in range(3)]
        assert [place // hop for place in places] == [len(each) for each in whole]
    for stream in range(3):
        joined = np.concatenate(whole[stream])
        np.testing.assert_array_equal(audio[stream, : len(joined)], joined)


def test_rest(model: Model) -> None:
    """A hop of zeros and no more is rested through, in any blocks, until a sound has come."""
    streams = GatedStreams(model, 2)
    hop = streams.hop
    zeros = np.zeros(3 * hop, np.int16)
    assert streams.rest(1, zeros[:hop])
    assert streams.hold(1, np.zeros(900, np.float32))
    assert not streams.rest(1, zeros[: hop - 901])
    assert not streams.rest(1, zeros[: hop - 899])
    assert not streams.rest(1, np.r_[zeros[: hop - 901], np.int16(-1)])
    assert streams.samples(1) == hop + 900
    assert streams.rest(1, np.zeros(hop - 900, np.float32))
    assert (0, 2 * hop) == (streams.samples(0), streams.samples(1))
    assert not streams.rest(1, zeros[: 2 * hop])
    assert not streams.rest(1, zeros[:0])
    assert not streams.rest(1, zeros[:hop] + np.int16(1))
    assert streams.samples(1) == 2 * hop
    faint = zeros[:hop] + np.int16([0, 1] * (hop // 2))
    assert not any(streams.rows(*each) for each in streams.cut([None, faint]))
    for _ in range(SETTLED // 4):
        assert not streams.rest(1, zeros[:hop])
        assert not any(streams.rows(*each) for each in streams.cut([None, zeros[:hop]]))
    assert streams.rest(1, zeros[:hop])
    (first,) = streams.cut([None, faint])
    streams.rows(*first)
    assert not streams.rest(1, zeros[:hop])
    streams.reset(1)
    assert streams.rest(1, zeros[:hop])
    assert streams.samples(1) == hop
    assert not GatedStreams(model, vad=False).rest(0, zeros[:hop])


@pytest.mark.parametrize("size", [320, 3_000])
def test_rest_changes_nothing(
    size: int, model: Model, demonstration: Int16Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long digital silence before words, the faintest noise and words again: detections, rows of
    posteriors and audio are what they are with webrtcvad run on every frame."""
    generator = np.random.default_rng(0)
    words, silence = demonstration[: 8 * 16_000], np.zeros(70 * 16_000 + 1_111, np.int16)
    faint = generator.integers(-1, 2, 30_000).astype(np.int16)
    audio = np.concatenate((silence[:50_000], words, silence, words, silence, faint, words))

    def run(step: int, observer: Observed | None) -> list[Detection]:
        detector = Detector(model, observer=observer)
        blocks = (audio[start : start + step] for start in range(0, len(audio), step))
        return [each for block in blocks for each in detector.process(block)] + detector.finish()

    rested, expected = Observed(), Observed()
    found = run(size, rested)
    assert found == run(size, None)
    monkeypatch.setattr("kws.gated_stream.SpeechGate", EveryFrame)
    assert found == run(len(audio), expected)
    assert len(found) >= 6
    np.testing.assert_array_equal(np.concatenate(expected.audio), np.concatenate(rested.audio))
    np.testing.assert_array_equal(np.concatenate(expected.rows), np.concatenate(rested.rows))
