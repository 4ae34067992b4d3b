"""Which detections count, and what they do: arming, programs, webhooks."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from interrupted import ends, interrupt, tear
from tone_model import tone

from kws import AudioFile, Detection, Detector, Listener
from kws.app.arming import Arming, ArmingConfig
from kws.app.events import Paused
from kws.app.outputs import Output, mqtt, webhook
from kws.app.outputs.command import Command
from kws.app.outputs.mqtt import Mqtt, MqttConfig
from kws.app.outputs.recordings import Recordings
from kws.app.outputs.webhook import Webhook
from kws.app.pause import Pause
from kws.audio.gap import Gap
from kws.cli import main
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.errors import SettingError

WAIT = 30.0  # seconds, for what takes far less


def word(keyword: str, end: float) -> Detection:
    return Detection(keyword, 0.75, end - 0.5, end)


def until(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true."""
    deadline = time.monotonic() + WAIT
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def counted(config: ArmingConfig, *spoken: Detection) -> list[tuple[str, float]]:
    arming = Arming(config)
    return [(each.keyword, each.end) for each in spoken if arming.counts(each)]


def test_without_conditions_every_word_counts() -> None:
    assert [("go", 1.0), ("go", 1.6)] == counted(ArmingConfig(), word("go", 1.0), word("go", 1.6))


def test_a_word_counts_once_within_its_time_after_another() -> None:
    """At the limit it still counts, beyond it no more; the arming word itself never does."""
    config = ArmingConfig(after="yes", within=4.0)
    spoken = [
        word("go", 0.5),
        word("yes", 1.0),
        word("stop", 5.0),
        word("go", 5.5),
        word("yes", 10.0),
        word("go", 14.02),
    ]
    assert [("stop", 5.0)] == counted(config, *spoken)


def test_a_word_cools_down_by_itself() -> None:
    config = ArmingConfig(cool_down={"go": 2.0})
    spoken = [word("go", 1.0), word("go", 2.9), word("stop", 2.9), word("go", 3.0)]
    assert [("go", 1.0), ("stop", 2.9), ("go", 3.0)] == counted(config, *spoken)


@pytest.mark.parametrize(
    "config", [{"within": 0.0}, {"within": float("nan")}, {"cool_down": {"go": -1.0}}]
)
def test_times_that_do_not_exist(config: dict[str, object]) -> None:
    with pytest.raises(SettingError, match="expected seconds above 0"):
        ArmingConfig(**config)  # type: ignore[arg-type]


def test_a_listener_gives_what_counts() -> None:
    """In the demonstration "no" follows "yes" within two seconds; no other word follows it."""
    config = ArmingConfig(after="yes", within=2.0)
    with Listener(AudioFile(RECORDING), arming=config) as listener:
        assert ["no"] == [each.keyword for each in listener]
    with pytest.raises(SettingError, match=r"'yess' is no keyword .* did you mean yes"):
        Listener(AudioFile(RECORDING), arming=ArmingConfig(after="yess"))


QUIET = np.zeros(SAMPLE_RATE, np.int16)


def spoken(*words: str) -> list[np.ndarray]:
    """A second of quiet before each tone, in blocks of any length."""
    audio = np.concatenate([part for each in words for part in (QUIET, tone(each))] + [QUIET])
    return np.array_split(audio, 70)


def test_a_second_model_arms(tones: Path) -> None:
    """By one of its words or by any; no word arms itself."""
    words = spoken("high", "low", "high", "high")
    config = ArmingConfig("low", tones, within=4.0)
    for arming, keywords, expected in (
        (config, ("high",), [6]),
        (config, None, [6]),
        (ArmingConfig(after_model=tones, within=2.5), ("high",), [6, 8]),
    ):
        detector = Detector(tones, keywords=keywords)
        with Listener(words, detector=detector, arming=arming) as listener:
            assert expected == [round(each.end) for each in listener], arming
    with pytest.raises(SettingError, match=r"'lw'.*low"):
        Listener(words, detector=Detector(tones), arming=ArmingConfig("lw", tones))


def test_a_word_pauses_listening(tones: Path) -> None:
    """For its time, and shorter where the mute switch is thrown; it does nothing else."""
    words = spoken("low", "high", "high", "high")
    config = ArmingConfig(pause_on="low", pause_for=2.5)
    with Listener(words, detector=Detector(tones), arming=config) as listener:
        assert [6, 8] == [round(each.end) for each in listener]

    def impatient() -> Iterator[np.ndarray]:
        for block in words:
            if listener.paused:
                listener.resume()
            yield block

    with Listener(impatient(), detector=Detector(tones), arming=config) as listener:
        assert [4, 6, 8] == [round(each.end) for each in listener]
    with pytest.raises(SettingError, match="expected two words, got 'low' to arm and to pause"):
        ArmingConfig("low", pause_on="low").check(["low"])


class TestPause:
    """Blocks of a second."""

    def test_a_time_and_the_switch(self) -> None:
        told: list[bool] = []
        pause = Pause(told.append)

        def second() -> bool:
            """Whether the next one passes."""
            return pause.passed(QUIET) is QUIET

        assert second()
        pause.pause(2.0)
        assert [False, False, True] == [second() for _ in range(3)]
        pause.pause(2.0)
        pause.resume()
        assert second()
        pause.pause(1.0)
        pause.pause()
        pause.pause(1.0)
        assert [False, False] == [second() for _ in range(2)], "the switch lasts"
        assert [True, False, True, False, True] == told

    def test_gaps_count(self) -> None:
        pause = Pause()
        pause.pause(2.0)
        gap = Gap(2 * SAMPLE_RATE)
        assert pause.passed(gap) is gap
        assert pause.passed(QUIET) is QUIET


@pytest.fixture
def written(tmp_path: Path) -> tuple[str, Path]:
    """A command that appends its arguments as a line of JSON to a file, and the file."""
    out = tmp_path / "out.jsonl"
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys\n"
        f"with open({str(out)!r}, 'a') as file:\n"
        "    file.write(json.dumps(sys.argv[1:]) + '\\n')\n",
        encoding="utf-8",
    )
    return f"'{sys.executable}' '{program}'", out


def test_arguments_are_inert(written: tuple[str, Path]) -> None:
    """Whatever a value holds, it stays one argument, and is not filled in again."""
    command, out = written
    output = Command(f"{command} '{{keyword}}' --at={{time}} {{score}}", timeout=WAIT)
    nasty = "$(touch x); '\" {score} & | *"
    output.put(Detection(nasty, 0.5, 0.0, 1.0, time=12.5))
    output.close()
    assert [[nasty, "--at=12.500", "0.5000"]] == [
        json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "expected a command, got nothing"),
        ("echo 'open", "No closing quotation"),
        ("no-such-program-at-all {keyword}", "not in the search path"),
        ("echo {word}", r"expected one of \{keyword\}, \{score\}, \{time\}, got \{word\}"),
    ],
)
def test_commands_that_cannot_run(command: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Command(command)


def test_a_program_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    output = Command(f"'{sys.executable}' -c 'raise SystemExit(3)'", timeout=WAIT)
    output.put(word("go", 1.0))
    output.close()
    assert "for go ended with code 3" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for the child in /proc")
def test_a_program_that_hangs_is_ended_with_its_children(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    child = tmp_path / "child"
    program = (
        "import pathlib, subprocess, sys, time; "
        "it = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)']); "
        f"pathlib.Path({str(child)!r}).write_text(str(it.pid)); time.sleep(3600)"
    )
    output = Command(f'"{sys.executable}" -c "{program}"', timeout=5.0)
    output.put(word("go", 1.0))
    output.close()
    assert "was ended after 5 s" in caplog.text
    assert until(lambda: not runs(int(child.read_text(encoding="ascii"))))


def runs(process: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] != "Z"


def test_at_most_so_many_run_at_once(caplog: pytest.LogCaptureFixture) -> None:
    output = Command(f"'{sys.executable}' -c 'import time; time.sleep(3600)'", 2.0, at_most=2)
    begin = time.monotonic()
    for keyword in ("go", "stop", "left"):
        output.put(word(keyword, 1.0))
    assert time.monotonic() - begin < 2.0, "the microphone's loop waited"
    output.close()
    assert "left is left out: too many programs run" in caplog.text
    assert "stop is left out" not in caplog.text


class Server:
    """An HTTP server on loopback that responds as it is told, and keeps what came."""

    def __init__(self) -> None:
        self.responses: list[int] = []  # codes of the next requests; 200 after them
        self.received: list[tuple[dict[str, str], bytes]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.received.append((dict(self.headers), body))
                code = server.responses.pop(0) if server.responses else 200
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/event"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(webhook, "PAUSES", (0.01, 0.01, 0.01, 0.01))
    running = Server()
    yield running
    running.close()


def test_an_event_is_posted_as_json_with_its_token(server: Server) -> None:
    output = Webhook(server.url, token="secret")
    output.put(word("go", 1.0))
    assert until(lambda: len(server.received) == 1)
    output.close()
    headers, body = server.received[0]
    assert "Bearer secret" == headers["Authorization"]
    event = json.loads(body)
    assert (1, "detection", "go") == (event["v"], event["event"], event["keyword"])


def test_a_server_that_fails_is_tried_again(server: Server) -> None:
    server.responses = [503, 500]
    output = Webhook(server.url)
    output.put(word("go", 1.0))
    assert until(lambda: len(server.received) == 3)
    output.close()
    assert 1 == len({body for _, body in server.received})


@pytest.mark.parametrize("code", [302, 400, 401])
def test_what_is_refused_or_redirected_is_not_tried_again(
    server: Server, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The token goes nowhere else; the next event is sent all the same."""
    server.responses = [code]
    output = Webhook(server.url, token="secret")
    output.put(word("go", 1.0))
    output.put(word("stop", 2.0))
    assert until(lambda: len(server.received) == 2)
    output.close()
    assert ["go", "stop"] == [json.loads(body)["keyword"] for _, body in server.received]
    assert f"the server returned {code}" in caplog.text


def test_a_server_that_is_not_there_holds_nothing_up(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue is bounded, the oldest goes and is told, and closing does not wait for all."""
    server.close()
    server.close = lambda: None  # type: ignore[method-assign]
    output = Webhook(server.url)
    with caplog.at_level(logging.WARNING):
        for number in range(3 * webhook.WAITING):
            output.put(word("go", float(number)))
        output.close()
    assert "go was not sent: 64 events wait" in caplog.text


@pytest.mark.parametrize(
    "url", ["", "example.org/x", "ftp://example.org", "http://[::1", "https://"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(SettingError, match="expected an address such as https"):
        Webhook(url)


def test_plain_http_stays_on_this_machine() -> None:
    """Unless it is allowed; an address that only looks like loopback is not."""
    for url in ("http://example.org/x", "http://127.0.0.1.example.org/", "http://10.0.0.1/"):
        with pytest.raises(SettingError, match="over plain http can be read on the way"):
            Webhook(url)
    for url in ("http://localhost:1/x", "http://[::1]:1/", "http://127.8.0.1:1/"):
        Webhook(url).close()
    Webhook("http://10.0.0.1/", insecure=True).close()


def test_listening_with_actions(
    written: tuple[str, Path], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command: one armed word of the demonstration is shown, run and posted."""
    command, out = written
    token = tmp_path / "token"
    token.write_text("secret\n", encoding="ascii")
    arguments = ["listen", "--input", str(RECORDING), "--json", "--after", "yes", "--within", "2"]
    arguments += ["--exec", f"{command} {{keyword}}", "--exec-timeout", str(WAIT)]
    arguments += ["--webhook", server.url, "--webhook-token-file", str(token)]
    assert 0 == main(arguments)
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["no"] == [each["keyword"] for each in shown if each["event"] == "detection"]
    assert '["no"]\n' == out.read_text(encoding="utf-8")
    assert until(lambda: len(server.received) == 1)
    headers, body = server.received[0]
    assert ("Bearer secret", "no") == (headers["Authorization"], json.loads(body)["keyword"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--after", "yess"], "did you mean yes"),
        (["--cool-down", "stopp=2"], "did you mean stop"),
        (["--within", "2"], "--within goes with --after"),
        (["--pause-for", "2"], "--pause-for goes with --pause-on"),
        (["--pause-on", "stopp"], "did you mean stop"),
        (["--after", "yess", "--after-model", "commands"], "yes"),
        (["--exec", "no-such-program-at-all"], "not in the search path"),
        (["--webhook", "http://example.org"], "--webhook-insecure"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["listen", "--input", str(RECORDING), *arguments])
    error = capsys.readouterr().err
    assert 1 == len(error.splitlines())
    assert message in error


def test_a_token_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file and one that holds more than a token are named."""
    many = tmp_path / "many"
    many.write_text("one two\n", encoding="ascii")
    for path in (tmp_path / "none", many):
        arguments = ["--webhook", "https://localhost/", "--webhook-token-file", str(path)]
        assert 1 == main(["listen", "--input", str(RECORDING), *arguments])
        assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["webhook", "recordings", "mqtt"])
def test_torn_anywhere(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal to stop that tears an output from its queue leaves nothing locked: what was put
    before can be dealt with, and the output ends."""
    monkeypatch.setattr(webhook, "PAUSES", ())
    monkeypatch.setattr(mqtt, "TIMEOUT", 0.02)

    def made() -> Output:
        if kind == "webhook":
            return Webhook("http://127.0.0.1:9/")
        if kind == "recordings":
            return Recordings(tmp_path, 10, 10_000_000)
        pytest.importorskip("paho.mqtt.client")
        return Mqtt(MqttConfig("127.0.0.1:9", "x"), lambda _: None)

    def put(output: Output) -> None:
        output.put(word("go", 1.0))
        output.put(Paused(0.0))

    at, reached = 0, True
    while reached:
        at += 1
        output = made()
        reached = interrupt(lambda output=output: put(output), tear, at)  # type: ignore[misc]
        assert ends(output.close), f"it cannot be closed after place {at}"
        assert ends(output._thread.join), f"its thread hangs after place {at}"  # type: ignore[attr-defined]
