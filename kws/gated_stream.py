"""The streaming engine, for any number of streams: hops, gate, pre-roll, catch-up, verifier.

Audio goes in, rows of posteriors come out, one per 20 ms while somebody speaks. What comes out of a
stream depends on its audio alone: not on how it was cut into blocks, nor on other streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.audio.block import AudioBlock
from kws.audio.convert import to_int16
from kws.config import SAMPLE_RATE, STEP_MS
from kws.errors import ModelError
from kws.frontend import FloatArray, step_levels
from kws.model.batched import open_streams
from kws.model.load import Model
from kws.streaming_frontend import StreamingFrontend
from kws.vad import SpeechGate
from kws.verifier import Query, Verifier

Int16Array = NDArray[np.int16]
_INT16 = np.dtype(np.int16)


@dataclass(frozen=True)
class GatedRows:
    """What the network made of one hop of some streams."""

    streams: Sequence[int]  # their numbers, ascending
    rested: Sequence[int]  # of each, steps just before this hop through which the network rested
    posteriors: FloatArray  # (streams, steps, labels), a row per 20 ms, verified but for `queries`
    unverified: FloatArray  # likewise, as the first network gave them
    features: FloatArray  # (streams, frames, width), log-mel, that the posteriors were made of
    levels: FloatArray  # (streams, steps), how loud each step is, see `step_levels`
    queries: Sequence[Query | None] = ()  # of each stream, what is left to verify; () for nothing


class GatedStreams:
    """A fixed number of streams through the gate and the network of one model.

    While the gate of a stream is closed, nothing of it is computed. As it opens, the network begins
    again in digital silence and catches up on the pre-roll.
    """

    def __init__(
        self,
        model: Model,
        streams: int = 1,
        vad: bool = True,
        verify: bool = True,
        later: bool = False,
    ) -> None:
        """With `verify` the model's verifier, where it has one, is queried about candidates.

        With `later` it is not: the queries are left in the rows.

        Raises BackendUnavailable where webrtcvad does not import, and ModelError where the
        manifest's times do not fit its network.
        """
        manifest = model.manifest
        self._features = manifest.features
        self._network = open_streams(model, streams)
        self.hop = self._network.frames * manifest.features.hop  # samples
        hop_ms = self.hop * 1000 // SAMPLE_RATE
        if hop_ms != self._network.steps * STEP_MS:
            raise ModelError(
                f"{model.path}: expected a row of posteriors per {STEP_MS} ms, "
                f"got {self._network.steps} in {hop_ms} ms"
            )
        if vad and hop_ms % manifest.vad.frame_ms:
            raise ModelError(
                f"{model.path}: expected a vad.frame_ms that divides {hop_ms}, "
                f"got {manifest.vad.frame_ms}"
            )
        self._gate_frames = hop_ms // manifest.vad.frame_ms  # of a hop
        self._gates = [SpeechGate(manifest.vad) for _ in range(streams)] if vad else None
        self._preroll = -(-manifest.vad.preroll_ms // hop_ms)  # hops
        self.verifier = (
            Verifier(model, self._network.frames, streams) if verify and model.verifier else None
        )
        self._later = later
        self._frontend = StreamingFrontend(
            manifest.features,
            streams,
            self._network.frames,
            self._preroll + 1,
            native=model.native_graph is not None,
        )
        self._zeros = np.zeros(self.hop, np.int16).tobytes()
        self._begun = [b""] * streams  # a hop of each, int16, as far as it came
        self._received = [0] * streams  # whole hops
        self._processed = [0] * streams  # of them, by the network, or rested through

    def __len__(self) -> int:
        return len(self._received)

    def reset(self, stream: int) -> None:
        """Begin one stream again, as though digital silence had gone before."""
        if self._gates:
            self._gates[stream].reset()
        self._restart(stream)
        self._frontend.reset(stream)
        self._begun[stream] = b""
        self._received[stream] = self._processed[stream] = 0

    def samples(self, stream: int) -> int:
        """How many samples of a stream have come since it began."""
        return self._received[stream] * self.hop + len(self._begun[stream]) // 2

    def hold(self, stream: int, block: AudioBlock) -> bool:
        """Keep a block that completes no hop until the next one; False, and nothing kept, if it
        does. Most blocks of a source that gives short ones end here."""
        begun = self._begun[stream]
        if len(begun) + 2 * len(block) >= len(self._zeros):
            return False
        samples = block if block.dtype is _INT16 else _int16(block)
        self._begun[stream] = begun + samples.tobytes()
        return True

    def rest(self, stream: int, block: AudioBlock) -> bool:
        """Take a block that completes a hop of digital silence, and no more, while the gate rests:
        no rows come of it. False, and nothing taken, for any other."""
        gate = self._gates[stream] if self._gates else None
        if gate is None or not gate.rests:  # after more zeros than the front end keeps
            return False
        begun, zeros = self._begun[stream], self._zeros
        if len(begun) + 2 * len(block) != len(zeros) or begun + _int16(block).tobytes() != zeros:
            return False
        gate.rest(self._gate_frames)
        self._frontend.append_silence(stream)
        self._received[stream] += 1
        self._begun[stream] = b""
        return True

    def cut(self, blocks: Sequence[AudioBlock | None]) -> Iterator[tuple[list[int], Int16Array]]:
        """The next block of each stream in whole hops: streams, ascending, and hops (streams, hop).

        A block has shape (samples,), int16 or float32, and any length; None is one of no samples.
        What does not fill a hop waits for the next call. All of it must be taken.
        """
        given = {stream: block for stream, block in enumerate(blocks) if block is not None}
        if len(given) == 1:
            (stream,) = given
            streams = [stream]
            for hop in self._hops(stream, given[stream]):
                yield streams, hop[None]
            return
        for hops in zip_longest(*[self._hops(*each) for each in given.items()]):
            ready = [s for s, hop in zip(given, hops, strict=True) if hop is not None]
            yield ready, np.stack([hop for hop in hops if hop is not None])

    def _hops(self, stream: int, block: AudioBlock) -> Iterator[Int16Array]:
        """The hops (hop,) that a block completes; the rest of it waits for the next."""
        if self.hold(stream, block):
            return
        begun = self._begun[stream]
        before = len(begun) // 2
        first, last = self.hop - before, len(block) - (before + len(block)) % self.hop
        self._begun[stream] = _int16(block[last:]).tobytes()
        if begun:
            yield np.frombuffer(begun + _int16(block[:first]).tobytes(), np.int16)
        else:
            first = 0
        for begin in range(first, last, self.hop):
            yield _int16(block[begin : begin + self.hop])

    def rows(self, streams: Sequence[int], hops: Int16Array) -> list[GatedRows]:
        """Rows of the next hop (streams, hop) of each of these streams; none of a closed gate.

        Where a gate has just opened, its stream comes several times: the pre-roll, then this hop.
        """
        self._frontend.append(streams, hops)
        for stream in streams:
            self._received[stream] += 1
        if self._gates:
            gates = self._gates
            streams = [
                stream
                for stream, hop in zip(streams, hops, strict=True)
                if gates[stream].is_open(hop)
            ]
            if not streams:  # as most of the time
                return []
        rested = [self._rest(stream) for stream in streams]
        rows = []
        while streams:  # once, but for those that catch up
            numbers = [self._processed[stream] for stream in streams]
            features = self._frontend.features(streams, numbers)
            unverified = posteriors = self._network.posteriors(streams, features)
            queries: Sequence[Query | None] = ()
            if self.verifier and self._later:
                queries = self.verifier.queries_about(streams, features, unverified)
            elif self.verifier:
                posteriors = self.verifier.verified(streams, features, unverified)
            levels = step_levels(features, self._features)
            rows.append(
                GatedRows(streams, rested, posteriors, unverified, features, levels, queries)
            )
            for stream in streams:
                self._processed[stream] += 1
            streams = [s for s in streams if self._processed[s] < self._received[s]]
            rested = [0] * len(streams)
        return rows

    def _rest(self, stream: int) -> int:
        """Skip what is older than the pre-roll of a gate that has just opened; returns steps."""
        rested = self._received[stream] - 1 - self._preroll - self._processed[stream]
        if not self._gates or rested <= 0:
            return 0
        self._restart(stream)
        self._processed[stream] += rested
        return rested * self._network.steps

    def _restart(self, stream: int) -> None:
        """Let the networks begin again, as though digital silence had gone before."""
        self._network.reset(stream)
        if self.verifier:
            self.verifier.reset(stream)


def _int16(block: NDArray[Any]) -> Int16Array:
    return block if block.dtype == _INT16 else to_int16(block)
