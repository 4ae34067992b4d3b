"""The stateful stream: the same rows as whole windows, however the audio is cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kws import AudioFile
from kws.config import SAMPLE_RATE, STEP_MS
from kws.demo import RECORDING
from kws.errors import ModelError
from kws.frontend import log_mel
from kws.gated_stream import GatedStreams
from kws.model.load import Model, load_model
from kws.model.manifest import MODELS, read_manifest
from kws.model.streaming import OnnxStreamGraph, TfliteStream, WindowStream

pytest.importorskip("onnxruntime")

TOLERANCE = 1e-4
Int16Array = NDArray[np.int16]
Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped model."""
    return load_model()


@pytest.fixture(scope="module", params=["demonstration", "recordings"])
def speech(request: pytest.FixtureRequest) -> Int16Array:
    """Words with pauses between them: of the demonstration, and real ones where they are."""
    if request.param == "demonstration":
        with AudioFile(RECORDING) as source:
            audio = np.concatenate(list(source))
        pause = np.zeros(2 * SAMPLE_RATE, np.int16)  # its own ones do not close the gate
        return np.concatenate((audio[:60_000], pause, audio[60_000:130_000]))
    from kws.recordings.data import find_corpus, read_recording

    recordings = request.getfixturevalue("recordings")
    clips = [clip for clip in find_corpus(recordings).clips if clip.split == "validation"][::800]
    generator = np.random.default_rng(0)
    parts: list[Int16Array] = []
    for clip in clips[:6]:
        parts += [generator.normal(0, 2, 30_000).astype(np.int16), read_recording(clip.path)]
    return np.concatenate(parts)


def hops(streams: GatedStreams, audio: Int16Array) -> list[tuple[int, list[Rows]]]:
    """What each whole hop of the audio gives the first stream: steps rested, and its rows."""
    size, found = streams.hop, []
    for i in range(0, len(audio) - size + 1, size):
        rows = streams.rows([0], audio[None, i : i + size])
        found.append((sum(each.rested[0] for each in rows), [each.posteriors[0] for each in rows]))
    return found


def offline(model: Model, audio: Int16Array) -> Rows:
    """The rows of the window graph, one per 20 ms, digital silence before the audio."""
    features = log_mel(audio, model.manifest.features)
    features = np.concatenate((np.zeros((100, features.shape[1]), np.float32), features))
    count = len(features) // 2 - 49
    windows = np.stack([features[2 * i + 2 : 2 * i + 2 + model.frames] for i in range(count)])
    return np.concatenate([model.backend.run(windows[i : i + 100]) for i in range(0, count, 100)])


def test_stream_equals_windows(model: Model, speech: Int16Array) -> None:
    """Every row of the stream is that of the window graph on the second before it."""
    streams = GatedStreams(model, vad=False, verify=False)
    speech = speech[: len(speech) // streams.hop * streams.hop]
    found = np.concatenate([row for _, rows in hops(streams, speech) for row in rows])
    expected = offline(model, speech)
    # The newest two frames of the first row reach beyond the start of the audio's own frames.
    # A last hop that is not whole is not taken: up to three rows.
    assert -3 <= len(found) - len(expected) <= 2
    difference = np.abs(found[: len(expected)] - expected[: len(found)]).max()
    assert difference < TOLERANCE


def test_a_window_may_stand_for_several_steps(model: Model, speech: Int16Array) -> None:
    """Run at every third step, a window graph gives the row of that one for all three."""
    features = log_mel(speech[:48_000], model.manifest.features)
    every, third = (
        WindowStream(model.backend, model.frames, features.shape[1], 6, query_steps=query_steps)
        for query_steps in (1, 3)
    )
    for first in range(0, len(features) - 12, 12):
        rows = every.posteriors(features[first : first + 12])
        expected = rows[[2, 2, 2, 5, 5, 5]]
        np.testing.assert_allclose(
            third.posteriors(features[first : first + 12]), expected, atol=TOLERANCE
        )


def test_the_larger_model_runs_once_a_hop() -> None:
    accurate = load_model("accurate")
    assert accurate.manifest.window_hop_ms == accurate.manifest.decision.hop_ms
    stream = accurate.open_stream()
    noise = np.random.default_rng(0).random((stream.frames, 40), np.float32) * 10.0
    rows = stream.posteriors(noise)
    assert (stream.steps, 12) == rows.shape
    assert np.array_equal(rows[0], rows[-1])


def test_a_reset_leaves_nothing(model: Model, speech: Int16Array) -> None:
    """After a reset the rows are those of a new stream, bit for bit."""
    streams = GatedStreams(model)
    first = hops(streams, speech)
    hops(streams, speech[::-1].copy()[: 7 * streams.hop])
    streams.reset(0)
    second = hops(streams, speech)
    assert [r for r, _ in first] == [r for r, _ in second]
    for (_, left), (_, right) in zip(first, second, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_streams_share_a_model(model: Model, speech: Int16Array) -> None:
    """Two streams on one loaded model do not disturb each other."""
    alone = hops(GatedStreams(model, vad=False), speech)
    one, other = GatedStreams(model, vad=False), GatedStreams(model, vad=False)
    size = one.hop
    for index, (_, expected) in enumerate(alone):
        hop = slice(index * size, (index + 1) * size)
        (found,) = one.rows([0], speech[None, hop])
        other.rows([0], np.roll(speech, 12_345)[None, hop])
        assert np.array_equal(expected[0], found.posteriors[0])


def test_gaps_of_the_gate(model: Model, speech: Int16Array) -> None:
    """Rested and computed rows together are one per 20 ms, and no row comes twice."""
    streams = GatedStreams(model)
    outcome = hops(streams, speech)
    rows = sum(rested + sum(map(len, new)) for rested, new in outcome)
    last = max(index for index, (_, new) in enumerate(outcome) if new)
    assert (last + 1) * model.manifest.decision.hop_ms // STEP_MS == rows
    assert any(rested for rested, _ in outcome)


def test_after_a_second_the_gap_is_forgotten(model: Model, speech: Int16Array) -> None:
    """Where the gate stays open for a second, the rows are those of a stream without a gate."""
    gated, free = (
        hops(GatedStreams(model, verify=False), speech),
        hops(GatedStreams(model, vad=False, verify=False), speech),
    )
    compared = 0
    open_for = 0
    for (rested, left), (_, right) in zip(gated, free, strict=True):
        open_for = 0 if not left else len(left) if rested else open_for + len(left)
        if left and open_for > 18:
            assert np.abs(left[-1] - right[-1]).max() < TOLERANCE
            compared += 1
    assert compared > 10


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(places=st.lists(st.integers(1, 200_000), max_size=40), vad=st.booleans())
def test_any_cutting(places: list[int], vad: bool, model: Model, speech: Int16Array) -> None:
    """Detections are identical for any cutting into blocks, and across a reset."""
    from kws import Detector

    detector = Detector(model, threshold=0.3, vad=vad)
    expected = detector.process(speech)
    detector.reset()
    cuts = sorted({0, len(speech), *(place % len(speech) for place in places)})
    found = [d for start, end in pairwise(cuts) for d in detector.process(speech[start:end])]
    assert expected == found
    assert expected


def test_silent_start_is_digital_silence(model: Model) -> None:
    """A new stream returns what one does after ten seconds of digital silence."""
    silence = np.zeros(10 * SAMPLE_RATE, np.int16)
    noise = np.random.default_rng(1).normal(0, 300, SAMPLE_RATE).astype(np.int16)
    noise[:960] = 0  # the frames that reach back before the stream are zeros, sound or not
    new, old = GatedStreams(model, vad=False), GatedStreams(model, vad=False)
    whole = len(silence) - len(silence) % old.hop
    hops(old, silence[:whole])
    for (_, left), (_, right) in zip(hops(new, noise), hops(old, noise), strict=True):
        assert np.abs(left[0] - right[0]).max() < TOLERANCE


def test_other_graphs_are_refused(model: Model) -> None:
    """A window graph is not taken for a stream."""
    artefact = model.manifest.artefacts["window.onnx"]
    content = (model.path.parent / artefact.file).read_bytes()
    with pytest.raises(ModelError, match="expected a graph with"):
        OnnxStreamGraph(content)


@pytest.mark.parametrize(
    ("key", "tolerance"), [("stream.tflite", TOLERANCE), ("stream.int8.tflite", 0.02)]
)
def test_tflite_stream_equals_windows(key: str, tolerance: float, speech: Int16Array) -> None:
    """A TFLite stream, too, gives the rows of the window graph of its kind, again after a reset."""
    pytest.importorskip("ai_edge_litert", reason="no TFLite runtime: `pip install ai-edge-litert`")
    stream = load_model(artefact=key)
    streams = GatedStreams(stream, vad=False)
    audio = speech[: 6 * SAMPLE_RATE]
    found = np.concatenate([row for _, rows in hops(streams, audio) for row in rows])
    window = load_model(artefact=key.replace("stream", "window"))
    expected = np.concatenate(
        [row for _, rows in hops(GatedStreams(window, vad=False), audio) for row in rows]
    )
    assert np.abs(expected - found).max() < tolerance
    streams.reset(0)
    again = np.concatenate([row for _, rows in hops(streams, audio) for row in rows])
    np.testing.assert_array_equal(found, again)


def test_tflite_stream_refuses_windows() -> None:
    """A window graph under the name of a stream is refused by what it has and lacks."""
    pytest.importorskip("ai_edge_litert", reason="no TFLite runtime: `pip install ai-edge-litert`")
    path = MODELS / read_manifest(MODELS / "commands.json").artefacts["window.tflite"].file
    with pytest.raises(ModelError, match="states x and next_x, got features and posteriors"):
        TfliteStream(path.read_bytes(), 3)


def test_tflite_listens_by_stream() -> None:
    """With TFLite, the shipped model takes its stream graph."""
    pytest.importorskip("ai_edge_litert", reason="no TFLite runtime: `pip install ai-edge-litert`")
    assert "stream.tflite" == load_model(backend="tflite").artefact
