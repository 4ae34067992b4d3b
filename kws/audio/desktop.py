"""The microphones as the desktop's sound server shows them (PulseAudio, or PipeWire in its place).

PortAudio sees such a server as one device. The server's own tool, pactl, knows the names that a
person reads in the sound settings, and reports when a microphone comes or goes.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass

PATIENCE = 3.0  # s that a healthy server never needs for a reply

# What `pactl subscribe` prints when microphones come, go or become the default; not for volumes.
CHANGE = re.compile(r"'(new|remove)' on source #|'change' on server")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DesktopSource:
    """A microphone, or what a loudspeaker plays, in the sound server's list."""

    number: int  # a new one each time that it is plugged in
    name: str  # the server's, unique, such as alsa_input.usb-…
    description: str  # what the sound settings show
    rate: int  # Hz
    channels: int
    monitor: bool  # it delivers what a loudspeaker plays
    default: bool


@dataclass(frozen=True)
class Server:
    """Whether a sound server responds, and what it lists."""

    problem: str  # why it does not respond; empty where it does
    sources: tuple[DesktopSource, ...] = ()


def query_server() -> Server | None:
    """What the sound server lists now, or None where there is no pactl to find out."""
    if shutil.which("pactl") is None:
        return None
    info = _pactl("info")
    sources = _pactl("list", "sources")
    for reply in (info, sources):
        if isinstance(reply, subprocess.CompletedProcess) and reply.returncode == 0:
            continue
        problem = "it does not respond" if reply is None else reply.stderr.strip()
        return Server(problem.splitlines()[0] if problem else "unknown")
    assert info is not None
    assert sources is not None
    default = re.search(r"^Default Source: (.+)$", info.stdout, re.M)
    return Server("", parse_sources(sources.stdout, default[1] if default else ""))


def parse_sources(text: str, default: str) -> tuple[DesktopSource, ...]:
    """The sources in what `pactl list sources` prints in the C locale.

    Its JSON form is no help: it leaves out every description that is not ASCII.
    """
    found = []
    entries = re.split(r"^Source #(\d+)$", text, flags=re.M)[1:]
    for number, entry in zip(entries[::2], entries[1::2], strict=True):
        field: dict[str, str] = dict(re.findall(r"^\t([A-Z][\w ]*): (.*)$", entry, re.M))
        shape = re.search(r"(\d+)ch (\d+)Hz", field.get("Sample Specification", ""))
        if "Name" not in field or shape is None:
            continue
        found.append(
            DesktopSource(
                int(number),
                field["Name"],
                field.get("Description", field["Name"]),
                int(shape[2]),
                int(shape[1]),
                field.get("Monitor of Sink", "n/a") != "n/a",
                field["Name"] == default,
            )
        )
    return tuple(found)


class Watch:
    """Calls back, in a thread of its own, when the server's list of sources may have changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._changed = changed
        self._closed = False
        try:
            self._process = subprocess.Popen(
                ["pactl", "subscribe"],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # Ctrl-C is not meant for it
            )
        except OSError as error:
            logger.info("cannot watch the sound server: %s", error)
            return
        threading.Thread(target=self._read, name="kws-sources", daemon=True).start()

    def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if CHANGE.search(line) and not self._closed:
                    self._changed()
        process.wait()
        if not self._closed:
            self._changed()  # the server has gone

    def close(self) -> None:
        """Stop watching; may be called twice."""
        self._closed = True
        if self._process is not None:
            self._process.terminate()  # the reader then collects it


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _pactl(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            ["pactl", *arguments],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
