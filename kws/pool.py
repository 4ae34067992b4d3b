"""The public detector of many streams: the front end and the network run once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType

from kws.audio.block import AudioBlock, check_block
from kws.decision import Detection
from kws.guard import Guard
from kws.keyword_streams import KeywordStreams, ProcessedHop
from kws.model.load import Model, load_model
from kws.operating_point import OperatingPoint, Sensitivity


class DetectorPool:
    """A fixed number of streams, in each of which it detects what a `Detector` of its own would.

    The cheapest way to process several microphones, or an archive: most of what a hop costs one
    stream is the same for thirty. It serves one thread at a time, as a `Detector` does.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        streams: int = 1,
        *,
        threshold: float | Mapping[str, float] | None = None,
        sensitivity: Sensitivity | None = None,
        keywords: Iterable[str] | None = None,
        isolated: bool = True,
        vad: bool = True,
        verify: bool = True,
        backend: str | None = None,
        provider: str | None = None,
    ) -> None:
        """`streams` is how many there are, at least 1; the rest is as in `Detector`."""
        if streams < 1:
            raise ValueError(f"expected at least 1 stream, got {streams}")
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
        self._streams = KeywordStreams(model, point, streams, vad)
        self._guard = Guard("DetectorPool")

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The words that it detects, in the model's order."""
        return tuple(self.thresholds)

    def reset(self, stream: int) -> None:
        """Let one stream begin again, as though digital silence had gone before."""
        with self._guard:
            self._streams.reset(self._known(stream))

    def close(self) -> None:
        """As `Detector.close`."""
        self._guard.close()

    def __enter__(self) -> DetectorPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def process(self, blocks: Sequence[AudioBlock | None]) -> list[list[Detection]]:
        """Process a block of each stream, as `Detector.process` does; None is one of no samples.

        Returns the detections of each stream. Raises AudioError, and leaves all streams as they
        were, for a block that `Detector.process` refuses, and ValueError for another number of
        blocks than there are streams.
        """
        with self._guard:
            if len(blocks) != len(self):
                raise ValueError(f"expected {len(self)} blocks, one per stream, got {len(blocks)}")
            for block in blocks:
                if block is not None:
                    check_block(block)
            return self._detections(self._streams.hops(blocks))

    def finish(self, stream: int) -> list[Detection]:
        """What the end of one stream still decides, as `Detector.finish`; then `reset` it."""
        with self._guard:
            return self._detections(self._streams.finish(self._known(stream)))[stream]

    def skip(self, stream: int, samples: int) -> list[Detection]:
        """So many samples of one stream were lost; as `Detector.skip`."""
        with self._guard:
            return self._detections(self._streams.skip(self._known(stream), samples))[stream]

    def _known(self, stream: int) -> int:
        """The number of a stream; raises ValueError where there is no such stream."""
        if not 0 <= stream < len(self):
            raise ValueError(f"expected a stream from 0 to {len(self) - 1}, got {stream}")
        return stream

    def _detections(self, hops: Iterator[ProcessedHop]) -> list[list[Detection]]:
        detections: list[list[Detection]] = [[] for _ in range(len(self))]
        for hop in hops:
            for stream, detection in hop.detections:
                detections[stream].append(detection)
        return detections
