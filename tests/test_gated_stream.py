"""The streaming engine: hops, gate, pre-roll, catch-up; and all that is built on it agrees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kws import AudioFile, Detection, Detector, DetectorPool, Model, ModelError, load_model
from kws.cli import main
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.evaluation.replay import PosteriorRecorder
from kws.gated_stream import GatedRows, GatedStreams
from kws.operating_point import OperatingPoint
from kws.scanning.scan import ScanSettings, scan_recordings

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
    """After a long pause the network begins anew; after one within the pre-roll it goes on."""
    monkeypatch.setattr(script, "opens", [3, 4, 11, 20])
    streams = GatedStreams(model, verify=False)
    gated = rows_of(streams, demonstration[16_000 : 16_000 + 21 * streams.hop])
    counts = {number: len(rows) for number, rows in enumerate(gated) if rows}
    assert {3: 4, 4: 1, 11: 7, 20: 7} == counts
    rested = {number: rows[0].rested for number, rows in enumerate(gated) if rows}
    assert {3: [0], 4: [0], 11: [0], 20: [2 * 4]} == rested
    network = model.open_stream()  # anew, in silence
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


@pytest.mark.parametrize("frame_ms", [10, 30])
def test_times_that_do_not_fit(frame_ms: int, model: Model) -> None:
    """A frame of the gate that does not divide a hop is refused, with both numbers."""
    vad = replace(model.manifest.vad, frame_ms=frame_ms)
    other = replace(model, manifest=replace(model.manifest, vad=vad))
    if frame_ms == 10:
        assert GatedStreams(other).hop == 1280
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


def pieces(audio: Int16Array, places: Sequence[int]) -> list[Int16Array]:
    """The audio, cut at these places, as far as they lie in it; empty blocks included."""
    return np.split(audio, sorted(place % len(audio) for place in places))


POINTS: tuple[dict[str, Any], ...] = (
    {},
    {"verify": False, "isolated": False},
    {"threshold": 0.4, "keywords": ("no", "up", "yes")},
    {"threshold": {"no": 0.3}, "sensitivity": "high"},
)
cuts = st.lists(st.integers(0, 200_000), max_size=30)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cut=st.lists(cuts, min_size=3, max_size=3), vad=st.booleans(), point=st.sampled_from(POINTS))
def test_all_ways_agree(
    cut: list[list[int]],
    vad: bool,
    point: dict[str, Any],
    model: Model,
    demonstration: Int16Array,
) -> None:
    """Detector, pool and replay find the same to the last digit, however the audio is cut."""
    pause = np.zeros(30_000, np.int16)  # closes the gate, which the recording's own do not
    parts = [
        np.concatenate((demonstration[:40_000], pause, demonstration[40_000:60_000])),
        np.concatenate((pause, demonstration[70_000:110_000])),
        demonstration[8_000:60_000],
    ]
    expected = [list(Detector(model, vad=vad, **point).listen([part])) for part in parts]
    assert any(expected)
    blocks = [pieces(part, places) for part, places in zip(parts, cut, strict=True)]

    detector = Detector(model, vad=vad, **point)
    assert expected == [list(detector.listen(each)) for each in blocks]

    pool = DetectorPool(model, 3, vad=vad, **point)
    found: list[list[Detection]] = [[], [], []]
    for turn in range(max(map(len, blocks))):
        turns = [each[turn] if turn < len(each) else None for each in blocks]
        for stream, detections in enumerate(pool.process(turns)):
            found[stream] += detections
    for stream in range(3):
        found[stream] += pool.finish(stream)
    assert expected == found

    chosen = OperatingPoint.of(model, **point)
    recorder = PosteriorRecorder(model, vad, chosen.verified)
    tracks = [recorder.record("", each) for each in blocks]
    labels, settled = model.manifest.labels, (chosen.thresholds, chosen.config, chosen.keywords)
    assert expected == [track.detections(labels, *settled) for track in tracks]


def test_scan_and_listen_agree(
    model: Model,
    demonstration: Int16Array,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A scan of several files at once finds in each what a detector finds, as listening does."""
    parts = [demonstration, demonstration[40_000:100_001], demonstration[:1]]
    paths = [str(tmp_path / f"{number}.wav") for number in range(3)]
    for path, part in zip(paths, parts, strict=True):
        soundfile.write(path, part, SAMPLE_RATE)
    expected = [list(Detector(model).listen([part])) for part in parts]
    assert len(expected[0]) >= 8
    scanned = scan_recordings(paths, ScanSettings(streams=2))
    assert expected == [list(each.detections) for each in scanned]
    assert 0 == main(["listen", "--input", paths[0], "--json-plain"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [round(each.score, 4) for each in expected[0]] == [line["score"] for line in lines]
