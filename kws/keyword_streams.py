"""Keywords in many streams: the engine, what its rows decide, and when that was in each stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import index

import numpy as np
from numpy.typing import NDArray

from kws.audio.block import AudioBlock
from kws.config import SAMPLE_RATE
from kws.decision import Deciders, Detection
from kws.gated_stream import GatedRows, GatedStreams
from kws.late_verification import LateVerification, decide
from kws.model.load import Model
from kws.model.manifest import Manifest
from kws.operating_point import OperatingPoint

Int16Array = NDArray[np.int16]


@dataclass(frozen=True)
class ProcessedHop:
    """One hop of some streams, and what came of it."""

    audio: Int16Array  # (streams, hop)
    rows: Sequence[GatedRows]  # none while all gates are closed; several where one has just opened
    detections: Sequence[tuple[int, Detection]]  # the stream's number and what it detected


class KeywordStreams:
    """A fixed number of streams, each with its own clock, in which keywords are detected."""

    def __init__(
        self, model: Model, point: OperatingPoint, streams: int, vad: bool, observed: bool = False
    ) -> None:
        """Where the posteriors are not `observed`, only what may be detected is verified.

        Raises what GatedStreams does.
        """
        self._streams = GatedStreams(model, streams, vad, point.verified, later=not observed)
        self._deciders = Deciders(
            model.manifest.labels, point.thresholds, point.config, streams, point.keywords
        )
        # Blocks of which nothing comes, without the way through the engine; see there.
        self.hold, self.rest = self._streams.hold, self._streams.rest
        self.silence = np.zeros(self._streams.hop, np.int16)  # the hop that `rest` takes
        self.silence.flags.writeable = False
        verifier = None if observed else self._streams.verifier
        self._late = LateVerification(self._deciders, verifier) if verifier else None
        self._end = silence_after(model.manifest)
        self._origin = [0] * streams  # samples on a stream's clock before its last gap's end

    def __len__(self) -> int:
        return len(self._origin)

    def reset(self, stream: int) -> None:
        """Begin one stream again at 0 s, as though digital silence had gone before."""
        self._streams.reset(stream)
        self._deciders.reset(stream)
        if self._late:
            self._late.reset(stream)
        self._origin[stream] = 0

    def hops(self, blocks: Sequence[AudioBlock | None]) -> Iterator[ProcessedHop]:
        """Take the next block of each stream; see GatedStreams.cut. All of it must be taken."""
        for streams, hops in self._streams.cut(blocks):
            rows = self._streams.rows(streams, hops)
            found = [each for some in rows for each in self._decide(some)]
            yield ProcessedHop(hops, rows, [(s, self._timed(s, each)) for s, each in found])

    def _decide(self, rows: GatedRows) -> list[tuple[int, Detection]]:
        return self._late.decide(rows) if self._late else decide(self._deciders, rows)

    def finish(self, stream: int) -> Iterator[ProcessedHop]:
        """What the end of one stream still decides, as though silence followed; then `reset`."""
        position = self._position(stream)
        blocks: list[Int16Array | None] = [None] * len(self)
        blocks[stream] = self._end
        for hop in self.hops(blocks):
            found = [(stream, clip_end(each, position / SAMPLE_RATE)) for _, each in hop.detections]
            yield replace(hop, detections=found)
        self.reset(stream)

    def skip(self, stream: int, samples: int) -> Iterator[ProcessedHop]:
        """As `finish`, but the stream's clock goes on, by so many samples that were lost.

        Raises ValueError for fewer than 1, and TypeError for no whole number.
        """
        if index(samples) < 1:
            raise ValueError(f"expected at least 1 lost sample, got {samples}")
        position = self._position(stream)
        yield from self.finish(stream)
        self._origin[stream] = position + samples

    def _position(self, stream: int) -> int:
        """Samples on a stream's clock by now."""
        return self._origin[stream] + self._streams.samples(stream)

    def _timed(self, stream: int, detection: Detection) -> Detection:
        """A detection on its stream's clock, which knows of gaps."""
        seconds = self._origin[stream] / SAMPLE_RATE
        if not seconds:
            return detection
        return replace(detection, start=detection.start + seconds, end=detection.end + seconds)


def silence_after(manifest: Manifest) -> Int16Array:
    """What is processed at the end of a stream, so that its last word is decided."""
    return np.zeros(SAMPLE_RATE * manifest.vad.hangover_ms // 1000, np.int16)


def clip_end(detection: Detection, seconds: float) -> Detection:
    """The detection, decided no later than its stream of so many seconds ended."""
    return replace(detection, end=min(detection.end, seconds))
