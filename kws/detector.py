"""The pipeline in one object: blocks of audio in, detections out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kws.audio import to_int16
from kws.config import SAMPLE_RATE, DecisionConfig
from kws.decision import Decider, Detection
from kws.errors import AudioError
from kws.frontend import FloatArray
from kws.listener import Listener
from kws.model.load import Model, load_model
from kws.model.manifest import MODES, Manifest

Int16Array = NDArray[np.int16]


class Observer(Protocol):
    """Something that looks over a detector's shoulder."""

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """A hop of audio, the rows of posteriors (steps, labels) that it led to, and what fired."""


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
        sensitivity: str | None = None,
        isolated: bool = True,
        vad: bool = True,
        verify: bool = True,
        backend: str | None = None,
        provider: str | None = None,
        observer: Observer | None = None,
    ) -> None:
        """`model`, `backend` and `provider` are those of `load_model`, or a model it has loaded.

        `threshold` in (0, 1] replaces the model's own for every keyword; `sensitivity`, "low",
        "medium" or "high", chooses among the operating points that came with the model. Commands
        are spoken alone: speech just before a word raises its threshold, unless `isolated` is
        false. Without `vad` the network listens to silence too, and without `verify` the model's
        verifier, a larger network that confirms what the first one hears, is left out. `observer`
        is told of everything that is heard. Raises what `load_model` raises, BackendUnavailable
        where webrtcvad does not import, and ValueError for a threshold or sensitivity that does
        not exist.
        """
        if not isinstance(model, Model):
            model = load_model(model, backend=backend, provider=provider)
        self.model = model
        self._observer = observer
        self._listener = Listener(model, vad, verify)
        verified = verify and model.verifier is not None
        self.thresholds, config = decision_settings(
            model.manifest, threshold, sensitivity, isolated, verified
        )
        self._decider = Decider(model.manifest.labels, self.thresholds, config)
        self._hop = np.zeros(self._listener.hop, np.int16)  # fills up block by block
        self.reset()

    def reset(self) -> None:
        """Begin a new stream, as though digital silence had gone before."""
        self._listener.reset()
        self._decider.reset()
        self._filled = 0  # samples of _hop
        self._heard = 0  # samples

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
        check_block(pcm)
        detections = []
        for begin in range(0, len(pcm), SAMPLE_RATE):  # an hour at once needs no second hour
            block = pcm[begin : begin + SAMPLE_RATE]
            detections += self._hear(block if block.dtype == np.int16 else to_int16(block))
        return detections

    def finish(self) -> list[Detection]:
        """What the end of the stream still decides, as though silence followed; then `reset`."""
        length = self._heard
        late = clip_ends(self.process(silence_after(self.model.manifest)), length)
        self.reset()
        return late

    def _hear(self, audio: Int16Array) -> list[Detection]:
        self._heard += len(audio)
        detections = []
        while len(audio):
            taken = audio[: len(self._hop) - self._filled]
            self._hop[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            audio = audio[len(taken) :]
            if self._filled == len(self._hop):
                self._filled = 0
                rested, rows = self._listener.process(self._hop)
                self._decider.rest(rested)
                fired = [each for posteriors in rows for each in self._decider.update(posteriors)]
                if self._observer:
                    self._observer.observe(self._hop, rows, fired)
                detections += fired
        return detections


def decision_settings(
    manifest: Manifest,
    threshold: float | None,
    sensitivity: str | None,
    isolated: bool,
    verified: bool,
) -> tuple[Mapping[str, float], DecisionConfig]:
    """The thresholds and the times of a `Detector`; raises ValueError as it does."""
    if threshold is not None and not 0.0 < threshold <= 1.0:
        raise ValueError(f"expected a threshold in (0, 1], got {threshold}")
    config = manifest.decision if isolated else manifest.decision.connected()
    if threshold is None:
        thresholds = manifest.operating_point(MODES[0 if isolated else 1], sensitivity, verified)
    else:
        thresholds = dict.fromkeys(manifest.keywords, threshold)
    return thresholds, config


def check_block(pcm: NDArray[Any]) -> None:
    """Raise AudioError for what `Detector.process` does not take, and say what to do."""
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


def silence_after(manifest: Manifest) -> Int16Array:
    """What a detector hears at the end of a stream, so that the last word is decided."""
    return np.zeros(SAMPLE_RATE * manifest.vad.hangover_ms // 1000, np.int16)


def clip_ends(detections: Sequence[Detection], samples: int) -> list[Detection]:
    """The detections, none decided later than the stream's so many samples ended."""
    length = samples / SAMPLE_RATE
    return [replace(each, end=min(each.end, length)) for each in detections]
