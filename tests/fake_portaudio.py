"""The part of sounddevice that kws uses, with devices that do what a test tells them to."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np


class FakePortAudio:
    """Input devices that refuse what they are told to and deliver `signal` at its own pace."""

    class PortAudioError(Exception):
        pass

    class CallbackAbort(Exception):
        pass

    def __init__(self) -> None:
        self.refuses: dict[tuple[int, int], int] = {}  # (rate, channels) -> PortAudio's error code
        self.late_starts = 0  # so many of the next streams do not begin in time
        self.signal: np.ndarray | None = None  # (frames, channels) float32, over and over
        self.opened: list[tuple[Any, int, int]] = []  # device, rate, channels
        self.streams: list[Any] = []
        self.cancelled = 0  # streams that were aborted while their thread could be in a callback
        self.waits: float | None = None  # s that a block waits; None: this sound system tells none
        self.infos = [self.info("Fake Mic")]
        self.default = SimpleNamespace(device={"input": 0})

    @staticmethod
    def info(name: str, channels: int = 2, rate: float = 44_100.0) -> dict[str, Any]:
        """A device as PortAudio describes it."""
        return {
            "name": name,
            "max_input_channels": channels,
            "default_samplerate": rate,
            "hostapi": 0,
        }

    def get_portaudio_version(self) -> tuple[int, str]:
        return 0, "a fake"

    def query_hostapis(self) -> list[dict[str, str]]:
        return [{"name": "ALSA"}]

    def query_devices(self) -> list[dict[str, Any]]:
        return [*self.infos, self.info("Speaker", channels=0)]

    def deliver(self, stream: Any, block: np.ndarray) -> None:
        """Call a stream back with int16 audio, shape (frames, channels)."""
        seconds = len(block) / stream.settings["samplerate"]
        begun = 0.0 if self.waits is None else 1000.0 - seconds - self.waits
        times = SimpleNamespace(inputBufferAdcTime=begun, currentTime=1000.0)
        status = SimpleNamespace(input_overflow=False)
        stream.settings["callback"](block.tobytes(), len(block), times, status)

    def RawInputStream(self, **settings: Any) -> Any:  # noqa: N802, sounddevice's name
        key = (settings["samplerate"], settings["channels"])
        if key in self.refuses:
            raise self.PortAudioError(f"refused {key}", self.refuses[key])
        self.opened.append((settings["device"], *key))
        stream = SimpleNamespace(closed=False, ended=False, settings=settings)
        frames = settings["blocksize"]

        def run() -> None:
            begin = time.monotonic()
            count = 0
            while not stream.closed:
                count += 1
                time.sleep(max(0.0, begin + count * frames / key[0] - time.monotonic()))
                if not stream.closed and self.signal is not None:
                    taken = np.arange((count - 1) * frames, count * frames) % len(self.signal)
                    block = np.rint(self.signal[taken][:, : key[1]] * 32768).astype("<i2")
                    try:
                        self.deliver(stream, block)
                    except self.CallbackAbort:
                        stream.ended = True
                        stream.end()
                        return

        def close(ignore_errors: bool = True) -> None:
            stream.closed = True

        def start() -> None:
            if self.late_starts:
                self.late_starts -= 1
                stream.end()  # PortAudio cancels its thread
                raise self.PortAudioError("Wait timed out", -9987)
            threading.Thread(target=run, daemon=True).start()

        def abort(ignore_errors: bool = True) -> None:
            self.cancelled += not stream.ended
            stream.closed = True

        stream.close, stream.abort = close, abort
        stream.start = start
        stream.end = settings["finished_callback"]  # as though the device had gone
        self.streams.append(stream)
        return stream
