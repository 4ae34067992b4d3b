"""Events to a real MQTT broker: Home Assistant's discovery, the mute switch, restarts, TLS."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kws import Detection
from kws.app.events import Paused, Ready, Resumed
from kws.app.outputs.mqtt import Mqtt, MqttConfig
from kws.cli import main
from kws.demo import RECORDING
from kws.errors import SettingError
from kws.model.load import load_model

mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")

ROOT = Path(__file__).parent.parent
WAIT = 30.0  # seconds, for what takes far less
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


def until(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true."""
    deadline = time.monotonic() + WAIT
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def word(keyword: str) -> Detection:
    return Detection(keyword, 0.75, 0.5, 1.0)


def ready() -> Ready:
    return Ready(0.0, "test", load_model().manifest, {"go": 0.5, "stop": 0.5})


class Broker:
    """Mosquitto on loopback, with its own configuration."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true\n") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nuser root\n{lines}")
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert until(self._responds)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _responds(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True


class Client:
    """What another client of the broker sees: topic, payload, whether it was kept."""

    def __init__(self, port: int, kept: bool = False) -> None:
        """With `kept` the broker keeps what comes while this client is away."""
        self.seen: list[tuple[str, str, bool]] = []
        self._subscribed = threading.Event()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id="test" if kept else "",
            clean_session=not kept,
        )
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._subscribed.wait(WAIT)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        self.seen.append((message.topic, message.payload.decode(), message.retain))

    def last(self, topic: str) -> str | None:
        return next((payload for name, payload, _ in self.seen[::-1] if name == topic), None)

    def words(self) -> list[str]:
        return [
            json.loads(payload)["event_type"]
            for name, payload, _ in list(self.seen)
            if name == "kws/living_room/event"
        ]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def commands_of_the_page() -> list[str]:
    """Those of docs/home-assistant.md, without `kws`: with TLS and without."""
    text = (ROOT / "docs" / "home-assistant.md").read_text(encoding="utf-8")
    return re.findall(r"^kws (listen .*)$", text, re.M)


@pytest.fixture
def open_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Opens a broker, with lines of configuration, that ends with the test."""
    opened: list[Broker] = []

    def open_one(*lines: str) -> Broker:
        opened.append(Broker(tmp_path, *lines))
        return opened[-1]

    yield open_one
    for each in opened:
        each.kill()


@pytest.fixture
def broker(open_broker: Callable[..., Broker]) -> Broker:
    return open_broker()


@needs_broker
def test_home_assistant_finds_and_mutes_it(broker: Broker) -> None:
    """Discovery, state and availability are kept, and told again on request; events are not."""
    muted: list[bool] = []

    def mute(value: bool) -> None:
        muted.append(value)
        output.put(Paused(0.0) if value else Resumed(0.0))

    client = Client(broker.port)
    config = MqttConfig(f"127.0.0.1:{broker.port}", "Living Room", hermes=True)
    output = Mqtt(config, mute)
    output.put(ready())
    output.put(word("go"))
    assert until(lambda: client.words() == ["go"])
    assert until(lambda: client.last("hermes/hotword/go/detected") is not None)
    event = json.loads(client.last("homeassistant/event/kws_living_room/keyword/config") or "")
    assert ["go", "stop"] == event["event_types"]
    assert "kws/living_room/event" == event["state_topic"]
    switch = json.loads(client.last("homeassistant/switch/kws_living_room/mute/config") or "")
    for payload, value in (("ON", True), ("OFF", False)):
        client.client.publish(switch["command_topic"], payload, qos=1)
        assert until(lambda payload=payload: client.last(switch["state_topic"]) == payload)
        assert value == muted[-1]
    client.seen.clear()
    client.client.publish("homeassistant/status", "online", qos=1)
    assert until(lambda: client.last(event["availability_topic"]) == "online")
    later = Client(broker.port)
    assert until(lambda: len(later.seen) == 4)
    assert all(kept for _, _, kept in later.seen)
    assert [] == later.words()
    output.close()
    assert until(lambda: later.last("kws/living_room/status") == "offline")
    client.close()
    later.close()


@needs_broker
def test_the_switch_pauses_listening(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command, muted as soon as it is there: it says so and detects nothing more."""
    client = Client(broker.port)
    client.client.message_callback_add(
        "kws/living_room/status",
        lambda it, _, message: it.publish("kws/living_room/mute/set", "ON", qos=1),
    )
    arguments = ["listen", "--demo", "--json", "--mqtt-name", "Living Room"]
    assert 0 == main([*arguments, "--mqtt", f"127.0.0.1:{broker.port}"])
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert "paused" in events
    assert "detection" not in events[events.index("paused") :]
    assert "ON" == client.last("kws/living_room/mute")
    client.close()


@needs_broker
def test_the_command_of_the_page(broker: Broker) -> None:
    """A broker of this machine needs no more than its name; the device has the machine's."""
    client = Client(broker.port)
    command = commands_of_the_page()[1].replace("localhost", f"localhost:{broker.port}")
    assert 0 == main([*command.split(), "--input", str(RECORDING)])
    assert until(lambda: any(topic.endswith("/event") for topic, _, _ in client.seen))
    client.close()


@needs_broker
def test_a_broker_that_was_killed(
    open_broker: Callable[..., Broker], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is detected before, meanwhile and after is sent; discovery is sent again."""
    broker = open_broker(
        "allow_anonymous true\npersistence true\nautosave_on_changes true\n"
        f"autosave_interval 1\npersistence_location {tmp_path}/\n",
    )
    client = Client(broker.port, kept=True)
    output = Mqtt(MqttConfig(f"127.0.0.1:{broker.port}", "Living Room"), lambda _: None)
    output.put(ready())
    output.put(word("go"))
    assert until(lambda: client.words() == ["go"])
    client.close()
    assert until((tmp_path / "mosquitto.db").exists)
    broker.kill()
    assert until(lambda: "trying on" in caplog.text)
    output.put(word("stop"))
    broker.start()
    client = Client(broker.port, kept=True)
    assert until(lambda: "stop" in client.words())
    output.put(word("go"))
    assert until(lambda: "go" == client.words()[-1])
    topics = [topic for topic, _, _ in client.seen]
    assert "homeassistant/event/kws_living_room/keyword/config" in topics
    output.close()
    client.close()


@needs_broker
def test_old_events_are_not_sent(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kws.app.outputs.mqtt.MAX_AGE", -1.0)
    output = Mqtt(MqttConfig(f"127.0.0.1:{broker.port}", "Living Room"), lambda _: None)
    output.put(word("stop"))
    assert until(lambda: "stop was not sent: it is too old" in caplog.text)
    output.close()


@needs_broker
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_and_password(
    open_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command, and that of the page: the certificate is checked, the password is sent."""
    key, certificate, passwords = (tmp_path / name for name in ("key", "cert", "passwords"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    command = ["mosquitto_passwd", "-b", "-c", str(passwords), "kws", "secret"]
    subprocess.run(command, check=True, capture_output=True)
    broker = open_broker(
        f"certfile {certificate}\nkeyfile {key}\nallow_anonymous false\n"
        f"password_file {passwords}\n",
    )
    monkeypatch.setenv("KWS_MQTT_PASSWORD", "secret")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.username_pw_set("kws", "secret")
    client.tls_set(str(certificate))
    seen: list[tuple[str, str]] = []
    client.on_connect = lambda it, *_: it.subscribe("kws/+/event", 1)
    client.on_message = lambda _, __, message: seen.append(
        (message.topic, json.loads(message.payload)["event_type"])
    )
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("localhost", broker.port)
    client.loop_start()
    assert subscribed.wait(WAIT)
    arguments = ["listen", "--input", str(RECORDING), "--quiet", "--mqtt-name", "Living Room"]
    arguments += ["--mqtt", f"localhost:{broker.port}", "--mqtt-tls", "--mqtt-ca", str(certificate)]
    assert 0 == main([*arguments, "--mqtt-user", "kws"])
    assert until(lambda: ("kws/living_room/event", "yes") in seen)
    monkeypatch.delenv("KWS_MQTT_PASSWORD")
    monkeypatch.chdir(tmp_path)
    Path("password.txt").write_text("secret\n")
    page = commands_of_the_page()[0].replace("broker.example", f"localhost:{broker.port}").split()
    assert 0 == main([*page, "--input", str(RECORDING), "--mqtt-ca", str(certificate)])
    assert until(lambda: ("kws/kitchen/event", "yes") in seen)
    client.disconnect()
    client.loop_stop()


def test_a_broker_that_is_not_there_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue is bounded, the oldest goes and is told, and closing does not wait for ever."""
    monkeypatch.setattr("kws.app.outputs.mqtt.TIMEOUT", 0.1)
    output = Mqtt(MqttConfig("127.0.0.1:1", "Living Room"), lambda _: None)
    for _ in range(65):
        output.put(word("go"))
    output.close()
    assert "go was not sent: 64 events wait" in caplog.text
    assert "64 events were not sent" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mqtt", "broker.example"], "--mqtt-insecure"),
        (["--mqtt", "127.0.0.1.example.org"], "--mqtt-insecure"),
        (["--mqtt", "mqtt://localhost"], "expected HOST or HOST:PORT"),
        (["--mqtt", "localhost:99999"], "expected HOST or HOST:PORT"),
        (["--mqtt", "a..b"], "expected HOST or HOST:PORT"),
        (["--mqtt", ""], "expected HOST or HOST:PORT"),
        (["--mqtt", "localhost", "--mqtt-name", "+/#"], "expected a device's name"),
        (["--mqtt", "localhost", "--mqtt-ca", "x"], "--mqtt-ca goes with --mqtt-tls"),
        (["--mqtt", "localhost", "--mqtt-tls", "--mqtt-ca", "none"], "expected certificates"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["listen", "--input", str(RECORDING), *arguments])
    error = capsys.readouterr().err
    assert 1 == len(error.splitlines())
    assert message in error


def test_a_password_needs_a_user() -> None:
    with pytest.raises(SettingError, match="goes with --mqtt-user"):
        MqttConfig("localhost", "x", password="secret")
    MqttConfig("10.0.0.1", "x", insecure=True)
