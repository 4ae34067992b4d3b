"""Log-mel frames of many streams, hop by hop: the latest audio is kept, frames are made on demand.

Frames that nobody wants cost nothing, so that a gate may let silence pass and still look back when
speech begins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kws.config import FeatureConfig
from kws.frontend import FloatArray, log_mel_of_frames
from kws.native import LogMel

Int16Array = NDArray[np.int16]


class StreamingFrontend:
    """`log_mel` of a fixed number of streams: the latest hops of each, and the frames in them.

    A hop ends with the newest whole frame; its first frames begin in the audio before it. Frames
    that begin before their stream does are 0.0, as if digital silence had gone before.
    """

    def __init__(
        self, config: FeatureConfig, streams: int, frames: int, kept: int, native: bool = False
    ) -> None:
        """A hop is `frames` frames long; the latest `kept` hops of each stream are kept.

        With `native` the native kernel computes them, which must be able to.
        """
        self._config, self._frames, self._kept = config, frames, kept
        hop = frames * config.hop  # samples
        # So many frames of a hop begin before it, in hops whose audio must be there too.
        self._early = -(-(config.window - config.hop) // config.hop)
        self._overlap = self._early * config.hop  # samples
        self._places = kept + -(-self._overlap // hop)
        # Hop n of a stream lies in place n modulo `_places`. Before the first place stands the end
        # of the last one, in which the frames of the first begin.
        self._samples = np.zeros((streams, self._overlap + self._places * hop), np.int16)
        hops = self._samples[:, self._overlap :].reshape(streams, self._places, hop)
        self._hops = [list(each) for each in hops]
        stream, sample = self._samples.strides
        self._framed = np.lib.stride_tricks.as_strided(
            self._samples,
            (streams, self._places, frames, config.window),
            (stream, hop * sample, config.hop * sample, sample),
            writeable=False,
        )
        self._count = [0] * streams
        self._native = LogMel(config, frames) if native else None
        # Where the first frame of the hop in each place begins; the memory is never another.
        begin = self._samples.ctypes.data
        self._addresses = [
            [begin + each * stream + place * hop * sample for place in range(self._places)]
            for each in range(streams)
        ]

    def reset(self, stream: int) -> None:
        """Forget the audio of one stream; its next hop is its first, number 0."""
        self._samples[stream] = 0
        self._count[stream] = 0

    def append(self, streams: Sequence[int], hops: Int16Array) -> None:
        """Copy the next hop (streams, hop), int16, of each of these streams."""
        for stream, hop in zip(streams, hops, strict=True):
            count = self._count[stream]
            place = count % self._places
            self._hops[stream][place][:] = hop
            self._count[stream] = count + 1
            if place == self._places - 1:
                samples = self._samples[stream]
                samples[: self._overlap] = samples[len(samples) - self._overlap :]

    def append_silence(self, stream: int) -> None:
        """The next hop of a stream is zeros, as all that is kept of it must be by now."""
        self._count[stream] += 1

    def features(self, streams: Sequence[int], numbers: Sequence[int]) -> FloatArray:
        """Frames (streams, frames, width), float32, of one hop of each stream, by its number.

        Those of `log_mel` on the whole stream, bit for bit unless the kernel computes them. Raises
        ValueError where a hop has not come yet or its audio is no longer kept.
        """
        for stream, number in zip(streams, numbers, strict=True):
            count = self._count[stream]
            if not max(0, count - self._kept) <= number < count:
                raise ValueError(f"hop {number} is not among the latest {self._kept} of {count}")
        if self._native:
            places = [
                self._addresses[stream][number % self._places]
                for stream, number in zip(streams, numbers, strict=True)
            ]
            return self._begun(np.stack([self._native.at(place) for place in places]), numbers)
        if len(streams) == 1:  # without the copy that picking several needs
            framed = self._framed[streams[0], numbers[0] % self._places]
        else:
            framed = self._framed[streams, np.array(numbers) % self._places]
            framed = framed.reshape(-1, self._config.window)
        features = log_mel_of_frames(framed, self._config)
        return self._begun(features.reshape(len(streams), self._frames, -1), numbers)

    def _begun(self, features: FloatArray, numbers: Sequence[int]) -> FloatArray:
        """The features, in place, with silence for frames that begin before their stream."""
        for place, number in enumerate(numbers):
            if number * self._frames < self._early:
                features[place, : self._early - number * self._frames] = 0.0
        return features
