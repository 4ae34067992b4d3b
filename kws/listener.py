"""From audio to rows of posteriors: the gate, the frames that it lets through, the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE, STEP_MS
from kws.errors import ModelError
from kws.frontend import FloatArray, StreamingFrontend
from kws.model.load import Model
from kws.vad import SpeechGate
from kws.verifier import Verifier

Int16Array = NDArray[np.int16]


class Listener:
    """Hears audio hop by hop and gives rows of posteriors, one per 20 ms, while somebody speaks.

    While the gate is closed nothing is computed. As it opens, the network begins again in digital
    silence and catches up on the preroll.
    """

    def __init__(self, model: Model, vad: bool = True, verify: bool = True) -> None:
        """With `verify` the model's verifier, where it has one, is asked about the rows.

        Raises BackendUnavailable where webrtcvad does not import, and ModelError where the
        manifest's times do not fit its network."""
        manifest = model.manifest
        self._stream = model.open_stream()
        self.hop = self._stream.frames * manifest.features.hop  # samples
        hop_ms = self.hop * 1000 // SAMPLE_RATE
        if hop_ms != self._stream.steps * STEP_MS:
            raise ModelError(
                f"{model.path}: expected a row of posteriors per {STEP_MS} ms, "
                f"got {self._stream.steps} in {hop_ms} ms"
            )
        if vad and hop_ms % manifest.vad.frame_ms:
            raise ModelError(
                f"{model.path}: expected a vad.frame_ms that divides {hop_ms}, "
                f"got {manifest.vad.frame_ms}"
            )
        self._gate = SpeechGate(manifest.vad) if vad else None
        self.verifier = Verifier(model, self._stream.frames) if verify and model.verifier else None
        self._preroll = -(-manifest.vad.preroll_ms // hop_ms)  # hops
        memory = (self._preroll + 1) * self.hop + manifest.features.window
        self._frontend = StreamingFrontend(manifest.features, memory)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream, as though digital silence had gone before."""
        if self._gate:
            self._gate.reset()
        self._frontend.reset()
        self._forget()
        self._heard = 0  # hops
        self._scored = 0  # hops that the network has heard or that were rested through

    def process(self, audio: Int16Array) -> tuple[int, list[FloatArray]]:
        """Hear one hop of audio, shape (hop,).

        Returns how many rows were rested through since those of the last call, and then the rows
        (steps, labels) of each hop up to this one; nothing of either while the gate is closed.
        """
        self._frontend.append(audio)
        self._heard += 1
        if self._gate and not self._gate.process(audio):
            return 0, []
        rested = max(0, self._heard - 1 - self._preroll - self._scored) if self._gate else 0
        if rested:
            self._forget()
            self._scored += rested
        rows = []
        size = self._stream.frames
        while self._scored < self._heard:
            self._scored += 1
            last = self._frontend.complete - (self._heard - self._scored) * size
            features = self._frontend.frames(last - size, last)
            row = self._stream.process(features)
            if self.verifier:
                (row,) = self.verifier.process([0], features[None], row[None])
            rows.append(row)
        return rested * self._stream.steps, rows

    def _forget(self) -> None:
        """Let the networks begin again, as though digital silence had gone before."""
        self._stream.reset()
        if self.verifier:
            self.verifier.reset(0)
