"""`kws serve --wyoming`, with the package's client in the order of Home Assistant's requests."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("wyoming", reason="wyoming is not installed")

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection

from kws import AudioFile, Detector
from kws.app.events import Ready
from kws.app.servers import Servers, wyoming_events
from kws.app.servers import wyoming as server_module
from kws.app.servers.address import Address
from kws.app.servers.announcement import SERVICE, service_name
from kws.app.servers.wake_words import WakeWords
from kws.app.servers.wyoming import Wyoming, WyomingConfig
from kws.cli import main, serve
from kws.demo import RECORDING
from kws.errors import ModelError, SettingError
from kws.model.load import load_model
from kws.model.manifest import MODELS

ROOT = Path(__file__).parent.parent
WAIT = 30.0  # seconds, for what takes far less
RATE, CHUNK = 16_000, 160  # samples in a second, and in what Home Assistant sends at once
FIRST = 6_000  # ms, the time stamp of the first chunk
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def spoken() -> np.ndarray[Any, Any]:
    """Yes and no, the first words of the demonstration recording."""
    audio, _ = soundfile.read(RECORDING, frames=round(3.7 * RATE), dtype="int16")
    return np.asarray(audio)


@pytest.fixture(scope="module")
def words() -> WakeWords:
    return WakeWords({None: ("yes", "no", "stop")}, {"verify": False})


class Running:
    """A server on loopback, and its port."""

    def __init__(self, words: WakeWords) -> None:
        config = WyomingConfig(Address("127.0.0.1", 0))
        self._servers = Servers([Wyoming(config, words)], lambda _: None)
        (url,) = self._servers.start()
        self.put, self.close = self._servers.put, self._servers.close
        self.port = int(url.rpartition(":")[2])

    def connect(self) -> AsyncTcpClient:
        return AsyncTcpClient("127.0.0.1", self.port)


@pytest.fixture
def running(words: WakeWords) -> Any:
    server = Running(words)
    yield server
    server.close()


def write_own(folder: Path, name: str) -> Path:
    """A model as though it were the user's own: the packaged one, its words after its name."""
    folder.mkdir()
    for path in [*MODELS.glob("commands.*.onnx"), MODELS / "accurate.window.int8.onnx"]:
        shutil.copy(path, folder)
    text = (MODELS / "commands.json").read_text(encoding="utf-8")
    for word in load_model().manifest.keywords:
        text = text.replace(f'"{word}"', f'"{name} {word}"')
    manifest = json.loads(text)
    manifest["artefacts"] = {
        key: value for key, value in manifest["artefacts"].items() if key.endswith("onnx")
    }
    (folder / "model.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def network_address() -> str:
    """This machine's IPv4 address in its network."""
    ifaddr = pytest.importorskip("ifaddr", reason="ifaddr is not installed")
    addresses = [each for adapter in ifaddr.get_adapters() for each in adapter.ips]
    hosts = [each.ip for each in addresses if each.is_IPv4 and not each.ip.startswith("127.")]
    if not hosts:
        pytest.skip("this machine is in no network")
    return str(hosts[0])


def run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(work, WAIT))


def chunks(audio: np.ndarray[Any, Any]) -> list[tuple[bytes, int]]:
    """The bytes and the time stamp of each chunk, as an assistant's pipeline makes them."""
    return [
        (audio[begin : begin + CHUNK].tobytes(), FIRST + begin * 1000 // RATE)
        for begin in range(0, len(audio), CHUNK)
    ]


async def info(client: AsyncTcpClient) -> Info:
    """What Home Assistant reads when the integration is set up."""
    await client.write_event(Describe().event())
    event = await client.read_event()
    assert event
    return Info.from_event(event)


async def detection_as_home_assistant(
    client: AsyncTcpClient, stream: list[tuple[bytes, int]], name: str | None
) -> tuple[Detection | None, int]:
    """The first detection of that word, and how many chunks were sent until it came.

    In the order of homeassistant/components/wyoming/wake_word.py: audio is sent and events are read
    beside each other, events of other kinds and detections of other words are passed over, and the
    connection is left without an audio-stop.
    """
    await client.write_event(Detect(names=[name] if name else None).event())
    await client.write_event(AudioStart(rate=RATE, width=2, channels=1).event())
    source = iter(stream)
    sent = 0
    event_task = asyncio.ensure_future(client.read_event())
    while True:
        await asyncio.sleep(0)
        if event_task.done():
            event = event_task.result()
            if event is None:
                return None, sent
            if Detection.is_type(event.type):
                detection = Detection.from_event(event)
                if name in (None, detection.name):
                    return detection, sent
            event_task = asyncio.ensure_future(client.read_event())
        chunk = next(source, None)
        if chunk is None:
            await asyncio.wait([event_task], timeout=WAIT)
            continue
        audio, stamp = chunk
        await client.write_event(AudioChunk(RATE, 2, 1, audio, stamp).event())
        sent += 1


def expected(audio: np.ndarray[Any, Any], words: tuple[str, ...]) -> dict[str, float]:
    """When a Detector decides each word, in seconds."""
    detector = Detector(keywords=words, verify=False)
    return {found.keyword: found.end for found in [*detector.process(audio), *detector.finish()]}


def test_home_assistants_requests(running: Running, spoken: np.ndarray[Any, Any]) -> None:
    """It reads the words, then streams audio for one of them until that is detected."""

    async def work() -> tuple[Info, Detection | None]:
        async with running.connect() as client:
            found = await info(client)
        async with running.connect() as client:
            name = found.wake[0].models[1].name
            detection, _ = await detection_as_home_assistant(client, chunks(spoken), name)
            return found, detection

    found, detection = run(work())
    (program,) = found.wake
    assert program.installed
    assert [("yes", "yes"), ("no", "no"), ("stop", "stop")] == [
        (model.name, model.phrase) for model in program.models
    ]
    assert detection
    assert "no" == detection.name
    end = expected(spoken, ("no",))["no"]
    assert detection.timestamp is not None
    # The chunk in which it was decided.
    assert 0.0 < end * 1000 - (detection.timestamp - FIRST) <= 10.0


def test_without_names_all_words_are_detected(
    running: Running, spoken: np.ndarray[Any, Any]
) -> None:
    """And audio after a detection goes on, as a satellite sends it, until audio-stop."""

    async def work() -> list[tuple[str, Any]]:
        async with running.connect() as client:
            await client.write_event(Detect().event())
            await client.write_event(AudioStart(rate=RATE, width=2, channels=1).event())
            for audio, _ in chunks(spoken):
                await client.write_event(AudioChunk(RATE, 2, 1, audio).event())
            await client.write_event(AudioStop().event())
            await client.write_event(Ping(text="over").event())
            return await until_pong(client)

    events = run(work())
    assert ["detection", "detection", "pong"] == [kind for kind, _ in events]
    ends = expected(spoken, ("yes", "no", "stop"))
    assert [(word, round(1000 * end)) for word, end in ends.items()] == [
        (data["name"], data["timestamp"]) for kind, data in events[:2]
    ]


def test_models_of_ones_own(tmp_path: Path) -> None:
    """All their words are wake words; a packaged model's are where they were chosen."""
    own = str(write_own(tmp_path / "own", "my"))
    with pytest.raises(SettingError, match="where --keywords names them"):
        WakeWords({None: None})
    with pytest.raises(SettingError, match="two models have the word 'my stop'"):
        WakeWords({own: None, f"{own}/model.json": ("my stop",)})
    mine = WakeWords({None: None, own: None}, {"threshold": {"my stop": 0.5}, "verify": False})
    assert load_model(own).manifest.keywords == mine.names
    two = WakeWords({None: ("yes",), own: None}, {"threshold": {"yes": 0.5}, "verify": False})
    opened = two.open(("yes", "my no", "no"))
    assert [("yes",), ("my no",)] == [each.keywords for each in opened]
    assert 0.5 == opened[0].thresholds["yes"]

    Path(own, "model.json").unlink()
    with pytest.raises(ModelError):
        mine.load()
    assert "my stop" in mine.names


def test_models_are_read_again(
    words: WakeWords, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When listening begins once more; where that fails, the old ones go on."""
    loads: list[bool] = []

    def load() -> None:
        loads.append(True)
        raise ModelError("gone")

    monkeypatch.setattr(words, "load", load)
    running = Running(words)
    ready = Ready(0.0, "test", load_model().manifest, {})
    running.put(ready)
    running.put(ready)

    async def work() -> Info:
        async with running.connect() as client:
            while not caplog.records:
                await info(client)
            return await info(client)

    assert 3 == len(run(work()).wake[0].models)
    running.close()
    assert [True] == loads
    assert "the old ones go on: gone" in caplog.text


async def until_pong(client: AsyncTcpClient) -> list[tuple[str, Any]]:
    """The events up to the response to a Ping."""
    events: list[tuple[str, Any]] = []
    while not events or not Pong.is_type(events[-1][0]):
        event = await client.read_event()
        assert event, f"the connection was closed after {events}"
        events.append((event.type, event.data))
    return events


async def stream(
    client: AsyncTcpClient, audio: bytes, kind: tuple[int, int, int], names: list[str] | None
) -> list[str]:
    """The types of the events from detect to audio-stop."""
    await client.write_event(Detect(names=names).event())
    rate, width, channels = kind
    await client.write_event(AudioStart(rate, width, channels).event())
    for begin in range(0, len(audio), 48_000):
        part = audio[begin : begin + 48_000]
        await client.write_event(AudioChunk(rate, width, channels, part).event())
    await client.write_event(AudioStop().event())
    await client.write_event(Ping().event())
    return [kind for kind, _ in await until_pong(client)][:-1]


def test_not_detected_and_again(running: Running, spoken: np.ndarray[Any, Any]) -> None:
    """One connection serves several streams, each beginning anew; unknown words are named."""
    audio, kind = spoken.tobytes(), (RATE, 2, 1)

    async def work() -> list[list[str]]:
        async with running.connect() as client:
            return [
                await stream(client, audio, kind, ["stop"]),
                await stream(client, audio, kind, ["yes"]),
                await stream(client, b"", kind, ["yes"]),
                await stream(client, audio, kind, ["computer"]),
                await stream(client, audio, kind, ["computer", "yes"]),
            ]

    assert run(work()) == [
        ["not-detected"],
        ["detection"],
        ["not-detected"],
        ["error", "not-detected"],
        ["error", "detection"],
    ]


@pytest.mark.parametrize("kind", [(48_000, 4, 2), (8_000, 2, 1), (16_000, 1, 1)])
def test_other_kinds_of_audio(
    running: Running, spoken: np.ndarray[Any, Any], kind: tuple[int, int, int]
) -> None:
    import soxr

    rate, width, channels = kind
    samples = soxr.resample(spoken / 32768.0, RATE, rate)
    if width == 1:
        content = np.round(samples * 127 + 128).astype("u1")
    else:
        content = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(f"<i{width}")
    audio = np.repeat(content[:, None], channels, axis=1).tobytes()

    async def work() -> list[str]:
        async with running.connect() as client:
            return await stream(client, audio, kind, ["yes"])

    assert ["detection"] == run(work())


def test_several_clients(running: Running, spoken: np.ndarray[Any, Any]) -> None:
    """Each has its own words and its own audio, while another is silent within an event."""
    late = np.concatenate((np.zeros(RATE, np.int16), spoken))

    async def one(audio: np.ndarray[Any, Any], name: str) -> tuple[str | None, int]:
        async with running.connect() as client:
            detection, _ = await detection_as_home_assistant(client, chunks(audio), name)
            assert detection
            return detection.name, detection.timestamp or 0

    async def work() -> list[tuple[str | None, int]]:
        _, stuck = await asyncio.open_connection("127.0.0.1", running.port)
        stuck.write(b'{"type": "aud')
        found = await asyncio.gather(one(spoken, "yes"), one(late, "yes"), one(spoken, "no"))
        stuck.close()
        return found

    (first, early), (second, later), (third, _) = run(work())
    assert ("yes", "yes", "no") == (first, second, third)
    assert 1000 == later - early


HOSTILE = {
    "no JSON": b"hello\n",
    "no object": b"[1]\n",
    "deep": b"[" * 10_000 + b"\n",
    "no type": b"{}\n",
    "endless line": b"x" * 100_000,
    "huge data": b'{"type": "detect", "data_length": 1000000000}\n',
    "huge payload": b'{"type": "audio-chunk", "payload_length": 1000000000}\n',
    "negative": b'{"type": "audio-chunk", "payload_length": -1}\n',
    "not a length": b'{"type": "audio-chunk", "payload_length": "1"}\n',
    "no rate": b'{"type": "audio-chunk", "data": {"width": 2}}\n',
    "a huge rate": b'{"type": "audio-start", "data": {"rate": 1e9, "width": 2, "channels": 1}}\n',
    "channels": b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 999}}\n',
    "names": b'{"type": "detect", "data": {"names": {"a": 1}}}\n',
    "half a frame": b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1},'
    b' "payload_length": 1}\nx',
}

PIECES = [
    b'{"type": "detect", "data": {"names": ["yes"]}}',
    b'{"type": "audio-chunk", "data_length": 2, "payload_length": 3}',
    *(b"\n", b"{}", b"abc", b'{"type": 1}', b'{"data": [], "type": "x"}', b"null", b"NaN", b"\xff"),
]


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
def test_hostile_clients_are_dropped(running: Running, sent: bytes) -> None:
    """And others are served."""

    async def work() -> Info:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(sent)
        with suppress(ConnectionError):  # is dropped too
            assert b"" == await reader.read()
        writer.close()
        async with running.connect() as client:
            return await info(client)

    assert 3 == len(run(work()).wake[0].models)


def test_who_has_sent_nothing_yet_sends_little(running: Running) -> None:
    """A second of audio at once is taken from known clients only: of others there may be many."""

    async def answer(*sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        audio = b'{"type": "audio-chunk", "data": {"rate": 48000, "width": 4, "channels": 1}, '
        for event in (*sent, audio + b'"payload_length": 192000}\n', bytes(192_000)):
            writer.write(event)
        writer.write(b'{"type": "describe"}\n')
        try:
            return await reader.read(8)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    assert b"" == run(answer())
    assert b'{"type":' == run(answer(b'{"type": "detect"}\n'))


async def flood(client: socket.socket) -> None:
    """Ask without end, and read nothing."""
    while True:
        requests = b'{"type": "describe"}\n' * 100
        await asyncio.get_running_loop().sock_sendall(client, requests)


@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join))
@settings(max_examples=100, deadline=None, database=None)
def test_whatever_is_sent(sent: bytes) -> None:
    """It is an event, the end, or refused; an event holds no more than may be sent."""

    async def work() -> None:
        reader = asyncio.StreamReader(limit=wyoming_events.LINE)
        reader.feed_data(sent)
        reader.feed_eof()
        with suppress(wyoming_events.Refused, asyncio.IncompleteReadError):
            while event := await wyoming_events.read_event(reader):
                assert isinstance(event.type, str)
                assert isinstance(event.data, dict)
                assert len(event.payload or b"") <= len(sent)

    run(work())


def test_slow_clients_are_dropped(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not finish an event, and one that reads nothing of what it asked for."""
    monkeypatch.setattr(wyoming_events, "PATIENCE", 0.2)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b'{"type": ')
        assert b"" == await reader.read()
        writer.close()
        with socket.socket() as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.connect(("127.0.0.1", running.port))
            greedy.setblocking(False)
            with pytest.raises(ConnectionError):
                await flood(greedy)
        async with running.connect() as client:
            await info(client)

    run(work())


def test_a_failure_ends_one_client(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw is told in one line, and others are served."""
    monkeypatch.setattr(WakeWords, "open", lambda *_: 1 / 0)

    async def work() -> None:
        async with running.connect() as client:
            await client.write_event(AudioChunk(RATE, 2, 1, b"00").event())
            with suppress(ConnectionError):
                assert await client.read_event() is None
        async with running.connect() as client:
            await info(client)

    run(work())
    assert ["serving the Wyoming client at 127.0.0.1 failed: division by zero"] == caplog.messages


def test_who_makes_room(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of connections that sent nothing the oldest, of clients the one silent for longest."""
    monkeypatch.setattr(server_module, "CLIENTS", 2)
    monkeypatch.setattr(server_module, "WAITING", 2)

    async def work() -> None:
        silent = []
        async with running.connect() as first:
            await info(first)
            for _ in range(5):
                silent.append(await asyncio.open_connection("127.0.0.1", running.port))
            await info(first)
            assert [b""] * 3 == [await reader.read() for reader, _ in silent[:3]]
            with suppress(ConnectionError):
                async with running.connect() as second:
                    await info(second)
                    await info(first)
                    async with running.connect() as third:
                        await info(third)
                        with suppress(ConnectionError):
                            assert await second.read_event() is None
                        await info(first)
                        await info(third)
        for _, writer in silent:
            writer.close()

    run(work())


def test_who_may_connect(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond this machine only those that are named, with a warning."""
    with pytest.raises(SettingError, match="--wyoming-allow"):
        WyomingConfig(Address.parse("0.0.0.0:1"))
    networks = serve.networks("192.0.2.0/24, 2001:db8::1")
    with caplog.at_level(logging.WARNING):
        config = WyomingConfig(Address.parse("0.0.0.0:1"), networks)
    assert "can be reached from 192.0.2.0/24, 2001:db8::1, and audio" in caplog.text
    allowed = ["127.0.0.1", "::1", "192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1"]
    refused = ["192.0.3.1", "2001:db8::2", "fe80::1%eth0", "::ffff:198.51.100.1"]
    assert [True] * 5 == [config.allows(host) for host in allowed]
    assert [False] * 4 == [config.allows(host) for host in refused]


def test_one_who_may_not_connect(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is closed, and one line tells of it however often it is tried."""
    monkeypatch.setattr(WyomingConfig, "allows", lambda *_: False)

    async def work() -> None:
        for _ in range(3):
            with suppress(ConnectionError):
                async with running.connect() as client:
                    await client.write_event(Describe().event())
                    assert await client.read_event() is None

    run(work())
    assert ["127.0.0.1 may not connect; --wyoming-allow says who may"] == caplog.messages


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--wyoming localhost:1", 2, "such as tcp://127.0.0.1:10400, got 'localhost:1'"),
        ("--wyoming tcp://x:1", 2, "such as tcp://127.0.0.1:10400, got 'tcp://x:1'"),
        ("--wyoming tcp://0.0.0.0:1", 2, "say which ones may connect with --wyoming-allow"),
        ("--wyoming tcp://127.0.0.1:1 --zeroconf", 2, "--zeroconf announces an address to other"),
        ("--zeroconf", 2, "go with --wyoming URL"),
        ("--wyoming tcp://127.0.0.1:1", 2, "no wake words: the packaged model's are offered"),
        ("--wyoming tcp://127.0.0.1:0 --keywords stopp", 2, "did you mean 'stop'?"),
        ("--wyoming tcp://127.0.0.1:0 --wyoming-model nothing", 1, "there is no model 'nothing'"),
        (
            "--wyoming tcp://127.0.0.1:TAKEN --keywords stop",
            1,
            "127.0.0.1:TAKEN (Address already in use)",
        ),
    ],
)
def test_mistakes(
    capsys: pytest.CaptureFixture[str], arguments: str, code: int, message: str
) -> None:
    """One line, and the exit code of wrong usage or of failure."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        given = arguments.replace("TAKEN", taken).split()
        assert code == main(["serve", "--no-microphone", *given])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kws: error: ")
    assert message.replace("TAKEN", taken) in line


@pytest.mark.parametrize("name", ["wyoming", "zeroconf"])
def test_a_package_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    given = ["--wyoming", "tcp://0.0.0.0:0", "--wyoming-allow", "192.0.2.1", "--zeroconf"]
    assert 1 == main(["serve", "--no-microphone", "--keywords", "stop", *given])
    assert f"pip install 'kws[{name}]'" in capsys.readouterr().err


def test_the_network_is_told(words: WakeWords) -> None:
    """Another program finds the address and the port by zeroconf, until the server ends."""
    zeroconf = pytest.importorskip("zeroconf.asyncio", reason="zeroconf is not installed")
    host = network_address()
    config = WyomingConfig(Address(host, 0), serve.networks(host), True)
    servers = Servers([Wyoming(config, words)], lambda _: None)

    async def found() -> Any:
        async with zeroconf.AsyncZeroconf() as other:
            return await other.async_get_service_info(SERVICE, service_name())

    try:
        (url,) = servers.start()
        service = run(found())
        assert service
        assert f"tcp://{service.parsed_addresses()[0]}:{service.port}" == url
    finally:
        servers.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Unix signals")
def test_through_the_whole_command(spoken: np.ndarray[Any, Any]) -> None:
    """`kws serve` without a microphone says where it serves, detects, and ends by a signal."""
    arguments = ["--no-microphone", "--wyoming", "tcp://127.0.0.1:0", "--keywords", "yes,no"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kws", "serve", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        line = process.stderr.readline()
        assert line.startswith("Serving tcp://127.0.0.1:")

        async def work() -> Detection | None:
            port = int(line.rpartition(":")[2])
            async with AsyncTcpClient("127.0.0.1", port) as client:
                return (await detection_as_home_assistant(client, chunks(spoken), "no"))[0]

        found = run(work())
        assert found
        assert "no" == found.name
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=WAIT)
    finally:
        process.kill()
    assert (0, "") == (process.returncode, errors)
    assert ["ready", "end"] == [json.loads(each)["event"] for each in output.splitlines()]


def test_the_client_of_the_page(running: Running) -> None:
    """It prints the wake words, and those of a recording with their times."""
    client = ROOT / "docs" / "examples" / "wyoming_client.py"
    command = [sys.executable, client, f"tcp://127.0.0.1:{running.port}", RECORDING]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (0, "") == (done.returncode, done.stderr)
    wake_words, *found = done.stdout.splitlines()
    words = wake_words.removeprefix("wake words: ").split(", ")
    assert words
    with Detector(keywords=words, verify=False) as detector, AudioFile(RECORDING) as source:
        expected = [f"{each.end:7.2f} s  {each.keyword}" for each in detector.listen(source)]
    assert expected == found


def commands(page: str) -> list[str]:
    """The commands that a page tells to run, without `kws`."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^kws (serve .*)$", text, re.M)


@pytest.mark.parametrize("command", commands("wyoming.md"))
def test_commands_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoken: np.ndarray[Any, Any], command: str
) -> None:
    """Each runs, at an address of this machine and with a recording in place of the silence."""
    for name in ("kitchen", "workshop"):
        write_own(tmp_path / name, name)
    soundfile.write(tmp_path / "audio.wav", spoken, RATE)
    monkeypatch.chdir(tmp_path)
    address = "127.0.0.1"
    if "--zeroconf" in command:
        pytest.importorskip("zeroconf", reason="zeroconf is not installed")
        address = network_address()
    command = re.sub(r"tcp://[\d.]+:10400", f"tcp://{address}:0", command)
    assert 0 == main(command.replace("--no-microphone", "--input audio.wav").split())
