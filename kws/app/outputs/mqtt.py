"""Events sent to an MQTT broker, with Home Assistant's discovery and a mute switch."""

from __future__ import annotations

import json
import logging
import re
import secrets
import ssl
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from kws.app.events import Event, Paused, Ready, Resumed, as_json
from kws.app.outputs.loopback import is_loopback
from kws.decision import Detection
from kws.errors import KwsError, SettingError

logger = logging.getLogger(__name__)

WAITING = 64  # events; the oldest goes when another comes
MAX_AGE = 10.0  # seconds; an older event is not sent, since a late "stop" is worse than none
TIMEOUT = 5.0  # seconds that closing waits for what was not sent yet
KEEPALIVE = 15  # seconds; a connection that is silent for longer is given up
PAUSES = (1, 30)  # seconds between attempts to connect, from the first to the longest
HOST = r"(?=.{1,253}$)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}|[0-9a-f:.]*:[0-9a-f:.]*"
HOME_ASSISTANT = "homeassistant/status"

Message: TypeAlias = tuple[str, str, bool]  # topic, payload, whether the broker keeps it


@dataclass(frozen=True)
class MqttConfig:
    """Where the broker is and how it is reached. Raises SettingError for what cannot be."""

    address: str  # HOST or HOST:PORT
    name: str  # the device's, one for each
    user: str | None = None
    password: str | None = None
    tls: bool = False
    ca: Path | None = None  # a file of certificates instead of the system's
    insecure: bool = False  # whether other machines may be reached without TLS
    hermes: bool = False  # whether Rhasspy's topic is written as well

    def __post_init__(self) -> None:
        host, _ = self.host_and_port
        if not self.identifier.strip("_") or not self.name.isprintable() or len(self.name) > 64:
            raise SettingError(
                f"expected a device's name with letters or digits, at most 64, got {self.name!r}"
            )
        if self.password and not self.user:
            raise SettingError("an MQTT password goes with --mqtt-user")
        if self.ca and not self.tls:
            raise SettingError("--mqtt-ca goes with --mqtt-tls")
        if not (self.tls or self.insecure or is_loopback(host)):
            raise SettingError(
                f"MQTT to {host} without TLS can be read on the way; use --mqtt-tls, "
                "or allow it with --mqtt-insecure"
            )

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The port is 8883 with TLS and 1883 without, unless it is named."""
        try:
            parts = urlsplit(f"//{self.address}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        if not re.fullmatch(HOST, host) or parts.netloc != self.address:
            raise SettingError(f"expected HOST or HOST:PORT of a broker, got {self.address!r}")
        if port == 0:
            raise SettingError(f"expected a port from 1 to 65535, got {self.address!r}")
        return host, port or (8883 if self.tls else 1883)

    @property
    def identifier(self) -> str:
        """The name as it stands in topics: a to z, 0 to 9 and underscores."""
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        return re.sub(r"[^a-z0-9]+", "_", plain.lower())


class Mqtt:
    """Publishes each detection, once or more often, on threads of its own (docs/home-assistant.md).

    Nothing is kept by the broker but the description of the device, whether it is there and
    whether it is muted. A connection that is lost is made again for ever, with growing pauses.
    """

    def __init__(self, config: MqttConfig, mute: Callable[[bool], None]) -> None:
        """`mute(True)` pauses listening and `mute(False)` resumes it, on a thread of this output.

        Raises KwsError where paho-mqtt is missing, and SettingError for certificates that cannot be
        read.
        """
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise KwsError("MQTT needs paho-mqtt; run: pip install 'kws[mqtt]'") from error
        self._config, self._mute = config, mute
        self._topic = f"kws/{config.identifier}"
        # Entered by itself, one call into C: a signal to stop that tore the way into the condition,
        # which is Python, would leave it locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[tuple[float, Detection]] = deque()
        self._ready: Ready | None = None
        self._muted = self._connected = self._closed = False
        self._announce = False  # whether the broker has to be told who is here
        self._sent: set[int] = set()  # the broker has confirmed these messages
        self._problem = ""
        client_id = f"kws-{secrets.token_hex(6)}"
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        self._client.username_pw_set(config.user, config.password)
        if config.tls:
            self._client.tls_set_context(_context(config.ca))
        self._client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(*PAUSES)
        self._client.on_pre_connect = self._forget
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *_: self._lost(str(sys.exc_info()[1]))
        self._client.on_disconnect = lambda *_: self._lost("the connection was closed")
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.connect_async(*config.host_and_port, keepalive=KEEPALIVE)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._work, name="kws mqtt", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """See Output."""
        with self._lock:
            if isinstance(event, Detection):
                if len(self._waiting) == WAITING:
                    _, lost = self._waiting.popleft()
                    logger.warning("%s was not sent: %d events wait", lost.keyword, WAITING)
                self._waiting.append((time.monotonic(), event))
            elif isinstance(event, Ready):
                self._ready, self._announce = event, True
            elif isinstance(event, Paused | Resumed):
                self._muted, self._announce = isinstance(event, Paused), True
            self._changed.notify_all()

    def close(self) -> None:
        """See Output; what waits has five seconds."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(2 * TIMEOUT)

    def _work(self) -> None:
        """Send what there is to send, one thing at a time, until it is closed."""
        while self._send_next():
            pass
        with self._lock:
            leave = self._connected and self._ready is not None
        if leave:
            self._deliver([(f"{self._topic}/status", "offline", True)])
        self._client.disconnect()
        self._client.loop_stop()

    def _send_next(self) -> bool:
        """Whether there may be more."""
        with self._lock:
            self._changed.wait_for(lambda: self._closed or self._has_work())
            if self._closed and not self._waiting:
                return False
            if not self._changed.wait_for(self._has_work, TIMEOUT):  # it is closed
                logger.warning("%d events were not sent: %s", len(self._waiting), self._problem)
                return False
            if self._announce and self._ready is not None:
                self._announce = False
                announcement, entry = self._announcement(self._ready), None
            else:
                announcement, entry = [], self._waiting.popleft()
        if entry is None:
            self._client.subscribe([(HOME_ASSISTANT, 1), (f"{self._topic}/mute/set", 1)])
            self._deliver(announcement)
            return True
        since, detection = entry
        if time.monotonic() - since > MAX_AGE:
            logger.warning("%s was not sent: it is too old", detection.keyword)
        elif not self._deliver(self._messages(detection)):
            with self._lock:
                if len(self._waiting) < WAITING:
                    self._waiting.appendleft(entry)
        return True

    def _has_work(self) -> bool:
        return self._connected and bool((self._announce and self._ready) or self._waiting)

    def _deliver(self, messages: list[Message]) -> bool:
        """Whether the broker has confirmed all of them; not, where the connection was lost."""
        self._sent.clear()
        wanted = {
            self._client.publish(topic, payload, qos=1, retain=kept).mid
            for topic, payload, kept in messages
        }
        with self._lock:
            self._changed.wait_for(
                lambda: not self._connected or wanted <= self._sent, 2.0 * KEEPALIVE
            )
            return wanted <= self._sent

    def _messages(self, detection: Detection) -> list[Message]:
        event = {"event_type": detection.keyword, **as_json(detection)}
        messages = [(f"{self._topic}/event", json.dumps(event), False)]
        if self._config.hermes:
            word = re.sub(r"[+#/\0]", "_", detection.keyword)
            message = {
                "modelId": self._ready.manifest.name if self._ready else "",
                "modelVersion": "",
                "modelType": "universal",
                "currentSensitivity": 1.0,
                "siteId": self._config.name,
            }
            messages.append((f"hermes/hotword/{word}/detected", json.dumps(message), False))
        return messages

    def _announcement(self, ready: Ready) -> list[Message]:
        """The device's two entities, that it is there and whether it is muted."""
        name = f"kws_{self._config.identifier}"
        shared = {
            "availability_topic": f"{self._topic}/status",
            "device": {
                "identifiers": [name],
                "name": self._config.name,
                "manufacturer": "kws",
                "model": ready.manifest.name,
            },
            "origin": {"name": "kws"},
            "qos": 1,
        }
        event = {
            "name": "Keyword",
            "unique_id": f"{name}_keyword",
            "state_topic": f"{self._topic}/event",
            "event_types": list(ready.thresholds),
            **shared,
        }
        switch = {
            "name": "Mute",
            "unique_id": f"{name}_mute",
            "state_topic": f"{self._topic}/mute",
            "command_topic": f"{self._topic}/mute/set",
            **shared,
        }
        return [
            (f"homeassistant/event/{name}/keyword/config", json.dumps(event), True),
            (f"homeassistant/switch/{name}/mute/config", json.dumps(switch), True),
            (f"{self._topic}/mute", "ON" if self._muted else "OFF", True),
            (f"{self._topic}/status", "online", True),
        ]

    def _forget(self, _client: Any, _data: Any) -> None:
        self._client.drop_out_messages()  # they may be old; what is not is sent again from here

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._lost(str(code))
            return
        with self._lock:
            self._connected = self._announce = True
            self._problem = ""
            self._changed.notify_all()

    def _lost(self, problem: str) -> None:
        with self._lock:
            told = bool(self._problem) or self._closed
            self._connected = False
            self._problem = problem
            self._changed.notify_all()
        if not told:
            logger.warning("no MQTT broker at %s (%s): trying on", self._config.address, problem)

    def _on_publish(self, _client: Any, _data: Any, mid: int, _code: Any, _more: Any) -> None:
        with self._lock:
            self._sent.add(mid)
            self._changed.notify_all()

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.topic == HOME_ASSISTANT:
            if message.payload == b"online":
                with self._lock:
                    self._announce = True
                    self._changed.notify_all()
        elif message.payload in (b"ON", b"OFF") and not message.retain:  # a kept one may be old
            try:
                self._mute(message.payload == b"ON")
            except Exception as error:  # the thread must live on
                logger.warning("the mute switch failed: %s", error)


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise SettingError(f"expected certificates (PEM) in {ca}: {error}") from error
