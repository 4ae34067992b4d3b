"""A pool of streams detects in each what a detector of its own would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tone_model import tone

from kws import AudioFile, Detection, Detector, load_model
from kws.demo import RECORDING
from kws.errors import AudioError
from kws.model.batched import OnnxStreams, SeparateStreams, open_streams
from kws.model.load import Model
from kws.pool import DetectorPool

Int16Array = NDArray[np.int16]


@pytest.fixture(scope="module")
def windows(tones: Path) -> Model:
    """A model without a stream graph."""
    return load_model(tones)


@pytest.fixture(scope="module")
def shipped() -> Model:
    """The model that comes with kws, by its stream graph."""
    return load_model(artefact="stream.onnx")


def sentences(count: int) -> list[Int16Array]:
    """Streams of different lengths with tones and pauses in them."""
    generator = np.random.default_rng(3)
    streams = []
    for _ in range(count):
        pieces = []
        for word in generator.choice(("low", "high", "unknown"), size=generator.integers(1, 4)):
            pieces += [np.zeros(generator.integers(4_000, 20_000), np.int16), tone(word)]
        streams.append(np.concatenate(pieces))
    return streams


def process(pool: DetectorPool, streams: list[Int16Array], longest: int) -> list[list[Detection]]:
    """What a pool detects, each stream cut into blocks of its own random lengths."""
    generator = np.random.default_rng(longest)
    places = [0] * len(streams)
    found: list[list[Detection]] = [[] for _ in streams]
    while any(place < len(audio) for place, audio in zip(places, streams, strict=True)):
        blocks: list[NDArray[Any] | None] = []
        for number, audio in enumerate(streams):
            length = int(generator.integers(0, longest))
            block = audio[places[number] : places[number] + length]
            blocks.append(block if len(block) else None)
            places[number] += length
        for number, detections in enumerate(pool.process(blocks)):
            found[number] += detections
    for number in range(len(streams)):
        found[number] += pool.finish(number)
    return found


@pytest.mark.parametrize("longest", [700, 20_000])
def test_same_detections_window_by_window(windows: Model, longest: int) -> None:
    """Streams of a model of windows, in blocks shorter and longer than a hop."""
    streams = sentences(5)
    expected = [list(Detector(windows).listen([audio])) for audio in streams]
    assert any(expected)
    assert expected == process(DetectorPool(windows, len(streams)), streams, longest)


@pytest.mark.parametrize("vad", [True, False])
def test_same_detections_in_batches(shipped: Model, vad: bool) -> None:
    """Words through the shipped stream graph, gated or not, one call for all streams."""
    with AudioFile(RECORDING) as source:
        audio = np.concatenate(list(source))
    streams = [audio[start : start + 50_000] for start in range(0, 200_000, 40_001)]
    options: dict[str, Any] = {"vad": vad, "threshold": 0.4, "isolated": False}
    expected = [list(Detector(shipped, **options).listen([audio])) for audio in streams]
    assert any(expected)
    assert expected == process(DetectorPool(shipped, len(streams), **options), streams, 3_000)


def test_a_batch_gives_the_rows_of_single_streams() -> None:
    """Streams in one call, some of them, then all, do not disturb each other."""
    generator = np.random.default_rng(0)
    shipped = load_model(backend="onnx")
    together = open_streams(shipped, 3)
    assert isinstance(together, OnnxStreams)
    alone = [shipped.open_stream() for _ in range(3)]
    bands = shipped.manifest.features.bands
    for chosen in ([0, 1, 2], [1], [0, 2], [0, 1, 2]):
        features = generator.random((len(chosen), together.frames, bands), np.float32)
        rows = together.posteriors(chosen, features)
        single = [
            alone[number].posteriors(each) for number, each in zip(chosen, features, strict=True)
        ]
        assert rows == pytest.approx(np.stack(single), abs=1e-6)
    together.reset(1)
    alone[1].reset()
    rows = together.posteriors([1], features[:1])
    assert rows[0] == pytest.approx(alone[1].posteriors(features[0]), abs=1e-6)


def test_a_model_of_windows_is_not_batched(windows: Model) -> None:
    """There the streams run one after the other."""
    assert isinstance(open_streams(windows, 2), SeparateStreams)


def test_reset_of_one_stream(windows: Model) -> None:
    """One stream begins again while the other goes on."""
    pool = DetectorPool(windows, 2)
    audio = np.concatenate([np.zeros(8_000, np.int16), tone("low"), np.zeros(16_000, np.int16)])
    first = pool.process([audio, audio[:12_000]])
    pool.reset(0)
    second = pool.process([audio, audio[12_000:]])
    assert first[0] == second[0] == [*first[1], *second[1]]
    assert 1 == len(first[0])


def test_bad_blocks_change_nothing(windows: Model) -> None:
    """One block that is refused leaves every stream as it was."""
    audio = np.concatenate([np.zeros(8_000, np.int16), tone("high"), np.zeros(8_000, np.int16)])
    pool = DetectorPool(windows, 2)
    with pytest.raises(AudioError, match="NaN"):
        pool.process([audio, np.array([np.nan], np.float32)])
    with pytest.raises(ValueError, match="expected 2 blocks"):
        pool.process([audio])
    assert [[], []] == pool.process([None, None])
    found = pool.process([audio, None])
    assert ["high"] == [each.keyword for each in found[0] + pool.finish(0)]
    assert [] == pool.finish(1)


@pytest.mark.parametrize("streams", [0, -1])
def test_a_pool_of_nothing(windows: Model, streams: int) -> None:
    """There must be a stream."""
    with pytest.raises(ValueError, match="at least 1 stream"):
        DetectorPool(windows, streams)


@pytest.mark.parametrize("stream", [-1, 2])
def test_a_stream_that_is_not_there(windows: Model, stream: int) -> None:
    """Streams are counted from 0."""
    pool = DetectorPool(windows, 2)
    for use in (pool.reset, pool.finish, lambda number: pool.skip(number, 1)):
        with pytest.raises(ValueError, match=f"expected a stream from 0 to 1, got {stream}"):
            use(stream)


def test_threshold_is_checked(windows: Model) -> None:
    """As in a detector."""
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        DetectorPool(windows, 1, threshold=1.5)
