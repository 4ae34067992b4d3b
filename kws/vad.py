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
        self._webrtcvad = _import_webrtcvad()
        self.reset()

    def reset(self) -> None:
        """Forget the speech and the background so far; the gate is closed."""
        self._vad = self._webrtcvad.Vad(self.config.aggressiveness)
        self._open_for = -1  # ms left without further speech

    def is_open(self, audio: NDArray[np.int16]) -> bool:
        """Take the next audio, int16, one or more `config.frame_ms`; whether it leaves it open."""
        frame_ms, hangover_ms = self.config.frame_ms, self.config.hangover_ms
        size = SAMPLE_RATE * frame_ms // 1000 * audio.itemsize
        content, is_speech = audio.tobytes(), self._vad.is_speech
        for start in range(0, len(content), size):
            if is_speech(content[start : start + size], SAMPLE_RATE):
                self._open_for = hangover_ms
            else:
                self._open_for -= frame_ms
        return self._open_for >= 0


def _import_webrtcvad() -> Any:
    try:
        return importlib.import_module("webrtcvad")
    except ImportError as error:
        raise BackendUnavailable(
            f"the voice activity detector does not import ({error}); "
            "pip uninstall -y webrtcvad, then pip install webrtcvad-wheels"
        ) from error
