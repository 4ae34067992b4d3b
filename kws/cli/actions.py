"""Options that say which detections count and what they do; used by `kws listen`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from kws.cli.options import count
from kws.errors import KwsError, SettingError

if TYPE_CHECKING:
    from kws.app.arming import Arming
    from kws.app.outputs import Output

TOKEN = "KWS_WEBHOOK_TOKEN"
PASSWORD = "KWS_MQTT_PASSWORD"
LONGEST_TOKEN = 4096  # characters


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    armed = parser.add_argument_group("which detections count")
    armed.add_argument(
        "--after", metavar="WORD", help="a word counts only after this one, once for each time"
    )
    armed.add_argument(
        "--after-model",
        metavar="MODEL",
        help="... which this second model detects, or any of its words where --after names none",
    )
    armed.add_argument(
        "--within",
        metavar="SECONDS",
        type=seconds,
        help="... within so many seconds (default: 4)",
    )
    armed.add_argument(
        "--cool-down",
        metavar="SECONDS",
        type=cool_down,
        help="for so long a word that counted does not count again: for all, or as in stop=2,go=1",
    )
    armed.add_argument(
        "--pause-on", metavar="WORD", help="this word does nothing but pause listening"
    )
    armed.add_argument(
        "--pause-for",
        metavar="SECONDS",
        type=seconds,
        help="... for so long (default: 60); a mute switch resumes it earlier",
    )
    done = parser.add_argument_group("what a detection does")
    done.add_argument(
        "--exec",
        metavar="COMMAND",
        help="run a program, without a shell; {keyword}, {score} and {time} in its arguments are "
        "filled in",
    )
    done.add_argument(
        "--exec-timeout",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="end it after so long (default: %(default)g)",
    )
    done.add_argument(
        "--webhook", metavar="URL", help="POST the event's JSON there (docs/actions.md)"
    )
    done.add_argument(
        "--webhook-token-file",
        metavar="FILE",
        type=Path,
        help=f"send the token in this file with it (default: that in {TOKEN}, if any)",
    )
    done.add_argument(
        "--webhook-insecure",
        action="store_true",
        help="allow plain http to other machines",
    )
    _add_mqtt(parser)
    kept = parser.add_argument_group("recordings of detections (docs/review.md)")
    kept.add_argument(
        "--record-detections",
        metavar="DIR",
        type=Path,
        help="keep the seconds around each detection there, for `kws review`",
    )
    kept.add_argument(
        "--record-most",
        metavar="N",
        type=count,
        default=1000,
        help="the newest so many of them (default: %(default)d)",
    )
    kept.add_argument(
        "--record-megabytes",
        metavar="MB",
        type=count,
        default=200,
        help="and of those as many as fit into so much (default: %(default)d)",
    )


def _add_mqtt(parser: argparse.ArgumentParser) -> None:
    mqtt = parser.add_argument_group("MQTT and Home Assistant (docs/home-assistant.md)")
    mqtt.add_argument("--mqtt", metavar="HOST[:PORT]", help="send detections to this broker")
    mqtt.add_argument(
        "--mqtt-name", metavar="NAME", help="the device's name (default: this machine's)"
    )
    mqtt.add_argument("--mqtt-user", metavar="USER", help="log in as this user")
    mqtt.add_argument(
        "--mqtt-password-file",
        metavar="FILE",
        type=Path,
        help=f"with the password in this file (default: that in {PASSWORD}, if any)",
    )
    mqtt.add_argument("--mqtt-tls", action="store_true", help="encrypt, and check the certificate")
    mqtt.add_argument(
        "--mqtt-ca",
        metavar="FILE",
        type=Path,
        help="check it by the certificates in this file (default: the system's)",
    )
    mqtt.add_argument(
        "--mqtt-insecure", action="store_true", help="allow other machines without TLS"
    )
    mqtt.add_argument(
        "--mqtt-hermes", action="store_true", help="send Rhasspy's Hermes message as well"
    )


def seconds(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value


def cool_down(text: str) -> float | dict[str, float]:
    """Seconds for every keyword, or for some as in stop=2,go=1."""
    if "=" not in text:
        return seconds(text)
    pairs = [part.rpartition("=") for part in text.split(",")]
    if not all(word.strip() for word, _, _ in pairs):
        raise argparse.ArgumentTypeError(f"expected word=seconds,word=seconds, got {text!r}")
    return {word.strip(): seconds(value) for word, _, value in pairs}


def arming(options: argparse.Namespace, keywords: Collection[str]) -> Arming:
    """What the options say, for a model with these keywords.

    Raises SettingError for a word that is not among them.
    """
    from kws.app.arming import Arming, ArmingConfig

    if options.within is not None and options.after is None and options.after_model is None:
        raise SettingError("--within goes with --after WORD or --after-model MODEL")
    if options.pause_for is not None and options.pause_on is None:
        raise SettingError("--pause-for goes with --pause-on WORD")
    pauses = options.cool_down or {}
    if isinstance(pauses, float):
        pauses = dict.fromkeys(keywords, pauses)
    config = ArmingConfig(
        after=options.after,
        after_model=options.after_model,
        within=options.within or ArmingConfig.within,
        cool_down=pauses,
        pause_on=options.pause_on,
        pause_for=options.pause_for or ArmingConfig.pause_for,
    )
    config.check(keywords)
    return Arming(config)


def open_actions(options: argparse.Namespace, mute: Callable[[bool], None]) -> list[Output]:
    """The outputs of the options; raises SettingError for what cannot be done.

    Remote switches call `mute(True)` to pause listening and `mute(False)` to resume it.
    """
    outputs: list[Output] = []
    if options.exec is not None:
        from kws.app.outputs.command import Command

        outputs.append(Command(options.exec, options.exec_timeout))
    if options.webhook is not None:
        from kws.app.outputs.webhook import Webhook

        token = secret(options.webhook_token_file, TOKEN)
        outputs.append(Webhook(options.webhook, token, options.webhook_insecure))
    if options.mqtt is not None:
        import socket

        from kws.app.outputs.mqtt import Mqtt, MqttConfig

        config = MqttConfig(
            address=options.mqtt,
            name=options.mqtt_name or socket.gethostname(),
            user=options.mqtt_user,
            password=secret(options.mqtt_password_file, PASSWORD),
            tls=options.mqtt_tls,
            ca=options.mqtt_ca,
            insecure=options.mqtt_insecure,
            hermes=options.mqtt_hermes,
        )
        outputs.append(Mqtt(config, mute))
    if options.record_detections is not None:
        from kws.app.outputs.recordings import Recordings

        most = options.record_most, options.record_megabytes * 1_000_000
        outputs.append(Recordings(options.record_detections, *most))
    return outputs


def secret(path: Path | None, variable: str) -> str | None:
    """The token or password in a file, else that in the environment, if any."""
    if path is None:
        return os.environ.get(variable) or None
    try:
        with path.open(encoding="ascii") as file:
            token = file.read(LONGEST_TOKEN + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KwsError(f"cannot read the token or password in {path}: {error}") from error
    if not token or len(token) > LONGEST_TOKEN or not token.isprintable() or " " in token:
        raise KwsError(
            f"expected one token or password of at most {LONGEST_TOKEN} characters in {path}"
        )
    return token
