"""The public detector of one stream: blocks of audio in, detections out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kws.audio.block import AudioBlock, check_block
from kws.audio.gap import Gap
from kws.decision import Detection
from kws.frontend import FloatArray
from kws.guard import Guard
from kws.keyword_streams import KeywordStreams, ProcessedHop
from kws.model.load import Model, load_model
from kws.operating_point import OperatingPoint, Sensitivity

Int16Array = NDArray[np.int16]


@runtime_checkable
class Observer(Protocol):
    """A callback that receives the audio, posteriors and detections of a detector."""

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """A hop of audio (hop,), the posteriors (steps, labels) of it and of what the network
        caught up on, and what was detected in them."""


class Detector:
    """Finds the keywords in a stream of audio.

    What comes out depends on the audio alone, never on how it was cut into blocks. One detector
    serves one stream and one thread at a time: a second thread gets a KwsError. The Model that it
    runs may be shared by any number of detectors and threads.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        *,
        threshold: float | Mapping[str, float] | None = None,
        sensitivity: Sensitivity | None = None,
        keywords: Iterable[str] | None = None,
        isolated: bool = True,
        vad: bool = True,
        verify: bool = True,
        backend: str | None = None,
        provider: str | None = None,
        observer: Observer | None = None,
    ) -> None:
        """`model`, `backend` and `provider` are those of `load_model`, or a model it has loaded.

        `threshold` in (0, 1] replaces the model's own: one number for every keyword, or a mapping
        for some of them, such as {"stop": 0.5}. `sensitivity` chooses among the operating points
        that came with the model. `keywords` are those to detect, such as ("stop", "go"); the
        model's others count as other speech. Commands are spoken alone: speech just before a word
        raises its threshold, unless `isolated` is false. Without `vad` the network runs in silence
        too, and without `verify` the model's verifier, a larger network that confirms candidates,
        is left out. `observer` is called after each hop of audio; it makes the verifier run for
        every candidate, and not only where that could make a detection.

        Raises what `load_model` raises, BackendUnavailable where webrtcvad does not import, and
        SettingError for a threshold, sensitivity or keyword that does not exist.
        """
        if not isinstance(model, Model):
            model = load_model(model, backend=backend, provider=provider)
        self.model = model
        point = OperatingPoint.of(
            model,
            threshold=threshold,
            sensitivity=sensitivity,
            keywords=keywords,
            isolated=isolated,
            verify=verify,
        )
        self.thresholds = point.thresholds  # of each keyword that it detects
        self._observer = observer
        self._streams = KeywordStreams(model, point, 1, vad, observed=observer is not None)
        self._hold, self._rest = self._streams.hold, self._streams.rest
        self._guard = Guard("Detector")

    @property
    def keywords(self) -> tuple[str, ...]:
        """The words that it detects, in the model's order."""
        return tuple(self.thresholds)

    def reset(self) -> None:
        """Begin a new stream, as though digital silence had gone before."""
        with self._guard:
            self._streams.reset(0)

    def close(self) -> None:
        """Forget the audio for good; using the detector afterwards raises a KwsError.

        May be called twice.
        """
        self._guard.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def listen(self, source: Iterable[AudioBlock | Gap]) -> Iterator[Detection]:
        """The detections of a whole stream: any iterable of blocks that `process` takes.

        For a Gap among the blocks it calls `skip`. Where the source has a method
        `unix_time(stream_seconds)`, such as a microphone's, detections have their `time` by it.
        """
        self.reset()
        unix_time: Callable[[float], float] | None = getattr(source, "unix_time", None)
        for found in self._found(source):
            yield replace(found, time=unix_time(found.end)) if unix_time else found

    def _found(self, source: Iterable[AudioBlock | Gap]) -> Iterator[Detection]:
        for block in source:
            yield from self.skip(block.samples) if isinstance(block, Gap) else self.process(block)
        yield from self.finish()

    def process(self, pcm: AudioBlock) -> list[Detection]:
        """Process a block of 16 kHz mono audio, shape (samples,), of any length, 0 included.

        int16, or float32 in [-1, 1], beyond which it is clipped. Raises AudioError, and leaves the
        stream as it was, for any other block, for one that holds NaN or infinity, and for floats
        of the size of int16 that was not scaled.
        """
        guard = self._guard
        if not guard.try_enter():
            guard.refuse()
        try:
            check_block(pcm)
            if self._hold(0, pcm):
                return []
            if self._rest(0, pcm):
                if self._observer:
                    self._observer.observe(self._streams.silence, (), ())
                return []
            return self._detections(self._streams.hops([pcm]))
        finally:
            guard.leave()

    def finish(self) -> list[Detection]:
        """What the end of the stream still decides, as though silence followed; then `reset`."""
        with self._guard:
            return self._detections(self._streams.finish(0))

    def skip(self, samples: int) -> list[Detection]:
        """So many samples of the stream, at least 1, were lost: its clock goes on without them.

        The network and the decision begin afresh, as after silence. Returns what the audio before
        the gap still decides. Raises ValueError for a smaller number.
        """
        with self._guard:
            return self._detections(self._streams.skip(0, samples))

    def _detections(self, hops: Iterator[ProcessedHop]) -> list[Detection]:
        detections: list[Detection] = []
        for hop in hops:
            found = [detection for _, detection in hop.detections]
            if self._observer:
                rows = [rows.posteriors[0] for rows in hop.rows]
                self._observer.observe(hop.audio[0], rows, found)
            detections += found
        return detections
