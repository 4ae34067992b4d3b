"""`kws listen` as a service on a microphone made of software, from ready to the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks.sound_server import SoundServer, missing, sound_server
from kws.app.events import SCHEMA

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SoundServer]:
    """A sound server of the test's own."""
    with sound_server(tmp_path) as running:
        yield running


def test_a_service(server: SoundServer, tmp_path: Path) -> None:
    """Ready with the first block; a sound server that is killed is waited for, and the watchdog
    knows; TERM ends it. Each line is an event of the schema."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.setblocking(False)
    service = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
    schema = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    with subprocess.Popen(
        [sys.executable, "-m", "kws", "listen", "--json", "--service"],
        env={**server.environment, **service},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None

        def until(name: str) -> dict[str, Any]:
            """The first event of that name from now on."""
            assert process.stdout is not None
            for line in process.stdout:
                event: dict[str, Any] = json.loads(line)
                schema.validate(event)
                if event["event"] == name:
                    return event
            pytest.fail(f"no event {name}")

        def told() -> list[str]:
            """What the service manager was told since the last time."""
            messages = []
            try:
                while True:
                    messages.append(manager.recv(4096).decode())
            except BlockingIOError:
                return messages

        try:
            before = time.time()
            ready = until("ready")
            assert before <= ready["time"] <= time.time()
            assert any(message.startswith("READY=1\n") for message in told())
            assert until("muted")["seconds"] >= 5.0
            server.kill()
            assert "gone" in until("gone")["message"]
            until("waiting")
            told()
            time.sleep(3.5)
            assert "WATCHDOG=1" in told()
            server.start()
            assert until("back")["seconds"] > 2.0
            process.send_signal(signal.SIGTERM)
            end = until("end")
            assert ("signal", 0) == (end["reason"], end["detections"])
            assert process.wait(30) == 0
            assert "Traceback" not in process.stderr.read()
            assert "STOPPING=1" in told()
        finally:
            process.kill()
            manager.close()


def test_a_terminal(server: SoundServer) -> None:
    """The live view on a microphone: its name, and a hang-up that gives the cursor back."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "kws", "listen"],
        env={**server.environment, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        limit = threading.Timer(90.0, process.kill)
        limit.start()
        written = b""
        while b" dB" not in written:
            written += os.read(ours, 65536)
        assert b"Listening to Monitor of Null Output" in written
        process.send_signal(signal.SIGHUP)
        with suppress(OSError):  # Linux's way to say that the other side has closed
            while more := os.read(ours, 65536):
                written += more
        assert process.wait(30) == 0
        limit.cancel()
    os.close(ours)
    assert written.rindex(b"\x1b[?25h") > written.rindex(b"\x1b[?25l")
    assert b"0 keywords detected" in written
