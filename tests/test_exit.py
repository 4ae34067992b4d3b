"""The end of a process whose sound system hangs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PATIENCE = 60.0  # s, for a machine that is busy

PROGRAM = """
import atexit, sys, threading, time
sys.path.insert(0, {tests!r})
from fake_portaudio import FakePortAudio

class Hanging(FakePortAudio):
    _initialized = 1
    _lib = object()
    _StreamBase = type("_StreamBase", (), {{}})

    def RawInputStream(self, **settings):
        stream = super().RawInputStream(**settings)
        stream.abort = lambda **_: threading.Event().wait()
        return stream

    def terminate(self):
        while self._initialized:
            time.sleep(0.1)

sys.modules["sounddevice"] = sounddevice = Hanging()
atexit.register(sounddevice.terminate)
import kws.audio.capture, kws.audio.devices, kws.audio.microphone
for module in (kws.audio.capture, kws.audio.devices, kws.audio.microphone):
    module.query_server = lambda: None
microphone = kws.audio.Microphone()
{close}
sys.exit(7)
"""


def run(close: str) -> subprocess.CompletedProcess[str]:
    """A program with a PortAudio that never comes back from closing a stream."""
    program = PROGRAM.format(tests=str(Path(__file__).parent), close=close)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )


def test_a_stream_that_never_closes() -> None:
    """The process ends with its own exit code, whether it closed the microphone or not."""
    for close in ("microphone.close()", "pass"):
        ended = run(close)
        assert (7, "") == (ended.returncode, ended.stderr)
