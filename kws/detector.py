"""The pipeline in one object: blocks of audio in, detections out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.audio import to_int16
from kws.config import SAMPLE_RATE
from kws.decision import Decider, Detection
from kws.errors import AudioError
from kws.frontend import FloatArray, StreamingFrontend, frame_count
from kws.model import Model, load_model
from kws.vad import SpeechGate

Int16Array = NDArray[np.int16]


class Detector:
    """Finds the keywords in a stream of audio.

    What comes out depends on the audio alone, never on how it was cut into blocks. One detector
    serves one stream; it is not safe to share between threads.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        *,
        threshold: float | None = None,
        vad: bool = True,
        backend: str | None = None,
        provider: str | None = None,
    ) -> None:
        """`model`, `backend` and `provider` are those of `load_model`, or a model it has loaded.

        `threshold` in (0, 1] replaces the model's own for every keyword. Without `vad` the network
        listens to silence too. Raises what `load_model` raises, BackendUnavailable where webrtcvad
        does not import, and ValueError for a threshold outside its range.
        """
        if threshold is not None and not 0.0 < threshold <= 1.0:
            raise ValueError(f"expected a threshold in (0, 1], got {threshold}")
        if not isinstance(model, Model):
            model = load_model(model, backend=backend, provider=provider)
        self.model = model
        manifest = model.manifest
        self._gate = SpeechGate(manifest.vad) if vad else None
        self._stride = _samples(manifest.vad.frame_ms)
        self._hop = _samples(manifest.decision.hop_ms)
        self._preroll = _samples(manifest.vad.preroll_ms)
        memory = SAMPLE_RATE + self._preroll + self._hop + self._stride
        self._frontend = StreamingFrontend(manifest.features, memory)
        thresholds = {
            keyword: manifest.threshold(keyword) if threshold is None else threshold
            for keyword in manifest.keywords
        }
        self._decider = Decider(manifest.labels, thresholds, manifest.decision)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream, as though digital silence had gone before."""
        if self._gate:
            self._gate.reset()
        self._frontend.reset()
        self._decider.reset()
        self._pending: Int16Array = np.empty(0, np.int16)  # less than one stride
        self._heard = 0  # samples, in whole strides
        self._scored = 0  # the sample up to which the network has scored

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.reset()  # what was heard does not outlive the block

    def listen(self, source: Iterable[NDArray[Any]]) -> Iterator[Detection]:
        """The detections of a whole stream: any iterable of blocks that `process` takes."""
        self.reset()
        for block in source:
            yield from self.process(block)
        yield from self.finish()

    def process(self, pcm: NDArray[Any]) -> list[Detection]:
        """Hear a block of 16 kHz mono audio, shape (samples,), of any length, 0 included.

        int16, or float32 in [-1, 1], beyond which it is clipped. Raises AudioError, and leaves the
        stream as it was, for any other block and for one that holds NaN or infinity.
        """
        _check(pcm)
        detections = []
        for begin in range(0, len(pcm), SAMPLE_RATE):  # an hour at once needs no second hour
            block = pcm[begin : begin + SAMPLE_RATE]
            audio = block if block.dtype == np.int16 else to_int16(block)
            audio = np.concatenate((self._pending, audio))
            whole = len(audio) - len(audio) % self._stride
            for step in range(0, whole, self._stride):
                detections += self._step(audio[step : step + self._stride])
            self._pending = audio[whole:]
        return detections

    def finish(self) -> list[Detection]:
        """What the end of the stream still decides, as though silence followed; then `reset`."""
        length = (self._heard + len(self._pending)) / SAMPLE_RATE
        silence = np.zeros(_samples(self.model.manifest.vad.hangover_ms), np.int16)
        detections = [replace(late, end=min(late.end, length)) for late in self.process(silence)]
        self.reset()
        return detections

    def _step(self, audio: Int16Array) -> list[Detection]:
        """Hear one stride, as much as the gate takes at once."""
        self._frontend.append(audio)
        self._heard += len(audio)
        if self._gate and not self._gate.process(audio):
            return []
        # Every hop of the stream since the last one scored; as the gate opens, those of the
        # preroll. The hops lie on one grid, whenever the gate opens.
        earliest = max(self._scored + 1, self._heard - self._preroll)
        ends = range(-(-earliest // self._hop) * self._hop, self._heard + 1, self._hop)
        if not ends:
            return []
        self._scored = ends[-1]
        decided = (
            self._decider.update(posteriors, end - SAMPLE_RATE, end)
            for posteriors, end in zip(self._posteriors(ends), ends, strict=True)
        )
        return [detection for detection in decided if detection is not None]

    def _posteriors(self, ends: range) -> FloatArray:
        """Posteriors (len(ends), labels) of the seconds that end at these samples."""
        frames = self.model.frames
        lasts = [frame_count(end, self._frontend.config) for end in ends]
        features = self._frontend.frames(lasts[0] - frames, lasts[-1])
        windows = [features[last - lasts[0] :][:frames] for last in lasts]
        return self.model.backend.run(np.stack(windows))


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000


def _check(pcm: NDArray[Any]) -> None:
    wanted = "expected a one-dimensional NumPy array of int16 or float32"
    if not isinstance(pcm, np.ndarray):
        raise AudioError(f"{wanted}, got {type(pcm).__name__}; np.frombuffer(data, np.int16) helps")
    if pcm.dtype not in (np.int16, np.float32):
        raise AudioError(f"{wanted}, got {pcm.dtype}; convert it, floats to the range -1 to 1")
    if pcm.ndim != 1:
        raise AudioError(f"{wanted}, got shape {pcm.shape}; take one channel of it")
    if pcm.dtype == np.float32 and not np.isfinite(pcm).all():
        bad = int(np.count_nonzero(~np.isfinite(pcm)))
        raise AudioError(f"{bad} of {len(pcm)} samples are NaN or infinite; the block was left out")
