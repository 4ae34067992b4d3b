"""Where audio comes from: microphone, file or pipe, always as int16 mono blocks at 16 kHz."""

from __future__ import annotations

import logging
import os
import queue
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE
from kws.errors import AudioError

Int16Array = NDArray[np.int16]
FloatArray = NDArray[np.float32]

BLOCK_MS = 20  # what a microphone or a file is read in
QUEUE_SECONDS = 5.0  # audio that may wait for a busy detector before some is lost
START_SECONDS = 10.0  # Bluetooth and sound servers take their time before the first block
STALL_SECONDS = 2.0  # a microphone that delivers nothing for so long has gone
MUTE_SECONDS = 5.0  # exact zeros for so long mean a mute switch; a real room is never that quiet
LOWEST_RATE, HIGHEST_RATE = 4_000, 768_000  # Hz; outside, a header is wrong rather than unusual

PIPE_LENGTH = 0x7FFF_0000  # bytes; WAV headers that state this or more mean "unknown"

logger = logging.getLogger(__name__)


def to_int16(audio: FloatArray) -> Int16Array:
    """Samples in [-1, 1) as int16, of the same shape; what lies beyond is clipped."""
    scaled = np.clip(np.rint(audio * np.float32(32768.0)), -32768, 32767)
    samples: Int16Array = scaled.astype(np.int16)
    return samples


class Source(Protocol):
    """Something that delivers audio until it ends, fails or is closed."""

    name: str  # for people: the device's, the file's

    def __iter__(self) -> Iterator[Int16Array]:
        """Blocks of shape (samples,), int16, mono, 16 kHz; of any length, never empty."""
        ...

    def close(self) -> None:
        """Release the device or file; may be called twice."""
        ...


class _Closing(ABC):
    """Lets a source stand in a `with` statement."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Converter:
    """Float blocks of any rate and channel count to int16 mono at 16 kHz, carrying the overlap."""

    def __init__(self, rate: int) -> None:
        self.not_numbers = 0  # samples that were NaN or infinite, heard as zero
        self.peak = 0.0  # largest magnitude so far; 1.0 is full scale
        self._resampler: Any = None
        if rate != SAMPLE_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def convert(self, block: FloatArray, last: bool = False) -> Int16Array:
        """(frames, channels) float32 in [-1, 1] -> (samples,) int16; channels are averaged.

        With `last`, the tail that the resampler still holds comes too.
        """
        mono: FloatArray = block.mean(axis=1, dtype=np.float32) if block.size else block.reshape(-1)
        finite = np.isfinite(mono)
        if not finite.all():
            self.not_numbers += int(np.count_nonzero(~finite))
            mono = np.where(finite, mono, np.float32(0.0))
        if len(mono):
            self.peak = max(self.peak, float(np.abs(mono).max()))
        if self._resampler is not None:
            # Beyond full scale nothing is meant, and the resampler would smear it over its window.
            mono = self._resampler.resample_chunk(np.clip(mono, -1.0, 1.0), last=last)
        return to_int16(mono)


class File(_Closing):
    """A recording of any rate and channel count in any format that libsndfile reads.

    It is read in blocks of `block_ms`; longer ones cost less.

    Raises AudioError, on construction or while it is read, where the file cannot be opened, is not
    audio, holds no samples or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], block_ms: int = BLOCK_MS) -> None:
        import soundfile

        self.name = os.fspath(path)
        self._block_ms = block_ms
        self._errors = (soundfile.LibsndfileError, OSError, RuntimeError)
        if os.path.isdir(self.name):
            raise AudioError(f"{self.name} is a folder; name one recording in it")
        try:
            with open(self.name, "rb") as opened:
                empty = not opened.read(1)
        except OSError as error:
            raise AudioError(
                f"cannot open {self.name}: {error.strerror}; check the path and its permissions"
            ) from error
        if empty:
            raise AudioError(f"{self.name} is empty (0 bytes); record it again")
        try:
            self._sound: Any = soundfile.SoundFile(self.name)
        except self._errors as error:
            raise AudioError(
                f"{self.name} is not audio that can be read ({_reason(error)}); give WAV, FLAC, "
                "Ogg, Opus or MP3, or pipe raw 16 kHz int16 samples into --input -"
            ) from error
        try:
            self._check()
        except AudioError:
            self.close()
            raise

    def _check(self) -> None:
        rate, frames = self._sound.samplerate, self._sound.frames
        if frames == 0:
            raise AudioError(f"{self.name} holds no samples, only a header; record it again")
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioError(
                f"{self.name} says that it is at {rate} Hz; expected {LOWEST_RATE} to "
                f"{HIGHEST_RATE} Hz, so its header is probably damaged; convert it again"
            )
        # libsndfile reads what is there of a WAV and notes the difference. A recorder that writes
        # into a pipe cannot know the length and states the largest one: nothing is missing then.
        cut = re.search(r"^data : (\d+) \(should be (\d+)\)", self._sound.extra_info, re.M)
        if cut and int(cut[2]) < int(cut[1]) < PIPE_LENGTH:
            logger.warning(
                "%s is cut off: hearing the %.1f s that are there", self.name, frames / rate
            )

    def __iter__(self) -> Iterator[Int16Array]:
        rate = self._sound.samplerate
        converter = Converter(rate)
        last = False
        while not last:
            try:
                block = self._sound.read(
                    rate * self._block_ms // 1000, dtype="float32", always_2d=True
                )
            except self._errors as error:
                raise AudioError(
                    f"{self.name} is damaged after {self._sound.tell() / rate:.1f} s "
                    f"({_reason(error)}); what was heard before that stands"
                ) from error
            last = len(block) == 0
            converted = converter.convert(block, last)
            if len(converted):
                yield converted
        self._report(converter)

    def _report(self, converter: Converter) -> None:
        if converter.not_numbers:
            logger.warning(
                "%s holds %d samples that are not numbers; they were heard as silence",
                self.name,
                converter.not_numbers,
            )
        if converter.peak > 2.0:  # resampled or mixed music goes a little above 1
            logger.warning(
                "%s reaches %.3g times full scale and was clipped; float samples lie in [-1, 1]",
                self.name,
                converter.peak,
            )

    def close(self) -> None:
        self._sound.close()


class RawPcm(_Closing):
    """Little-endian int16 mono 16 kHz samples from a pipe, as they come.

    Raises AudioError where the stream is a terminal, is empty, or is a file with a header.
    """

    name = "standard input"
    HEADERS = (b"RIFF", b"fLaC", b"OggS", b"ID3")

    def __init__(self, stream: BinaryIO | None = None) -> None:
        if stream is None:
            stream = None if sys.stdin is None else sys.stdin.buffer
        if stream is None or stream.isatty():
            raise AudioError(
                "standard input carries no audio; pipe raw samples into it, for example: "
                "arecord -q -t raw -f S16_LE -r 16000 -c 1 | kws listen --input -"
            )
        self._stream = stream

    def __iter__(self) -> Iterator[Int16Array]:
        # read1 returns what a pipe holds now; read would wait until a whole block is there.
        read = getattr(self._stream, "read1", self._stream.read)
        rest = b""
        heard = 0
        while chunk := read(65536):
            if heard == 0 and chunk.startswith(self.HEADERS):
                raise AudioError(
                    "standard input is an audio file with a header, not raw samples; "
                    "give the file itself with --input FILE"
                )
            heard += len(chunk)
            data = rest + chunk
            whole = len(data) & ~1
            rest = data[whole:]
            if whole:
                yield np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)
        if heard == 0:
            raise AudioError(
                "standard input ended before any audio came; check the command before |"
            )
        if rest:
            logger.warning(
                "standard input ended in the middle of a sample; one odd byte was ignored"
            )

    def close(self) -> None:
        """Leave the pipe to whoever opened it."""


@dataclass(frozen=True)
class Device:
    """One input device, as PortAudio lists it."""

    index: int
    name: str
    host: str  # the sound system behind it, such as ALSA or Core Audio
    channels: int
    rate: float  # its own default, Hz
    default: bool


def input_devices() -> list[Device]:
    """Every device that can record; raises AudioError where there is none or no PortAudio."""
    sounddevice = _sounddevice()
    try:
        default = sounddevice.default.device["input"]
        hosts = [host["name"] for host in sounddevice.query_hostapis()]
        found = [
            Device(
                index,
                info["name"],
                hosts[info["hostapi"]],
                info["max_input_channels"],
                info["default_samplerate"],
                index == default,
            )
            for index, info in enumerate(sounddevice.query_devices())
            if info["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError as error:
        raise AudioError(f"cannot list the input devices ({_reason(error)}); {TRY}") from error
    if not found:
        raise AudioError(f"no microphone was found; {TRY}")
    return found


class Microphone(_Closing):
    """An input device, at 16 kHz or, where it refuses that, at its own rate and resampled.

    The device's callback only puts a copy into a bounded queue. `lost` counts the samples (at the
    device's rate) that came while the queue was full, plus one block for each overflow that the
    sound system itself reports. Raises AudioError where the device cannot be opened, and while
    iterating where it stops delivering.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self.lost = 0
        self._blocks: queue.Queue[FloatArray] = queue.Queue(int(QUEUE_SECONDS * 1000 / BLOCK_MS))
        self._sounddevice = _sounddevice()
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
                f"{_reason(error)}; give a number or a longer name from: kws devices"
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
            f"cannot record from {self.name} ({_reason(refusal)}); close the program that uses it, "
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


def paced(blocks: Iterable[Int16Array]) -> Iterator[Int16Array]:
    """The same blocks, each held back until it would have been spoken."""
    start = time.monotonic()
    samples = 0
    for block in blocks:
        samples += len(block)
        time.sleep(max(0.0, start + samples / SAMPLE_RATE - time.monotonic()))
        yield block


TRY = "connect one, or try: kws listen --demo, or kws listen --input FILE"


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except OSError as error:  # the Python package is there, the system library is not
        raise AudioError(
            "the microphone needs the system library PortAudio; on Debian, Ubuntu or Raspberry Pi "
            "OS run: sudo apt-get install libportaudio2 (--input FILE and --demo work without it)"
        ) from error
    module: ModuleType = sounddevice
    return module


def _is_refusal(error: Exception) -> bool:
    """Whether PortAudio refuses the rate or the channel count rather than the device."""
    return len(error.args) > 1 and error.args[1] in (-9997, -9998)


def _reason(error: Exception | None) -> str:
    """What a library said, on one line and without a full stop."""
    first = str(getattr(error, "error_string", error.args[0] if error and error.args else error))
    return " ".join(first.split()).rstrip(".")
