"""The library that reaches the microphone: loaded on demand, one call at a time, and silent.

PortAudio is not safe to call from several threads at once, lists the devices only when it is
initialised, and writes lines of its own to standard error, also from a thread of its own.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import os
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from kws.audio.errors import DeviceError

LOCK = threading.RLock()  # held around every call into PortAudio
PATIENCE = 1.0  # s that the end of the process waits for such a call

# What PortAudio, ALSA and JACK write, each of them a line, with empty ones in between.
NOISE = re.compile(
    rb"$|Expression '|ALSA lib |PaHost|jack server|JackShm|"
    rb"Cannot connect to server|Cannot lock down"
)

logger = logging.getLogger(__name__)


def load_sounddevice() -> ModuleType:
    """The package sounddevice; raises DeviceError where the system library PortAudio is missing."""
    try:
        with LOCK:
            import sounddevice
    except OSError as error:  # the Python package is there, the system library is not
        raise DeviceError(
            "no_portaudio",
            "the microphone needs the system library PortAudio; on Debian, Ubuntu or Raspberry Pi "
            "OS run: sudo apt-get install libportaudio2 (--input FILE and --demo work without it)",
        ) from error
    module: ModuleType = sounddevice
    _prepare_exit(module)
    return module


@cache
def _prepare_exit(sounddevice: Any) -> None:
    """Let the end of the process wait for no sound system that hangs.

    sounddevice terminates PortAudio at exit, which closes what is open. A thread that closes a
    stream must not meet that. A call that never returns, or a stream that nobody could close in
    time, may mean that this would not return either. What PortAudio's thread runs in and calls must
    outlive Python then, which unloads the library and frees the callbacks as it is taken down.
    """

    def leave() -> None:  # registered behind sounddevice's own clean-up, so that it runs before it
        if hangs():
            sounddevice._initialized = 0
            streams = [each for each in gc.get_objects() if _is_open_stream(each, sounddevice)]
            for kept in (sounddevice._lib, *streams):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))

    atexit.register(leave)


def hangs() -> bool:
    """Whether, at the end of the process, something of the sound system is left unfinished.

    No call into PortAudio can begin any more, but for those of this thread.
    """
    return not LOCK.acquire(timeout=PATIENCE) or _redirect.holders > 0


def rescan() -> bool:
    """List the devices again; False, and nothing done, while this program has streams open.

    Listing means to initialise PortAudio again, which would end every stream of the process, those
    that other parts of the program play or record included. Raises DeviceError where PortAudio does
    not start again.
    """
    sounddevice: Any = load_sounddevice()
    with LOCK, quiet():
        if any(_is_open_stream(thing, sounddevice) for thing in gc.get_objects()):
            return False
        while sounddevice._initialized:
            sounddevice._terminate()
        # Not sounddevice._initialize(), which throws away what any thread prints meanwhile.
        code = sounddevice._lib.Pa_Initialize()
        if code < 0:
            raise DeviceError("refused", f"PortAudio does not start again (error {code})")
        sounddevice._initialized = 1
    return True


def _is_open_stream(thing: object, sounddevice: Any) -> bool:
    if not issubclass(type(thing), sounddevice._StreamBase):
        return False
    pointer = getattr(thing, "_ptr", None)  # one that could not be opened has none, or another kind
    ffi = sounddevice._ffi
    stream = pointer is not None and ffi.typeof(pointer) is ffi.typeof("PaStream *")
    return bool(stream and pointer != ffi.NULL)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the C libraries of the sound system print off the terminal meanwhile.

    Only the lines of NOISE are kept back, for the log; all others go on to standard error. C
    programs write through the pointer `stderr` of the C library, Python does not, so that this
    pointer alone is changed and no file descriptor. Works with glibc; elsewhere nothing happens.
    """
    _redirect.acquire()
    try:
        yield
    finally:
        _redirect.release()


class _Redirect:
    """Lets C's `stderr` lead into a pipe while anybody holds it; a thread reads the other end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.holders = 0  # calls into PortAudio, and open streams
        self._pointer: Any = None
        self._terminal: int | None = None  # FILE *
        self._pipe: int | None = None  # FILE *

    def acquire(self) -> None:
        with self._lock:
            self.holders += 1
            if self.holders == 1:
                if self._pipe is None and platform.libc_ver()[0] == "glibc":
                    self._open()
                if self._pipe is not None:
                    self._pointer.value = self._pipe

    def release(self) -> None:
        with self._lock:
            self.holders -= 1
            if self.holders == 0 and self._pipe is not None:
                self._pointer.value = self._terminal

    def _open(self) -> None:
        library = ctypes.CDLL(None)
        library.fdopen.restype = ctypes.c_void_p
        self._pointer = ctypes.c_void_p.in_dll(library, "stderr")
        self._terminal = self._pointer.value
        reading, writing = os.pipe()
        os.set_blocking(writing, False)  # nobody who writes there may wait for Python
        pipe = library.fdopen(writing, b"w")
        library.setvbuf(ctypes.c_void_p(pipe), None, 1, ctypes.c_size_t(4096))  # 1: line by line
        threading.Thread(target=_forward, args=(reading,), name="kws-stderr", daemon=True).start()
        self._pipe = pipe


def _forward(reading: int) -> None:
    with open(reading, "rb", buffering=0) as pipe:
        rest = b""
        while chunk := pipe.read(4096):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if NOISE.match(line):
                    logger.debug("%s", line.decode(errors="replace"))
                else:
                    os.write(2, line + b"\n")


_redirect = _Redirect()
