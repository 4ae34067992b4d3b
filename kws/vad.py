"""The speech gate: WebRTC's voice activity detector, kept open for a hangover after speech."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE, VadConfig
from kws.errors import BackendUnavailable

# Frames of zeros, none of them speech, after which webrtcvad's state has settled. Its filters do in
# 3 frames, but may settle on a tone of one step, to which its noise model then adapts: in 370
# frames after recordings, in 1,250 after the strangest sounds that were tried.
SETTLED = 3_000
# What changes of a settled state is how old the minima are that it keeps for 100 frames. It comes
# round again after so many.
PERIOD = 101


class SpeechGate:
    """Tells frame by frame whether the network should run.

    Digital silence costs next to nothing: webrtcvad is not run on frames of zeros that follow
    SETTLED others, or come first in a stream. It gets as many of them before the next frame as make
    its state the same, so that each decision is what it is with webrtcvad run on every frame. The
    faintest noise is no such silence; to skip it would change what is decided later.

    Raises BackendUnavailable where webrtcvad is missing or does not import.
    """

    def __init__(self, config: VadConfig | None = None) -> None:
        self.config = config or VadConfig()
        self._library = _import_webrtcvad()
        self._samples = SAMPLE_RATE * self.config.frame_ms // 1000
        self._zeros = np.zeros(self._samples, np.int16).tobytes()
        self.reset()

    def reset(self) -> None:
        """Forget the speech and the background so far; the gate is closed."""
        self._vad = self._library.create()
        self._library.init(self._vad)
        self._library.set_mode(self._vad, self.config.aggressiveness)
        self._open_for = -1  # ms left without further speech
        self._silent = SETTLED  # frames of zeros in a row, none of them speech; it begins settled

    @property
    def rests(self) -> bool:
        """Whether the gate is closed, and zeros change no more than how many there were."""
        return self._silent >= SETTLED and self._open_for < 0

    def rest(self, frames: int) -> None:
        """Take so many frames of zeros, while it `rests`, at less cost than `is_open`."""
        self._silent += frames

    def is_open(self, audio: NDArray[np.int16]) -> bool:
        """Take the next audio, int16, one or more `config.frame_ms`; whether it leaves it open."""
        frame_ms, hangover_ms, zeros = self.config.frame_ms, self.config.hangover_ms, self._zeros
        samples, size = self._samples, len(zeros)
        content, vad, process = audio.tobytes(), self._vad, self._library.process
        for start in range(0, len(content), size):
            frame = content[start : start + size]
            if frame == zeros:
                self._silent += 1
                if self._silent > SETTLED:
                    self._open_for -= frame_ms
                    continue
            else:
                if self._silent > SETTLED:
                    for _ in range((self._silent - SETTLED) % PERIOD):
                        process(vad, SAMPLE_RATE, zeros, samples)
                self._silent = 0
            if process(vad, SAMPLE_RATE, frame, samples):
                self._open_for = hangover_ms
                self._silent = 0
            else:
                self._open_for -= frame_ms
        return self._open_for >= 0


def _import_webrtcvad() -> Any:
    """The package's native module: the one around it imports importlib.metadata for its version,
    which takes longer than to open the gate's library, and costs a call for each frame."""
    try:
        return importlib.import_module("_webrtcvad")
    except ImportError as error:
        raise BackendUnavailable(
            f"the voice activity detector does not import ({error}); "
            "pip uninstall -y webrtcvad, then pip install webrtcvad-wheels"
        ) from error
