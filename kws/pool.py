"""Many streams at once: the front end and the network run one time for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.audio import to_int16
from kws.config import SAMPLE_RATE, FeatureConfig
from kws.decision import Deciders, Detection
from kws.detector import check_block, clip_ends, decision_settings, silence_after
from kws.frontend import FloatArray, log_mel_of_frames
from kws.model.batched import open_streams
from kws.model.load import Model, load_model
from kws.vad import SpeechGate
from kws.verifier import Verifier

Int16Array = NDArray[np.int16]

NOTHING: Int16Array = np.empty(0, np.int16)


class DetectorPool:
    """A fixed number of streams, in each of which it detects what a `Detector` of its own would.

    The cheapest way to hear several microphones, or an archive: most of what a hop costs one
    stream is the same for thirty. Not safe to share between threads.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        streams: int = 1,
        *,
        threshold: float | None = None,
        sensitivity: str | None = None,
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
        manifest = model.manifest
        self._features = manifest.features
        self._network = open_streams(model, streams)
        self._labels = len(manifest.labels)
        self._verifier = (
            Verifier(model, self._network.frames, streams) if verify and model.verifier else None
        )
        verified = self._verifier is not None
        settings = decision_settings(manifest, threshold, sensitivity, isolated, verified)
        self._deciders = Deciders(manifest.labels, *settings, streams)
        self._gates = [SpeechGate(manifest.vad) for _ in range(streams)] if vad else None
        self._hop = self._network.frames * self._features.hop  # samples
        self._preroll = -(-manifest.vad.preroll_ms * SAMPLE_RATE // 1000 // self._hop)  # hops
        self._audio = RecentAudio(self._features, streams, self._network.frames, self._preroll + 2)
        self._pending: list[Int16Array] = [NOTHING] * streams  # less than a hop each
        self._heard = np.zeros(streams, np.int64)  # whole hops
        self._scored = np.zeros(streams, np.int64)  # of them, scored or rested through

    def __len__(self) -> int:
        return len(self._pending)

    def reset(self, stream: int) -> None:
        """Let one stream begin anew, as though digital silence had gone before."""
        if self._gates:
            self._gates[stream].reset()
        self._forget(stream)
        self._deciders.reset(stream)
        self._audio.reset(stream)
        self._pending[stream] = NOTHING
        self._heard[stream] = self._scored[stream] = 0

    def process(self, blocks: Sequence[NDArray[Any] | None]) -> list[list[Detection]]:
        """Hear a block of each stream, as `Detector.process` does; None is a block of no samples.

        Returns the detections of each stream. Raises AudioError, and leaves all streams as they
        were, for a block that `Detector.process` refuses, and ValueError for another number of
        blocks than there are streams.
        """
        if len(blocks) != len(self):
            raise ValueError(f"expected {len(self)} blocks, one per stream, got {len(blocks)}")
        heard = [(stream, block) for stream, block in enumerate(blocks) if block is not None]
        for _, block in heard:
            check_block(block)
        for stream, block in heard:
            audio = block if block.dtype == np.int16 else to_int16(block)
            rest = self._pending[stream]
            self._pending[stream] = np.concatenate((rest, audio)) if len(rest) else audio
        detections: list[list[Detection]] = [[] for _ in blocks]
        for begin in range(0, max(map(len, self._pending)) - self._hop + 1, self._hop):
            end = begin + self._hop
            ready = [s for s, audio in enumerate(self._pending) if len(audio) >= end]
            hops = np.concatenate([self._pending[stream][begin:end] for stream in ready])
            for stream, detection in self._hear(ready, hops.reshape(-1, self._hop)):
                detections[stream].append(detection)
        for stream, _ in heard:
            audio = self._pending[stream]
            left = len(audio) % self._hop
            # A copy: the blocks are the caller's, and may be long.
            self._pending[stream] = audio[len(audio) - left :].copy() if left else NOTHING
        return detections

    def finish(self, stream: int) -> list[Detection]:
        """What the end of one stream still decides, as `Detector.finish`; then `reset` it."""
        length = int(self._heard[stream]) * self._hop + len(self._pending[stream])
        blocks: list[NDArray[Any] | None] = [None] * len(self)
        blocks[stream] = silence_after(self.model.manifest)
        late = clip_ends(self.process(blocks)[stream], length)
        self.reset(stream)
        return late

    def _hear(self, ready: list[int], hops: Int16Array) -> Iterator[tuple[int, Detection]]:
        """Hear one hop (ready, hop) of each of these streams."""
        self._audio.append(ready, self._heard[ready], hops)
        self._heard[ready] += 1
        if self._gates:
            gates = self._gates
            ready = [s for s, hop in zip(ready, hops, strict=True) if gates[s].process(hop)]
        if not ready:
            return
        speaking = np.array(ready)
        # One hop each, but where a gate has just opened the network catches up on the preroll.
        behind = self._heard[speaking] - self._scored[speaking]
        if self._gates and (behind > 1 + self._preroll).any():
            self._rest(speaking, behind - 1 - self._preroll)
            behind = np.minimum(behind, 1 + self._preroll)
        begins = np.cumsum(behind) - behind
        hop_of_stream = np.arange(behind.sum()) - np.repeat(begins, behind)
        numbers = np.repeat(self._scored[speaking], behind) + hop_of_stream
        features = self._frames(np.repeat(speaking, behind), numbers)
        self._scored[speaking] = self._heard[speaking]
        posteriors = np.empty((len(features), self._network.steps, self._labels), np.float32)
        for turn in range(int(behind.max())):
            more = behind > turn
            places = begins[more] + turn
            streams = speaking[more].tolist()
            rows = self._network.process(streams, features[places])
            if self._verifier:
                rows = self._verifier.process(streams, features[places], rows)
            posteriors[places] = rows
        for hops_each in sorted(set(behind.tolist())):  # in one go for all with as many
            alike = behind == hops_each
            places = begins[alike][:, None] + np.arange(hops_each)
            rows = posteriors[places].reshape(len(places), -1, self._labels)
            yield from self._deciders.update(speaking[alike].tolist(), rows)

    def _rest(self, streams: NDArray[np.int64], hops: NDArray[np.int64]) -> None:
        """Skip what was heard before the preroll while the gates of these were closed."""
        for stream, rested in zip(streams.tolist(), hops.tolist(), strict=True):
            if rested > 0:
                self._forget(stream)
                self._scored[stream] += rested
                self._deciders.rest(stream, rested * self._network.steps)

    def _forget(self, stream: int) -> None:
        """Let the networks of one stream begin again, as though silence had gone before."""
        self._network.reset(stream)
        if self._verifier:
            self._verifier.reset(stream)

    def _frames(self, streams: NDArray[np.int64], numbers: NDArray[np.int64]) -> FloatArray:
        """The features (hops, frames, bands) of these hops, each a stream and a number in it."""
        config = self._features
        framed = self._audio.frames(streams, numbers)
        features = log_mel_of_frames(framed.reshape(-1, config.window), config)
        features = features.reshape(len(streams), self._network.frames, -1)
        # Frames that begin before the stream does are silence; see StreamingFrontend.
        features[numbers == 0, : -(-(config.window - config.hop) // config.hop)] = 0.0
        return features


class RecentAudio:
    """The latest hops of each stream, each in the place of its number, round and round."""

    def __init__(self, config: FeatureConfig, streams: int, frames: int, hops: int) -> None:
        """`frames` to a hop, and so many `hops` of each stream are kept."""
        self._kept = hops
        # Frames of a hop begin in the audio before it; before the first place stands the last.
        self._overlap = config.window - config.hop
        hop = frames * config.hop
        self._samples = np.zeros((streams, self._overlap + hops * hop), np.int16)
        self._hops = self._samples[:, self._overlap :].reshape(streams, hops, hop)
        stream, sample = self._samples.strides
        self._frames = np.lib.stride_tricks.as_strided(
            self._samples,
            (streams, hops, frames, config.window),
            (stream, hop * sample, config.hop * sample, sample),
            writeable=False,
        )

    def reset(self, stream: int) -> None:
        """Forget one stream: digital silence went before."""
        self._samples[stream] = 0

    def append(self, streams: list[int], numbers: NDArray[np.int64], hops: Int16Array) -> None:
        """Keep one hop (streams, hop) of each of these streams, the one of that number in it."""
        places = numbers % self._kept
        self._hops[streams, places] = hops
        for which in np.flatnonzero(places == self._kept - 1).tolist():
            samples = self._samples[streams[which]]
            samples[: self._overlap] = samples[len(samples) - self._overlap :]

    def frames(self, streams: NDArray[np.int64], numbers: NDArray[np.int64]) -> Int16Array:
        """The frames (hops, frames, window) of these hops, each a stream and a number in it."""
        framed: Int16Array = self._frames[streams, numbers % self._kept]
        return framed
