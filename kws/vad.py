"""The speech gate: WebRTC's voice activity detector, kept open for a hangover after speech."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE, VadConfig
from kws.errors import BackendUnavailable


class SpeechGate:
    """Tells frame by frame whether the network should run.

    Raises BackendUnavailable where webrtcvad is missing or does not import.
    """

    def __init__(self, config: VadConfig | None = None) -> None:
        self.config = config or VadConfig()
        self._library = _import_webrtcvad()
        self.reset()

    def reset(self) -> None:
        """Forget the speech and the background so far; the gate is closed."""
        self._vad = self._library.create()
        self._library.init(self._vad)
        self._library.set_mode(self._vad, self.config.aggressiveness)
        self._open_for = -1  # ms left without further speech

    def is_open(self, audio: NDArray[np.int16]) -> bool:
        """Take the next audio, int16, one or more `config.frame_ms`; whether it leaves it open."""
        frame_ms, hangover_ms = self.config.frame_ms, self.config.hangover_ms
        samples = SAMPLE_RATE * frame_ms // 1000
        size = samples * audio.itemsize
        content, vad, process = audio.tobytes(), self._vad, self._library.process
        for start in range(0, len(content), size):
            if process(vad, SAMPLE_RATE, content[start : start + size], samples):
                self._open_for = hangover_ms
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
