"""`kws serve`: listening with servers beside it, in an event loop of their own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import soundfile

from kws.app.events import Event, event_name
from kws.app.servers import Mute, Server, Servers
from kws.app.servers.address import Address, check_token
from kws.cli import main, serve
from kws.demo import RECORDING
from kws.errors import KwsError, SettingError

WAIT = 30.0  # seconds, for what takes far less


class Recorder:
    """A server that opens no port and keeps what it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[Event] = []
        self.threads: set[str] = set()
        self.stopped = threading.Event()
        self.samples = 0
        self.mute: Mute | None = None
        self._error = error

    async def start(self, mute: Mute) -> str:
        self.mute = mute
        if self._error:
            raise self._error
        return "test://127.0.0.1"

    def put(self, event: Event) -> None:
        self.threads.add(threading.current_thread().name)
        self.events.append(event)

    async def stop(self) -> None:
        self.stopped.set()

    def observe(self, audio: Any, _rows: Sequence[Any], _fired: Sequence[Any]) -> None:
        self.samples += len(audio)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The first word of the demonstration recording."""
    path = tmp_path_factory.mktemp("audio") / "first.wav"
    audio, rate = soundfile.read(RECORDING, frames=3 * 16_000, dtype="int16")
    soundfile.write(path, audio, rate)
    return str(path)


def with_servers(monkeypatch: pytest.MonkeyPatch, recording: str, *servers: Server) -> int:
    """The exit code of `kws serve`."""
    monkeypatch.setattr(serve, "open_servers", lambda _: servers)
    return main(["serve", "--input", recording, "--no-verifier", "--json"])


def test_a_server_gets_events_and_audio(
    monkeypatch: pytest.MonkeyPatch, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its own thread, in their order, from ready to end; and its URL is shown."""
    server = Recorder()
    assert 0 == with_servers(monkeypatch, recording, server)
    names = [event_name(event) for event in server.events]
    assert "ready" == names[0]
    assert "end" == names[-1]
    shown = capsys.readouterr()
    assert "Serving test://127.0.0.1\n" == shown.err
    assert names.count("detection") == shown.out.count('"detection"') > 0
    assert {"kws servers"} == server.threads
    assert server.samples > 16_000
    assert server.stopped.is_set()


def test_what_one_server_fails_on_reaches_the_others(
    monkeypatch: pytest.MonkeyPatch, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A defect of a server ends neither listening nor other servers, and it is told."""
    broken, sound = Recorder(), Recorder()
    broken.put = broken.stop = lambda *_: 1 / 0  # type: ignore[method-assign, assignment]
    assert 0 == with_servers(monkeypatch, recording, broken, sound)
    assert "end" == event_name(sound.events[-1])
    assert sound.stopped.is_set()
    assert "kws: warning: Recorder failed on the event ready" in capsys.readouterr().err


def test_a_server_that_cannot_start_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit code 1, and what had started is stopped."""
    first, second = Recorder(), Recorder(KwsError("the port is taken"))
    assert 1 == with_servers(monkeypatch, recording, first, second)
    shown = capsys.readouterr()
    assert "kws: error: the port is taken\n" == shown.err
    assert "" == shown.out
    assert first.stopped.is_set()
    assert second.stopped.is_set()


def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["serve", "--demo"])
    assert "kws: error: expected a server to start" in capsys.readouterr().err


def test_a_server_mutes_and_waits_for_nobody() -> None:
    """The switch runs beside the event loop, so a slow one holds up no other client."""
    server = Recorder()
    asked, free = threading.Event(), threading.Event()
    heard: list[bool] = []

    def mute(muted: bool) -> None:
        asked.set()
        assert free.wait(WAIT)
        heard.append(muted)

    servers = Servers([server], mute)
    assert ["test://127.0.0.1"] == servers.start()
    assert server.mute
    waiting = servers._run(_begin(server.mute))
    assert asked.wait(WAIT)
    assert not waiting.done()  # while the loop answers
    free.set()
    servers._run(_end(waiting))
    assert [True] == heard
    servers.close()
    servers.close()


async def _begin(mute: Mute) -> Any:
    import asyncio

    return asyncio.ensure_future(mute(True))


async def _end(task: Any) -> None:
    await task


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:1", "::1", 1, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("192.168.1.2:80", "192.168.1.2", 80, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text)
    assert (host, port, loopback) == (address.host, address.port, address.loopback)
    assert text == str(address)


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
     "127.0.0.1:x", "localhost.evil.org:1", "a@127.0.0.1:1", "127.0.0.1:1/path", "::1:80",
     "[::1:80", "127.0.0.1 :1"],
)  # fmt: skip
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(SettingError, match=r"such as 127\.0\.0\.1:8080"):
        Address.parse(text)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = Address(*other.getsockname())
        expected = rf"cannot listen at 127\.0\.0\.1:{address.port} \(.*\); name another port"
        with pytest.raises(KwsError, match=expected), address.opening(), socket.socket() as own:
            own.bind((address.host, address.port))


def test_beyond_this_machine_a_token_is_needed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_token(Address.parse("127.0.0.1:1"), None)
        assert not caplog.records
        with pytest.raises(SettingError, match="set a token"):
            check_token(Address.parse("0.0.0.0:1"), None)
        check_token(Address.parse("0.0.0.0:1"), "secret")
        assert "nothing is encrypted" in caplog.text
