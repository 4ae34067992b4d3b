"""A PulseAudio server for tests and benchmarks, apart from any that runs here.

Its microphones are made of software. What is played to its loudspeaker `vmic`, which leads nowhere,
comes from the default one. Further ones can be plugged in, which deliver what is written to them at
that moment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

RATE = 48_000  # Hz, of the microphones that are plugged in

PROGRAMS = ("pulseaudio", "pactl", "paplay")
PLUGIN = "alsa-lib/libasound_module_pcm_pulse.so"


def missing() -> str:
    """Why no such server can be started here; empty where one can."""
    if sys.platform != "linux":
        return "PulseAudio stands in on Linux only"
    programs = [program for program in PROGRAMS if shutil.which(program) is None]
    if programs:
        return f"not installed: {', '.join(programs)}"
    if not list(Path("/usr/lib").glob(f"*/{PLUGIN}")):
        return "libasound2-plugins is not installed"
    return ""


class SoundServer:
    """The server and the environment that leads to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "asound.conf").write_text(
            "</usr/share/alsa/alsa.conf>\n"
            "pcm.!default { type pulse }\n"
            "ctl.!default { type pulse }\n"
        )
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PULSE")},
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_SERVER": f"unix:{folder}/native",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PYTHONUNBUFFERED": "1",
        }
        # As where kws is installed, a program's second start finds its modules compiled.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it is up when this returns."""
        (self.folder / "native").unlink(missing_ok=True)  # one that was killed left it behind
        socket = f"module-native-protocol-unix auth-anonymous=1 socket={self.folder}/native"
        environment = dict(self.environment)
        del environment["PULSE_SERVER"]
        self._process = subprocess.Popen(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
                "--use-pid-file=no",
                *("-L", socket),
                *("-L", "module-null-sink sink_name=vmic"),
            ],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        self.wait_for("vmic.monitor", "pactl", "list", "short", "sources")
        self.run("pactl", "set-default-source", "vmic.monitor")

    def kill(self) -> None:
        """End it without a word to anybody."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """Let it reply to nobody any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def run(self, *command: str) -> str:
        """Run a program against the server and return what it printed."""
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def wait_for(self, text: str, *command: str) -> None:
        """Until the program prints the text."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if text in self.run(*command):
                    return
            except subprocess.CalledProcessError:
                pass  # the server is not up yet
            time.sleep(0.05)
        raise TimeoutError(f"{' '.join(command)} never printed {text!r}")

    def start_program(self, *arguments: str, python: str = sys.executable) -> subprocess.Popen[str]:
        """A Python program that uses the server."""
        return subprocess.Popen(
            [python, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def plugged_in(self, name: str, description: str, chunk_ms: int = 20) -> Iterator[Written]:
        """A microphone that delivers what is written to it, and silence otherwise."""
        fifo = self.folder / f"{name}.{time.monotonic_ns()}"
        module = self.run(
            *("pactl", "load-module", "module-pipe-source", f"source_name={name}"),
            *(f"file={fifo}", "format=s16le", f"rate={RATE}", "channels=1"),
            'source_properties=device.description="{}"'.format(description.replace(" ", r"\ ")),
        )
        written = Written(fifo, RATE * chunk_ms // 1000)
        try:
            yield written
        finally:
            written.close()
            with suppress(subprocess.CalledProcessError):  # the server may have been killed
                self.run("pactl", "unload-module", module.strip())


class Written:
    """Plays into a pipe in real time, from a thread, and knows when it wrote what."""

    def __init__(self, fifo: Path, chunk: int) -> None:
        self._chunk = chunk  # samples that are written at once
        self._pipe = os.open(fifo, os.O_WRONLY)
        os.set_blocking(self._pipe, False)  # a source that nobody records from reads nothing
        self._waiting = np.empty(0, np.int16)
        self._lock = threading.Lock()
        self._closed = False
        self._now = time.time()  # when the next chunk is written
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def play(self, samples: np.ndarray) -> float:
        """Add int16 samples at RATE to what is to be written; returns when the first one is."""
        with self._lock:
            begin = self._now + len(self._waiting) / RATE
            self._waiting = np.concatenate([self._waiting, samples])
            return begin

    def _write(self) -> None:
        random = np.random.default_rng(1)
        while not self._closed:
            with self._lock:
                chunk, self._waiting = self._waiting[: self._chunk], self._waiting[self._chunk :]
                self._now += self._chunk / RATE
                due = self._now
            # A little noise, as every room has.
            silence = random.integers(-30, 31, self._chunk - len(chunk)).astype(np.int16)
            time.sleep(max(0.0, due - time.time()))
            with suppress(OSError):
                os.write(self._pipe, np.concatenate([chunk, silence]).tobytes())

    def close(self) -> None:
        """Unplug it at this end."""
        self._closed = True
        self._thread.join()
        os.close(self._pipe)


@contextmanager
def sound_server(folder: Path) -> Iterator[SoundServer]:
    """A running server, whose files lie in the folder."""
    server = SoundServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
