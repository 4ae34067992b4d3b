"""A PulseAudio server for tests and benchmarks, or PipeWire, apart from any that runs here.

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
PATIENCE = 60.0  # s that no step needs, even on a busy machine
UNREAD = 0.3  # s without a read, after which nobody records from one
BUSY = 0.3  # s by which a busy machine may be late to write what one records, and makes up for it

CLIENTS = ("pactl", "paplay")
PULSEAUDIO = ("pulseaudio",)
PIPEWIRE = ("pipewire", "pipewire-pulse", "wireplumber", "dbus-daemon")
# Files that keep PipeWire's manager from the machine's devices: up to 0.4, and from 0.5 on.
NO_DEVICES = {
    "main.lua.d/51-none.lua": "alsa_monitor.enabled = false\nv4l2_monitor.enabled = false\n"
    "libcamera_monitor.enabled = false\n",
    "bluetooth.lua.d/51-none.lua": "bluez_monitor.enabled = false\n",
    "wireplumber.conf.d/51-none.conf": "wireplumber.profiles = { main = { monitor.alsa = disabled "
    "monitor.v4l2 = disabled monitor.libcamera = disabled monitor.bluez = disabled } }\n",
}
PLUGIN = "alsa-lib/libasound_module_pcm_pulse.so"


def missing(server: tuple[str, ...] = PULSEAUDIO) -> str:
    """Why no such server can be started here; empty where one can."""
    if sys.platform != "linux":
        return "sound servers stand in on Linux only"
    programs = [each for each in (*server, *CLIENTS) if shutil.which(each) is None]
    if programs:
        return f"not installed: {', '.join(programs)}"
    if not list(Path("/usr/lib").glob(f"*/{PLUGIN}")):
        return "libasound2-plugins is not installed"
    return ""


class SoundServer:
    """PulseAudio, and the environment that leads to it."""

    socket = "native"  # where clients find it, in its folder
    late = 0.1  # s that it may take to deliver what a microphone recorded
    steady = 0.05  # s by which that may change where a microphone or the server is new

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
            "PULSE_SERVER": f"unix:{folder}/{self.socket}",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PYTHONUNBUFFERED": "1",
        }
        # As where kws is installed, a program's second start finds its modules compiled.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it; it is up when this returns."""
        (self.folder / self.socket).unlink(missing_ok=True)  # one that was killed left it behind
        self._launch()
        self.wait_for("Server Name", "pactl", "info")
        self.run("pactl", "load-module", "module-null-sink", "sink_name=vmic")
        self.wait_for("vmic.monitor", "pactl", "list", "short", "sources")
        self.wait_for("", "pactl", "set-default-source", "vmic.monitor")
        self.wait_for("Default Source: vmic.monitor", "pactl", "info")

    def _launch(self) -> None:
        """Start what it is made of."""
        socket = f"module-native-protocol-unix auth-anonymous=1 socket={self.folder}/{self.socket}"
        self._run_beside(
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"),
            "--use-pid-file=no",
            *("-L", socket),
        )

    def _run_beside(self, *command: str) -> None:
        environment = {**self.environment}
        del environment["PULSE_SERVER"]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._processes.append(process)

    def kill(self) -> None:
        """End it without a word to anybody."""
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait()

    def hang(self) -> None:
        """Let it reply to nobody any more."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def run(self, *command: str) -> str:
        """Run a program against the server and return what it printed."""
        return subprocess.run(
            command,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        ).stdout

    def wait_for(self, text: str, *command: str) -> None:
        """Until the program succeeds and prints the text."""
        deadline = time.monotonic() + PATIENCE
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
            f"source_properties=\"device.description='{description}'\"",
        )
        written = Written(fifo, RATE * chunk_ms // 1000)
        try:
            yield written
        finally:
            written.close()
            with suppress(subprocess.CalledProcessError):  # the server may have been killed
                self.run("pactl", "unload-module", module.strip())


class PipeWire(SoundServer):
    """PipeWire with its stand-in for PulseAudio, as most desktops have it today.

    Its manager finds its bus and its settings in the folder, and leaves the machine's own devices
    alone.
    """

    socket = "pulse/native"
    # It takes from a pipe what fills a cycle, of up to 0.17 s; on a busy machine it misses one.
    late = steady = 0.45

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environment |= {
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus",
            "XDG_CONFIG_HOME": str(folder / ".config"),
            "XDG_STATE_HOME": str(folder / ".state"),
        }
        for name, setting in NO_DEVICES.items():
            file = folder / ".config" / "wireplumber" / name
            file.parent.mkdir(parents=True)
            file.write_text(setting)

    def _launch(self) -> None:
        address = self.environment["DBUS_SESSION_BUS_ADDRESS"]
        self._run_until(
            "bus", "dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}"
        )
        self._run_until("pipewire-0", "pipewire")
        self._run_beside("wireplumber")
        self._run_until(self.socket, "pipewire-pulse")

    def _run_until(self, socket: str, *command: str) -> None:
        """Run a program beside this one, until its socket is in the folder."""
        path = self.folder / socket
        path.unlink(missing_ok=True)
        self._run_beside(*command)
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{command[0]} never made {path}")
            time.sleep(0.02)


class Written:
    """Plays into a pipe in real time, from a thread, and knows when it wrote what."""

    def __init__(self, fifo: Path, chunk: int) -> None:
        self._chunk = chunk  # samples that are written at once
        self._pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self._waiting = np.empty(0, np.int16)
        self._taken = 0  # samples of what was to be played so far
        self.late = 0.0  # s by which it was at most: so long this machine lets programs wait
        self._begun: dict[int, float | None] = {}  # by number of a sample: when it was written
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def play(self, samples: np.ndarray) -> float:
        """Add int16 samples at RATE to what is to be written; returns when the first one was.

        Raises TimeoutError where nothing is written any more.
        """
        with self._changed:
            number = self._taken + len(self._waiting)
            self._waiting = np.concatenate([self._waiting, samples])
            self._begun[number] = None
            self._changed.wait_for(lambda: self._begun[number] is not None, PATIENCE)
            begun = self._begun[number]
        if begun is None:
            raise TimeoutError(f"nothing was written to the microphone for {PATIENCE:g} s")
        return begun

    def _write(self) -> None:
        random = np.random.default_rng(1)
        left, since = 0, 0.0  # bytes in the pipe, and how long nobody has taken any
        end = time.time()  # when the last sample was recorded
        while not self._closed:
            end += self._chunk / RATE
            time.sleep(max(0.0, end - time.time()))
            late = time.time() - end
            self.late = max(self.late, late)
            if late > BUSY:  # a microphone that recorded nothing meanwhile
                end += late
            with self._changed:
                chunk, self._waiting = self._waiting[: self._chunk], self._waiting[self._chunk :]
                for number in range(self._taken, self._taken + len(chunk)):
                    if number in self._begun:
                        ago = self._chunk - (number - self._taken)  # samples
                        self._begun[number] = end - ago / RATE
                self._taken += len(chunk)
                self._changed.notify_all()
            # A little noise, as every room has.
            silence = random.integers(-30, 31, self._chunk - len(chunk)).astype(np.int16)
            waiting = self._waiting_bytes()
            since = since + self._chunk / RATE if waiting >= left else 0.0
            if since > UNREAD and waiting:  # a server that begins to record would be late by it
                with suppress(BlockingIOError):  # which it did between these two lines
                    os.read(self._pipe, waiting)
            with suppress(OSError):
                os.write(self._pipe, np.concatenate([chunk, silence]).tobytes())
            left = self._waiting_bytes()

    def _waiting_bytes(self) -> int:
        """How much is in the pipe."""
        import fcntl  # which Windows has not
        import termios

        return int.from_bytes(fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4)), sys.byteorder)

    def close(self) -> None:
        """Unplug it at this end."""
        self._closed = True
        self._thread.join()
        os.close(self._pipe)


@contextmanager
def sound_server(folder: Path, kind: type[SoundServer] = SoundServer) -> Iterator[SoundServer]:
    """A running server, whose files lie in the folder."""
    server = kind(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
