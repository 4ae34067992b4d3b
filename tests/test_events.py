"""Events, their JSON form, and the outputs that write them."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import numpy as np
import pytest

from kws import Detection, KwsError
from kws.app.events import SCHEMA, End, Event, Paused, Ready, Resumed, as_json
from kws.app.outputs import Outputs
from kws.app.outputs.json_lines import JsonLines, PlainJsonLines
from kws.app.outputs.plain_lines import PlainLines
from kws.app.outputs.systemd import Systemd
from kws.audio.events import Kind, SourceEvent
from kws.model.manifest import find_manifest, read_manifest

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "docs" / "service" / "kws.service"

MANIFEST = read_manifest(find_manifest())
READY = Ready(1_700_000_000.0, "Mikrofon “größer”", MANIFEST, {"stop": 0.35})
STOP = Detection("stop", 0.42, 1.0, 1.5)
GONE = SourceEvent("gone", 1_700_000_001.0, 0.0, "USB is gone; plug it in again")
END = End(1_700_000_002.0, "signal", 2.0, 1)


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """What the shipped schema accepts."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


class TestJson:
    @pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind != "ready"])
    def test_each_kind_of_source_event(self, kind: Kind, validator: Any) -> None:
        """Every kind that a microphone reports is in the schema, with what it needs."""
        content = as_json(SourceEvent(kind, 1.0, 0.5, "…"))
        assert content["event"] == kind
        validator.validate(content)
        for name in ("seconds", "message"):
            broken = {key: value for key, value in content.items() if key != name}
            assert not validator.is_valid(broken)

    @pytest.mark.parametrize(
        "event",
        [READY, STOP, Paused(1.0), Resumed(2.0), END],
        ids=lambda event: type(event).__name__,
    )
    def test_the_others(self, event: Event, validator: Any) -> None:
        """They have all that the schema requires, and what lacks any of it is refused."""
        content = as_json(event)
        validator.validate(content)
        for name in content:
            broken = {key: value for key, value in content.items() if key != name}
            if name not in ("time", "event") or event is not STOP:
                assert not validator.is_valid(broken), name

    def test_fields(self) -> None:
        """What readers build on."""
        assert as_json(STOP) == {
            "v": 1,
            "event": "detection",
            "time": None,
            "keyword": "stop",
            "score": 0.42,
            "start": 1.0,
            "end": 1.5,
        }
        assert as_json(END)["reason"] == "signal"
        assert as_json(READY)["model"] == "commands"

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            (Ready(1.0, "a", MANIFEST, {}, at=0.5), (0.5, 0.5)),
            (STOP, (1.0, 1.5)),
            (SourceEvent("lost", 1.0, 2.0, "", start=3.0, end=5.0), (3.0, 5.0)),
            (Paused(1.0, at=7.0), (7.0, 7.0)),
            (Resumed(2.0, at=8.0), (8.0, 8.0)),
            (End(3.0, "end", 8.0, 1, at=10.0), (0.0, 10.0)),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_the_audio_that_it_is_about(self, event: Event, expected: tuple[float, float]) -> None:
        """Every event says so in stream time: a stretch, or a moment twice."""
        content = as_json(event)
        assert expected == (content["start"], content["end"])
        assert "at" not in content

    def test_lines_are_ascii(self, capsys: pytest.CaptureFixture[str], validator: Any) -> None:
        """Whatever a device or word is called, a line is ASCII and gives it back."""
        output = JsonLines()
        for event in (READY, STOP, GONE, END):
            output.put(event)
        lines = capsys.readouterr().out.splitlines()
        assert all(line.isascii() for line in lines)
        contents = [json.loads(line) for line in lines]
        assert contents[0]["source"] == "Mikrofon “größer”"
        assert ["ready", "detection", "gone", "end"] == [each["event"] for each in contents]
        for content in contents:
            validator.validate(content)

    def test_the_plain_form_of_before(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Detections only, four fields."""
        output = PlainJsonLines()
        for event in (READY, STOP, GONE, END):
            output.put(event)
        expected = {"keyword": "stop", "score": 0.42, "start": 1.0, "end": 1.5}
        assert expected == json.loads(capsys.readouterr().out)


class TestPlainLines:
    def test_lines(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Detections on standard output, the rest on standard error."""
        output = PlainLines()
        for event in (READY, STOP, END):
            output.put(event)
        captured = capsys.readouterr()
        assert captured.out == "    1.50 s  stop       0.42\n"
        assert captured.err.splitlines() == [
            "Listening to Mikrofon “größer” for: stop (Ctrl-C ends)",
            "2.0 s of audio, 1 keyword detected",
        ]

    def test_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Detections only."""
        output = PlainLines(quiet=True)
        for event in (READY, STOP, END):
            output.put(event)
        assert capsys.readouterr() == ("    1.50 s  stop       0.42\n", "")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What standard output cannot take is an error that says so."""
        with open("/dev/full", "w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            with pytest.raises(KwsError, match=r"standard output \(No space left"):
                PlainLines().put(STOP)
            monkeypatch.undo()
            with pytest.raises(OSError, match="No space"):
                full.close()


class _Recorder:
    """An output that keeps what it gets, or raises it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[Event] = []
        self.error, self.closed = error, False

    def put(self, event: Event) -> None:
        self.events.append(event)
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True
        if self.error:
            raise self.error


class TestOutputs:
    def test_one_that_fails_holds_nobody_up(self, caplog: pytest.LogCaptureFixture) -> None:
        """Its failure is logged; the others get the event and are closed."""
        broken, other = _Recorder(RuntimeError("no route")), _Recorder()
        with Outputs([broken, other]) as outputs:
            outputs.put(STOP)
        assert [STOP] == other.events
        assert other.closed
        assert caplog.records[0].getMessage() == "_Recorder failed on the event detection: no route"
        assert caplog.records[0].levelno == logging.WARNING

    @pytest.mark.parametrize("error", [KwsError("full"), BrokenPipeError()])
    def test_one_without_which_listening_is_in_vain(self, error: Exception) -> None:
        """A pipe that was closed ends it all."""
        with pytest.raises(type(error)):
            Outputs([_Recorder(error)]).put(STOP)


class Manager:
    """A service manager's end of the notify protocol."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(20.0)

    def next(self) -> str:
        """The next message, which must come."""
        return self.socket.recv(4096).decode()

    def waiting(self) -> list[str]:
        """The messages that are there now."""
        self.socket.setblocking(False)
        messages = []
        try:
            while True:
                messages.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager that listens at a path, and one at an abstract name."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    name = f"@kws-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    manager = Manager(name)
    yield manager
    manager.socket.close()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd's protocol is for Unix")
class TestSystemd:
    def test_from_ready_to_stopping(self, manager: Manager) -> None:
        """Ready comes with the first block, a device that goes is a status, the end is stopping."""
        output = Systemd(manager.environment)
        for event in (READY, STOP, GONE, END):
            output.put(event)
        output.close()
        output.close()
        assert [
            "READY=1\nSTATUS=Listening to Mikrofon “größer”",
            "STATUS=USB is gone; plug it in again",
            "STOPPING=1",
        ] == manager.waiting()

    def test_reload(self, manager: Manager) -> None:
        """A reload is announced with the time that systemd wants, and ends with ready."""
        output = Systemd(manager.environment)
        output.put(End(0.0, "reload", 1.0, 0))
        output.put(READY)
        output.close()
        reloading, ready = manager.waiting()
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
        assert ready.startswith("READY=1")

    def test_watchdog(self, manager: Manager) -> None:
        """A sign of life while audio is processed or a device is waited for, and else none."""
        manager.environment["WATCHDOG_USEC"] = "100000"
        output = Systemd(manager.environment)
        audio = np.zeros(1280, np.int16)
        output.observe(audio, [], [])
        assert manager.next() == "WATCHDOG=1"
        time.sleep(0.2)
        manager.waiting()  # the last one may still have been on its way
        time.sleep(0.3)
        assert [] == manager.waiting()
        output.put(GONE)
        manager.socket.settimeout(20.0)
        assert manager.next().startswith("STATUS=")
        assert ["WATCHDOG=1"] * 3 == [manager.next() for _ in range(3)]
        for event in (SourceEvent("back", 0.0, 1.0, "back"), Paused(0.0)):
            output.put(event)
        time.sleep(0.3)
        output.close()
        assert 3 <= manager.waiting().count("WATCHDOG=1")

    @pytest.mark.parametrize(
        "environment",
        [
            {},
            {"NOTIFY_SOCKET": ""},
            {"NOTIFY_SOCKET": "relative"},
            {"NOTIFY_SOCKET": "vsock:2:1234"},
        ],
    )
    def test_without_a_manager(self, environment: dict[str, str]) -> None:
        """Nothing happens, and nothing fails."""
        output = Systemd({**environment, "WATCHDOG_USEC": "1"})
        for event in (READY, GONE, END):
            output.put(event)
        output.close()

    def test_a_manager_that_is_gone(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged, and listening goes on."""
        output = Systemd({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
        output.put(READY)
        output.close()
        assert "was not told" in caplog.text

    @pytest.mark.parametrize("value", ["-1", "soon", "1e6", ""])
    def test_a_watchdog_time_that_is_none(self, value: str, manager: Manager) -> None:
        """It is taken for none."""
        Systemd({**manager.environment, "WATCHDOG_USEC": value}).close()
        assert [] == manager.waiting()

    def test_anothers_watchdog(self, manager: Manager) -> None:
        """WATCHDOG_PID names another process, whose duty it is."""
        environment = {"WATCHDOG_USEC": "10000", "WATCHDOG_PID": "1", **manager.environment}
        output = Systemd(environment)
        output.observe(np.zeros(1280, np.int16), [], [])
        time.sleep(0.1)
        output.close()
        assert [] == manager.waiting()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_the_unit_file(tmp_path: Path) -> None:
    """systemd accepts it, once the program is where it says."""
    text = UNIT.read_text(encoding="utf-8")
    program = re.search(r"^ExecStart=(\S+) ", text, re.M)
    assert program is not None
    unit = tmp_path / "kws.service"
    unit.write_text(text.replace(program[1], sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr)
    for line in ("Type=notify", "SupplementaryGroups=audio", "User=kws"):
        assert f"\n{line}\n" in text
    unit.write_text(text.replace(program[1], sys.executable).replace("Type=notify", "Typ=notify"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert "Typ" in done.stderr


def test_no_stream_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may have no standard output or error."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    for output in (PlainLines(), JsonLines()):
        for event in (READY, STOP, END):
            output.put(event)


def test_another_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON needs no more than ASCII of standard output."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    JsonLines().put(READY)
    assert json.loads(written.getvalue())["source"] == READY.source
