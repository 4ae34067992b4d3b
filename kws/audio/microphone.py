"""An input device as a source."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from typing import Any

from kws.audio.convert import Converter, FloatArray, Int16Array
from kws.audio.devices import TRY, load_sounddevice
from kws.audio.source import BLOCK_MS, Closing, reason
from kws.config import SAMPLE_RATE
from kws.errors import AudioError

QUEUE_SECONDS = 5.0  # audio that may wait for a busy detector before some is lost
START_SECONDS = 10.0  # Bluetooth and sound servers take their time before the first block
STALL_SECONDS = 2.0  # a microphone that delivers nothing for so long has gone
MUTE_SECONDS = 5.0  # exact zeros for so long mean a mute switch; a real room is never that quiet

logger = logging.getLogger(__name__)


class Microphone(Closing):
    """An input device, at 16 kHz or, where it refuses that, at its own rate and resampled.

    The device's callback only puts a copy into a bounded queue. `lost` counts the samples (at the
    device's rate) that came while the queue was full, plus one block for each overflow that the
    sound system itself reports. Raises AudioError where the device cannot be opened, and while
    iterating where it stops delivering.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self.lost = 0
        self._blocks: queue.Queue[FloatArray] = queue.Queue(int(QUEUE_SECONDS * 1000 / BLOCK_MS))
        self._sounddevice = load_sounddevice()
        info = self._query(device)
        self.name: str = info["name"]
        self.rate, self._stream = self._open(device, info)

    def _query(self, device: int | str | None) -> Any:
        try:
            return self._sounddevice.query_devices(device, "input")
        except self._sounddevice.PortAudioError as error:
            if device is None:
                raise AudioError(f"no microphone was found; {TRY}") from error
            raise AudioError(f"there is no device {device!r}; see: kws devices") from error
        except ValueError as error:  # no name, or several names, match
            raise AudioError(
                f"{reason(error)}; give a number or a longer name from: kws devices"
            ) from error

    def _open(self, device: int | str | None, info: Any) -> tuple[int, Any]:
        own_rate, channels = round(info["default_samplerate"]), info["max_input_channels"]
        settings = [(SAMPLE_RATE, 1), (own_rate, 1), (own_rate, channels)]
        refusal: Exception | None = None
        for rate, count in settings:
            try:
                stream = self._sounddevice.InputStream(
                    samplerate=rate,
                    blocksize=rate * BLOCK_MS // 1000,
                    device=device,
                    channels=count,
                    dtype="float32",
                    callback=self._enqueue,
                )
                stream.start()
            except self._sounddevice.PortAudioError as error:
                refusal = error
                if not _is_refusal(error):
                    break
            else:
                logger.info("listening to %s at %d Hz, %d channel(s)", self.name, rate, count)
                return rate, stream
        raise AudioError(
            f"cannot record from {self.name} ({reason(refusal)}); close the program that uses it, "
            "check its permission, or choose another with --device from: kws devices"
        ) from refusal

    def _enqueue(self, block: FloatArray, frames: int, _time: object, status: Any) -> None:
        if status.input_overflow:
            self.lost += frames
        try:
            self._blocks.put_nowait(block.copy())
        except queue.Full:
            self.lost += frames

    def __iter__(self) -> Iterator[Int16Array]:
        converter = Converter(self.rate)
        mute = _MuteWatch(self.name)
        reported = 0
        patience = START_SECONDS
        while not self._stream.closed:
            try:
                block = self._blocks.get(timeout=patience)
            except queue.Empty:
                if self._stream.closed:
                    return
                raise AudioError(
                    f"{self.name} has stopped delivering audio; plug it in again or choose "
                    "another with --device from: kws devices"
                ) from None
            patience = STALL_SECONDS
            if self.lost > reported and self._blocks.empty():
                # Said once the queue has drained, so that one stall makes one message.
                logger.warning(
                    "%.0f ms of audio were lost; this machine is too busy to keep up",
                    1000 * (self.lost - reported) / self.rate,
                )
                reported = self.lost
            converted = converter.convert(block)
            if len(converted):
                mute.watch(converted)
                yield converted

    def close(self) -> None:
        self._stream.close(ignore_errors=True)


class _MuteWatch:
    """Warns once for each stretch of exact zeros."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._zeros = 0

    def watch(self, block: Int16Array) -> None:
        if block.any():
            self._zeros = 0
            return
        before, self._zeros = self._zeros, self._zeros + len(block)
        limit = round(MUTE_SECONDS * SAMPLE_RATE)
        if before < limit <= self._zeros:
            logger.warning(
                "%s delivers only zeros: it is muted, or switched off in the sound settings",
                self._name,
            )


def _is_refusal(error: Exception) -> bool:
    """Whether PortAudio refuses the rate or the channel count rather than the device."""
    return len(error.args) > 1 and error.args[1] in (-9997, -9998)
