"""Signals while `kws listen` runs: what stops it, what is written, and what a service reloads."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tone_model import tone

from kws.app.signals import PATIENCE as LEAST
from kws.app.signals import Stopped, StopSignals
from kws.config import SAMPLE_RATE

fcntl = pytest.importorskip("fcntl")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix signals")

PATIENCE = 30.0  # s, for a machine that is busy

WORDS = np.concatenate([np.zeros(SAMPLE_RATE, "<i2"), tone("low").astype("<i2")])


class Listening:
    """`kws listen --json` on a pipe."""

    def __init__(self, *arguments: str, **settings: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kws", "listen", "--input", "-", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **settings,
        )

    def send(self, audio: np.ndarray) -> None:
        """Audio comes."""
        assert self.process.stdin is not None
        self.process.stdin.write(audio.tobytes())
        self.process.stdin.flush()

    def event(self) -> dict[str, Any]:
        """The next event."""
        assert self.process.stdout is not None
        content: dict[str, Any] = json.loads(self.process.stdout.readline())
        return content

    def wait_in(self, *functions: str) -> None:
        """Until it waits in one of these functions of the kernel's."""
        place = Path(f"/proc/{self.process.pid}/wchan")
        for _ in range(int(PATIENCE / 0.05)):
            if any(function in place.read_text() for function in functions):
                return
            time.sleep(0.05)
        if place.read_text() == "0":
            pytest.skip("/proc does not tell where a process waits")
        pytest.fail(f"it never waited in {functions}, but in {place.read_text()}")

    def end(self) -> tuple[int, list[dict[str, Any]], str]:
        """Exit code, the events that are left and standard error, without more audio."""
        # Not `communicate`: it closes standard input, and the end of the audio ends listening too.
        code = self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        events = [json.loads(line) for line in self.process.stdout.read().splitlines()]
        return code, events, self.process.stderr.read().decode()


@pytest.fixture
def listen() -> Iterator[Any]:
    """Starts `kws listen`, and ends it whatever happens: where an event never comes, too."""
    started: list[Listening] = []
    limits: list[threading.Timer] = []

    def start(*arguments: str, **settings: Any) -> Listening:
        started.append(Listening(*arguments, **settings))
        limits.append(threading.Timer(4 * PATIENCE, started[-1].process.kill))
        limits[-1].start()
        return started[-1]

    yield start
    for limit in limits:
        limit.cancel()
    for each in started:
        each.process.kill()
        for stream in (each.process.stdin, each.process.stdout, each.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        each.process.wait()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_clean_stop(name: str, tones: Path, tmp_path: Path, listen: Any) -> None:
    """While it waits for audio: exit code 0, the end is told and the monitor's hour is written.

    Within a second, which a busy machine is given three attempts for."""
    for attempt in range(3):
        seen = tmp_path / str(attempt)
        running = listen("--json", "--model", str(tones), "--monitor", str(seen))
        running.send(WORDS)
        assert running.event()["event"] == "ready"
        sent = time.time()
        running.process.send_signal(getattr(signal, name))
        code, events, errors = running.end()
        assert (0, "") == (code, errors)
        assert ("end", "signal", 2.0) == tuple(
            events[-1][key] for key in ("event", "reason", "seconds")
        )
        (record,) = seen.iterdir()
        assert json.loads(record.read_bytes())["seconds"] >= 1.9
        if events[-1]["time"] - sent < 1.0:
            return
    pytest.fail(f"it took {events[-1]['time'] - sent:.1f} s to end")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a small pipe")
def test_a_stop_while_nobody_reads(tones: Path, tmp_path: Path, listen: Any) -> None:
    """A reader that has stopped reading does not hold the end up; the monitor is written."""
    running = listen("--json", "--model", str(tones), "--monitor", str(tmp_path / "seen"))
    fcntl.fcntl(running.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    assert running.process.stdin is not None

    def send() -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            for _ in range(100):
                running.send(WORDS)

    sender = threading.Thread(target=send)
    sender.start()
    running.wait_in("pipe_write")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(PATIENCE) == 0
    sender.join(PATIENCE)
    assert list((tmp_path / "seen").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_before_any_audio(tones: Path, listen: Any) -> None:
    """Nothing was ready and no audio came; it stops all the same."""
    running = listen("--json", "--model", str(tones))
    running.wait_in("pipe_read", "poll")
    running.process.send_signal(signal.SIGTERM)
    code, events, errors = running.end()
    assert (0, "") == (code, errors)
    assert {"end"} >= {event["event"] for event in events}  # where it had got so far


def test_ignored_stays_ignored(tones: Path, listen: Any) -> None:
    """Under nohup a hang-up changes nothing."""
    running = listen(
        "--json",
        "--model",
        str(tones),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    running.send(WORDS)
    assert running.event()["event"] == "ready"
    running.process.send_signal(signal.SIGHUP)
    running.send(WORDS)
    assert running.event()["keyword"] == "low"
    running.process.send_signal(signal.SIGINT)
    code, _, errors = running.end()
    assert (0, "") == (code, errors)


def test_reload(tones: Path, tmp_path: Path, listen: Any) -> None:
    """A service reads its model again: new thresholds count, a damaged manifest changes nothing."""
    folder = tmp_path / "model"
    shutil.copytree(tones, folder)
    running = listen("--json", "--model", str(folder), "--service")
    manifest = folder / "tones.json"
    content = json.loads(manifest.read_text())
    running.send(WORDS)
    assert running.event()["thresholds"]["low"] == 0.9
    assert running.event()["keyword"] == "low"

    content["thresholds"]["low"] = 0.8
    manifest.write_text(json.dumps(content))
    running.process.send_signal(signal.SIGHUP)
    while (event := running.event())["event"] != "end":
        assert event["event"] == "detection"
    assert event["reason"] == "reload"
    running.send(WORDS)
    assert running.event()["thresholds"]["low"] == 0.8
    assert running.event()["keyword"] == "low"

    manifest.write_text("{}")
    running.process.send_signal(signal.SIGHUP)
    while running.event()["event"] != "end":
        pass
    running.send(WORDS)
    assert running.event()["thresholds"]["low"] == 0.8
    running.process.send_signal(signal.SIGTERM)
    code, _, errors = running.end()
    assert code == 0
    assert errors.startswith("kws: error: the configuration is not read again")
    assert errors.count("\n") == 1


def test_reload_of_a_file(tones: Path, tmp_path: Path, listen: Any) -> None:
    """Everything but the display changes; a file that is wrong or does not fit changes nothing."""
    file, out = tmp_path / "kws.toml", tmp_path / "out"
    file.write_text("keywords = ['low']")
    running = listen("--json", "--model", str(tones), "--service", "--config", str(file))

    def reloaded(text: str) -> list[str]:
        file.write_text(text)
        running.process.send_signal(signal.SIGHUP)
        while running.event()["event"] != "end":
            pass
        running.send(WORDS)
        return list(running.event()["thresholds"])

    running.send(WORDS)
    assert ["low"] == list(running.event()["thresholds"])
    assert running.event()["keyword"] == "low"
    program = f"'{sys.executable}' -c \"open('{out}', 'w').write('{{keyword}}')\""
    assert ["low", "high"] == reloaded(f"exec = {json.dumps(program)}")
    assert running.event()["keyword"] == "low"
    assert ["low", "high"] == reloaded("keywords = ['middle']")
    assert ["low", "high"] == reloaded("keyword = ['low']")
    assert ["low", "high"] == reloaded("webhook = 'http://example.org'")
    assert ["high"] == reloaded("keywords = ['high']")
    running.process.send_signal(signal.SIGTERM)
    code, _, errors = running.end()
    assert code == 0
    assert "low" == out.read_text()
    messages = ("'middle'", "line 1: keyword: unknown key; did you mean keywords?", "plain http")
    assert all(message in line for message, line in zip(messages, errors.splitlines(), strict=True))


def test_many_reloads_and_a_stop(tones: Path, listen: Any) -> None:
    """Reloads end nothing, also while one is under way; a stop right after one ends it."""
    running = listen("--json", "--model", str(tones), "--service")
    running.send(WORDS)
    assert running.event()["event"] == "ready"
    for _ in range(20):
        running.process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    while running.event()["event"] != "end":
        pass
    running.send(WORDS)
    while running.event()["event"] != "ready":
        pass
    running.process.send_signal(signal.SIGHUP)
    running.process.send_signal(signal.SIGTERM)
    code, events, errors = running.end()
    assert (code, errors) == (0, "")
    assert events[-1]["event"] == "end"


def test_the_cursor_comes_back(tones: Path) -> None:
    """On a terminal the live view hides the cursor; TERM brings it back."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "kws", "listen", "--input", "-", "--model", str(tones)],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        limit = threading.Timer(90.0, process.kill)
        limit.start()
        assert process.stdin is not None
        process.stdin.write(WORDS.tobytes())
        process.stdin.flush()
        written = b""
        while b"\x1b[?25l" not in written:
            written += os.read(ours, 65536)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):  # Linux's way to say that the other side has closed
            while more := os.read(ours, 65536):
                written += more
        assert process.wait(PATIENCE) == 0
        limit.cancel()
    os.close(ours)
    assert written.rindex(b"\x1b[?25h") > written.rindex(b"\x1b[?25l")
    assert b"Traceback" not in written


class TestStopSignals:
    def test_shielded(self) -> None:
        """What is shielded goes on, and is told."""
        with StopSignals() as signals:
            signals.shielded = True
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM
            signals.shielded = False

    def test_not_shielded(self) -> None:
        """What is not ends at once; a second signal does not tear what is written then."""
        with StopSignals() as signals:
            with pytest.raises(Stopped):
                os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM

    def test_a_few_shielded_lines(self) -> None:
        """They are finished, and then it ends."""
        lines = []

        def write() -> None:
            with signals.shield():
                os.kill(os.getpid(), signal.SIGINT)
                lines.append("written")
            lines.append("never reached")

        with StopSignals() as signals, pytest.raises(Stopped):
            write()
        assert lines == ["written"]

    def test_what_takes_too_long_is_torn(self) -> None:
        """The shield holds for less than a second."""
        with StopSignals() as signals:
            signals.shielded = True
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(Stopped):
                threading.Event().wait(PATIENCE)
            assert signals.torn
            signals.shielded = False

    def test_a_reload_is_not_urgent(self) -> None:
        """It tears nothing however long that takes, and ends the wait for audio that comes next."""
        with StopSignals(reload=True) as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            with signals.shield():
                os.kill(os.getpid(), signal.SIGHUP)
                time.sleep(1.2 * LEAST)
            assert signals.asks_to_reload
            assert not signals.torn
            signals.clear()
            signals.waits = True
            with pytest.raises(Stopped):
                os.kill(os.getpid(), signal.SIGHUP)

    def test_a_stop_after_a_reload(self) -> None:
        """It takes the place of the request, at once."""
        with StopSignals(reload=True) as signals:
            signals.shielded = True
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM
            assert not signals.asks_to_reload
            signals.shielded = False
            with pytest.raises(Stopped):  # where the request has been seen before
                signals.clear()

    def test_handlers_come_back(self) -> None:
        """Afterwards the signals mean what they meant before."""
        before = signal.getsignal(signal.SIGTERM)
        with StopSignals():
            assert signal.getsignal(signal.SIGTERM) != before
        assert signal.getsignal(signal.SIGTERM) == before
