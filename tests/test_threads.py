"""What may be shared between threads, and what says that it may not."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from kws import AudioFile, Detection, Detector, DetectorPool, KwsError, load_model
from kws.demo import RECORDING
from kws.frontend import FloatArray
from kws.guard import Guard

pytest.importorskip("onnxruntime")

Int16Array = NDArray[np.int16]
THREADS = 4


@pytest.fixture(scope="module")
def demonstration() -> Int16Array:
    """Six seconds of the recording of `kws listen --demo`."""
    with AudioFile(RECORDING) as source:
        return np.concatenate(list(source))[: 6 * 16_000]


@pytest.mark.parametrize("artefact", ["stream.onnx", "window.int8.tflite", "stream.tflite"])
def test_threads_share_a_model(artefact: str, demonstration: Int16Array) -> None:
    """Detectors of one Model in several threads at once find what one alone finds."""
    if artefact.endswith("tflite"):
        pytest.importorskip("ai_edge_litert", reason="no TFLite runtime is installed")
    model = load_model(artefact=artefact)
    audio = demonstration[: (6 if artefact.startswith("stream") else 3) * 16_000]
    expected = list(Detector(model).listen([audio]))
    assert expected
    start = threading.Barrier(THREADS)

    def listen(_: int) -> list[Detection]:
        detector = Detector(model)
        start.wait()
        return list(detector.listen(np.array_split(audio, 40)))

    with ThreadPoolExecutor(THREADS) as executor:
        for found in executor.map(listen, range(THREADS)):
            assert expected == found


class Waiting:
    """An observer that holds a detector up, in the middle of a call, until it is told to go on."""

    def __init__(self) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        self.inside.set()
        assert self.go_on.wait(30)


def test_a_second_thread_is_told(demonstration: Int16Array) -> None:
    """While one call runs, every other one raises KwsError, and the first is not disturbed."""
    expected = list(Detector().listen([demonstration]))
    waiting = Waiting()
    detector = Detector(observer=waiting)
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(lambda: detector.process(demonstration) + detector.finish())
        assert waiting.inside.wait(30)
        for use in (
            lambda: detector.process(demonstration),
            detector.finish,
            detector.reset,
            detector.close,
            lambda: detector.skip(1),
        ):
            with pytest.raises(KwsError, match="in use by another call; give each thread a Detect"):
                use()
        waiting.go_on.set()
        assert expected == first.result()
    assert [] == detector.process(demonstration[:0])


def test_after_an_error_it_can_be_used(demonstration: Int16Array) -> None:
    """A call that fails leaves the detector free for the next."""
    detector = Detector()
    for _ in range(2):
        with pytest.raises(KwsError, match="got float64"):
            detector.process(demonstration.astype(float))  # type: ignore[arg-type]
    assert detector.process(demonstration)


def test_a_closed_pool() -> None:
    """A pool is closed as a detector is."""
    with DetectorPool(streams=2) as pool:
        assert [[], []] == pool.process([None, None])
    pool.close()
    for use in (
        lambda: pool.process([None, None]),
        lambda: pool.finish(0),
        lambda: pool.reset(0),
        lambda: pool.skip(0, 1),
    ):
        with pytest.raises(KwsError, match="this DetectorPool is closed; make a new one"):
            use()


def test_guard_within_itself() -> None:
    """The same thread cannot enter twice either: an observer must not use its detector."""
    guard = Guard("Thing")
    with guard, pytest.raises(KwsError, match="this Thing is in use"), guard:
        pass
    with guard:
        pass
