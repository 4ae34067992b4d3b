"""`kws serve --http`: events, metrics and the page; who may not, and who is dropped."""

from __future__ import annotations

import builtins
import http.client
import json
import re
import shlex
import shutil
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'kws[web]'")

from kws import load_model
from kws.app.events import Paused, Ready, Resumed
from kws.app.servers import Servers, http_connections
from kws.app.servers.address import Address
from kws.app.servers.http import HttpServer
from kws.app.servers.site import read_site
from kws.audio.events import SourceEvent
from kws.cli import main
from kws.decision import Detection
from kws.errors import SettingError
from kws.web import bundle

WAIT = 30.0  # seconds, for what takes far less
TOKEN = "a b;c"  # none that is easy to send

Response = tuple[int, dict[str, str], bytes]


class Served:
    """A server on a thread of its own, and what it was asked to do."""

    def __init__(self, address: Address, token: str | None = None) -> None:
        self.muted: list[bool] = []
        self.http = HttpServer(address, token, *read_site(None, {}, Path("no runtime")))
        self.servers = Servers([self.http], self.muted.append)
        (url,) = self.servers.start()
        self.port = urllib.parse.urlsplit(url).port or 0
        self.manifest = load_model().manifest

    def request(self, path: str, method: str = "GET", **headers: str) -> Response:
        """Status, headers and body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, WAIT)) as connection:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def socket(self, content: bytes = b"") -> socket.socket:
        """A connection over which this has been sent."""
        opened = socket.create_connection(("127.0.0.1", self.port), WAIT)
        opened.sendall(content)
        return opened

    @contextmanager
    def events(self) -> Iterator[Callable[[], dict[str, Any]]]:
        """A function that waits for the next event."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, WAIT)) as connection:
            connection.request("GET", "/events")
            response = connection.getresponse()
            assert "text/event-stream" == response.headers["Content-Type"]

            def following() -> dict[str, Any]:
                while True:
                    line = response.readline()
                    if line.startswith(b"data: "):
                        event: dict[str, Any] = json.loads(line[6:])
                        return event
                    assert line, "the connection was closed"

            yield following

    def ready(self) -> None:
        self.servers.put(Ready(1.0, "a microphone", self.manifest, self.manifest.thresholds))


@pytest.fixture
def served() -> Iterator[Served]:
    """A server at the loopback address, without a token."""
    server = Served(Address("127.0.0.1", 0))
    yield server
    server.servers.close()


def detection(score: float = 0.9) -> Detection:
    return Detection("stop", score, 1.0, 2.0, time=1_800_000_000.0)


def test_events_begin_with_a_snapshot(served: Served) -> None:
    """Who comes late learns what has been, and then each event; levels and posteriors between."""
    served.ready()
    served.servers.put(detection(0.8))
    served.servers.put(Paused(2.0))
    with served.events() as following:
        snapshot = following()
        assert "snapshot" == snapshot["event"]
        assert snapshot["paused"]
        assert list(served.manifest.labels) == snapshot["ready"]["labels"]
        assert [0.8] == [each["score"] for each in snapshot["detections"]]
        served.servers.put(Resumed(3.0))
        assert "resumed" == following()["event"]
        served.servers.put(detection())
        assert {
            "event": "detection",
            "keyword": "stop",
            "score": 0.9,
        }.items() <= following().items()
        rows = np.full((4, len(served.manifest.labels)), 0.25, np.float32)
        served.http.observe(np.full(1_280, 16_384, np.int16), [rows], [])
        shown = following()
        assert ("rows", -6.0) == (shown["event"], shown["level"])
        assert [0.25] * len(served.manifest.labels) == shown["posteriors"]


def test_health_and_metrics(served: Served) -> None:
    """Health is a status code for a supervisor, metrics are what Prometheus reads."""
    assert 503 == served.request("/healthz")[0]
    served.ready()
    served.http.observe(np.zeros(16_000, np.int16), [], [])
    served.servers.put(detection())
    assert (200, b'{"status": "listening"}') == served.request("/healthz")[::2]
    text = served.request("/metrics")[2].decode()
    assert 'kws_detections_total{keyword="stop"} 1\n' in text
    assert 'kws_detections_total{keyword="go"} 0\n' in text
    assert "kws_audio_seconds_total 1\n" in text
    line = re.compile(r"(# (HELP|TYPE) kws_\w+ .+|kws_\w+(\{\w+=\"[^\"]*\"\})? [\d.e+-]+)")
    assert all(line.fullmatch(each) for each in text.splitlines())


def test_the_mute_switch(served: Served) -> None:
    """Only by POST, and by no other page."""
    assert 404 == served.request("/pause")[0]
    assert 403 == served.request("/pause", "POST", Origin="http://elsewhere.example")[0]
    assert 403 == served.request("/pause", "POST", Origin="null")[0]
    assert [] == served.muted
    own = f"http://127.0.0.1:{served.port}"
    assert (200, b'{"paused": true}') == served.request("/pause", "POST", Origin=own)[::2]
    assert 200 == served.request("/resume", "POST")[0]
    assert [True, False] == served.muted


def test_names_that_were_made_to_lead_here(served: Served) -> None:
    """A page whose own name leads to 127.0.0.1 reads nothing (DNS rebinding)."""
    assert 421 == served.request("/metrics", Host=f"elsewhere.example:{served.port}")[0]
    assert 200 == served.request("/metrics", Host=f"localhost:{served.port}")[0]
    assert 421 == served.request("/metrics", Host="[::1")[0]
    assert 403 == served.request("/metrics", Origin="http://[::1")[0]
    with closing(served.socket(b"GET /metrics HTTP/1.0\r\n\r\n")) as opened:
        assert b" 421 " in opened.recv(100)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_other_pages_embed(served: Served, site: str) -> None:
    """An image or a script at these addresses: browsers send no origin, but where it comes from."""
    for path in ("/events", "/metrics", "/healthz", "/page.js"):
        assert 403 == served.request(path, **{"Sec-Fetch-Site": site})[0]
    assert 200 == served.request("/", **{"Sec-Fetch-Site": site})[0]
    assert 200 == served.request("/metrics", **{"Sec-Fetch-Site": "same-origin"})[0]


STRANGE = {
    "two names": b"GET http://localhost/metrics HTTP/1.1\r\nHost: elsewhere.example\r\n",
    "two hosts": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: elsewhere.example\r\n",
    "a host with a name": b"GET /metrics HTTP/1.1\r\nHost: localhost@elsewhere.example\r\n",
    "a host that begins alike": b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.elsewhere.example\r\n",
    "a number": b"GET /metrics HTTP/1.1\r\nHost: 2130706433\r\n",
    "no address": b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n",
    "a web socket": b"GET /events HTTP/1.1\r\nHost: localhost\r\nOrigin: http://elsewhere.example\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "two lengths": b"POST /pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n",
    "a length below 0": b"POST /pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("sent", STRANGE.values(), ids=STRANGE)
def test_strange_requests(served: Served, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """They are refused, nothing is logged, and others are served."""
    with closing(served.socket(sent + b"\r\n")) as opened:
        assert re.match(rb"HTTP/1\.\d 4\d\d ", opened.recv(100))
    assert 503 == served.request("/healthz")[0]
    assert [] == served.muted
    assert "" == caplog.text


def test_the_page(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, under a strict policy, and from memory: no request opens a file."""

    def no_file(*_: Any, **__: Any) -> Any:
        raise AssertionError("a file was opened")

    status, headers, body = served.request("/")
    monkeypatch.setattr(builtins, "open", no_file)
    monkeypatch.setattr(Path, "open", no_file)
    monkeypatch.setattr(Path, "read_bytes", no_file)
    assert 200 == status
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval';" in policy
    assert "unsafe-inline" not in policy
    text = body.decode()
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|style=|https?:", text)
    paths = [f"/{name}" for name in re.findall(r'(?:src|href)="([^"]+)"', text)]
    for path in paths:
        status, headers, body = served.request(path)
        assert (200, policy) == (status, headers["Content-Security-Policy"]), path
        assert 304 == served.request(path, **{"If-None-Match": headers["ETag"]})[0]
        if headers["Content-Type"] == "text/javascript":
            folder = path.rpartition("/")[0]
            more = re.findall(r'from "\./([\w./-]+)"', body.decode())
            paths += [each for name in more if (each := f"{folder}/{name}") not in paths]
    assert len(paths) > 12


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/%2e%2e/kws/config.py", "//etc/passwd", "/page.js/..", "/nothing"],
)
def test_no_other_files(served: Served, path: str) -> None:
    assert 404 == served.request(path)[0]


def test_the_files_of_the_model(tmp_path: Path) -> None:
    """Those that the page fetches: of the verifier only where it is to run."""
    for name in bundle.FILES:
        (tmp_path / name).touch()
    manifest = load_model().manifest
    assert manifest.verifier
    first, larger = manifest.artefacts["stream.onnx"].file, manifest.verifier.artefact.file
    for options, expected in (({}, {first, larger}), ({"verify": False}, {first})):
        site, browser = read_site(None, options, tmp_path)
        assert {"manifest": "/model/manifest.json", "options": options} == browser
        names = {name.rpartition("/")[2] for name in site if name.startswith("/model/")}
        assert expected | {"manifest.json"} == names


def test_without_the_runtime(served: Served) -> None:
    """The page still shows the device, and says how to get what is missing."""
    with served.events() as following:
        assert "python -m kws.web.bundle" in following()["browser"]["problem"]


def test_beyond_this_machine(caplog: pytest.LogCaptureFixture) -> None:
    """Other machines need the token; it comes by a link, which leaves a cookie, or as a bearer."""
    with pytest.raises(SettingError, match="set a token"):
        Served(Address("0.0.0.0", 0))
    server = Served(Address("0.0.0.0", 0), TOKEN)
    assert "can be reached by other machines" in caplog.text
    try:
        for path in ("/", "/events", "/metrics", "/page.js", "/?token=wrong", "/metrics?token=a"):
            assert 401 == server.request(path)[0], path
        assert 401 == server.request("/pause", "POST")[0]
        assert [] == server.muted
        status, headers, _ = server.request(f"/?token={urllib.parse.quote(TOKEN)}")
        assert (303, "/") == (status, headers["Location"])
        assert "HttpOnly; SameSite=Strict" in headers["Set-Cookie"]
        cookie = headers["Set-Cookie"].split("; ")[0]
        assert 200 == server.request("/page.js", Cookie=cookie)[0]
        assert 200 == server.request("/metrics", Authorization=f"Bearer {TOKEN}")[0]
        assert 503 == server.request("/healthz")[0]  # which tells nothing else
    finally:
        server.servers.close()


def test_many_connections_that_send_nothing(served: Served) -> None:
    """Of too many connections those go that wait for a request; others are served meanwhile."""
    served.ready()
    with served.events() as following:
        assert "snapshot" == following()["event"]
        idle = [served.socket(b"GET / HTTP/1.1\r\nHost:") for _ in range(200)]
        assert 200 == served.request("/healthz")[0]
        served.servers.put(detection())
        assert "detection" == following()["event"]
        assert served.http._connections
        assert len(served.http._connections.open) <= http_connections.CONNECTIONS
        for each in idle:
            each.close()


def test_a_request_that_never_ends(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends headers for longer than the limit is dropped (slow loris)."""
    monkeypatch.setattr(http_connections, "REQUEST", 0.2)
    with closing(served.socket(b"GET / HTTP/1.1\r\n")) as slow:
        wait_until_closed(slow)


@pytest.mark.parametrize(
    "content",
    [
        b"GET /" + 100_000 * b"a" + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + 10_000 * b"A: b\r\n" + b"\r\n",
        b"\x16\x03\x01" + 5_000 * b"\xff",
        b"POST /pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n"
        + 200_000 * b"a",
    ],
    ids=["long", "many", "binary", "body"],
)
def test_requests_that_are_too_large(served: Served, content: bytes) -> None:
    """They are refused or cut off, and nothing is kept of them."""
    with closing(served.socket()) as opened:
        try:
            opened.sendall(content)
        except OSError:  # cut off meanwhile
            return
        wait_until_closed(opened)


def test_a_client_that_does_not_read(served: Served) -> None:
    """It is dropped once enough waits for it; who reads misses nothing."""
    with closing(socket.socket()) as slow, served.events() as following:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", served.port))
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert "snapshot" == following()["event"]
        for number in range(400):
            served.servers.put(SourceEvent("lost", 1.0, float(number), "x" * 20_000))
            assert number == following()["seconds"]
            if b"kws_dropped_clients_total 1" in served.request("/metrics")[2]:
                break
        else:
            raise AssertionError("it was not dropped")
        assert b"kws_clients 1" in served.request("/metrics")[2]


def test_too_many_followers(served: Served) -> None:
    """They get a status that says so."""
    followers = [
        served.socket(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(16)
    ]
    for each in followers:
        assert each.recv(12) == b"HTTP/1.1 200"
    assert 503 == served.request("/events")[0]
    for each in followers:
        each.close()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is served while it listens, and the URL is shown; addresses that are none are errors."""
    threads = threading.active_count()
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000, np.int16), 16_000)
    command = ["serve", "--input", str(path), "--json", "--no-verifier", "--http"]
    assert 0 == main([*command, "127.0.0.1:0"])
    assert re.fullmatch(r"Serving http://127\.0\.0\.1:\d+/\n", capsys.readouterr().err)
    assert threads == threading.active_count()
    assert 2 == main([*command, "kws.example:80"])
    assert 2 == main([*command, "0.0.0.0:0"])
    assert "set a token" in capsys.readouterr().err
    assert 2 == main(["serve", "--demo", "--http-token-file", "token.txt"])
    assert "goes with --http" in capsys.readouterr().err


def commands_of_the_page(program: str) -> list[str]:
    """The lines of docs/web.md with a program."""
    text = (Path(__file__).parent.parent / "docs" / "web.md").read_text(encoding="utf-8")
    lines = re.findall(
        rf"^.*\b{program} .*$", "".join(re.findall(r"^```\n(.*?)^```$", text, re.S | re.M)), re.M
    )
    assert lines
    return lines


def test_serving_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of docs/web.md, at a free port and with a recording as microphone."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("silence.wav", np.zeros(16_000, np.int16), 16_000)
    Path("token.txt").write_text("secret")
    for line in commands_of_the_page("kws serve"):
        variable, _, command = line.rpartition("kws serve ")
        with monkeypatch.context() as environment:
            if variable:
                environment.setenv(*variable.strip().split("="))
            arguments = re.sub(r":\d+", ":0", command).split()
            assert 0 == main(["serve", "--input", "silence.wav", "--no-verifier", *arguments]), line


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_as_the_page_says(served: Served) -> None:
    """Events come as they are, and the switch is thrown."""
    events, pause = commands_of_the_page("curl")
    for line, expected in ((events, b'data: {"event": "snapshot"'), (pause, b'{"paused": true}')):
        command = shlex.split(line.replace(":8123", f":{served.port}"))
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout
            assert process.stdout.read(len(expected)) == expected
            process.kill()
    assert [True] == served.muted


def wait_until_closed(opened: socket.socket) -> None:
    """Until the other end closes it, after an answer or without one; raises TimeoutError."""
    try:
        while opened.recv(65_536):
            pass
    except ConnectionError:
        pass
