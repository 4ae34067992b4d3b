"""Options that say which detections count and what they do; used by `kws listen`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from kws.errors import KwsError, SettingError

if TYPE_CHECKING:
    from kws.app.arming import Arming
    from kws.app.outputs import Output

TOKEN = "KWS_WEBHOOK_TOKEN"
LONGEST_TOKEN = 4096  # characters


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    armed = parser.add_argument_group("which detections count")
    armed.add_argument(
        "--after", metavar="WORD", help="a word counts only after this one, once for each time"
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


def arming(options: argparse.Namespace, keywords: Collection[str]) -> Arming | None:
    """What the options say, for a model with these keywords; None: every detection counts.

    Raises SettingError for a word that is not among them.
    """
    from kws.app.arming import Arming, ArmingConfig

    if options.within is not None and options.after is None:
        raise SettingError("--within goes with --after WORD")
    if options.after is None and options.cool_down is None:
        return None
    pauses = options.cool_down or {}
    if isinstance(pauses, float):
        pauses = dict.fromkeys(keywords, pauses)
    config = ArmingConfig(options.after, options.within or ArmingConfig.within, pauses)
    config.check(keywords)
    return Arming(config)


def open_actions(options: argparse.Namespace) -> list[Output]:
    """The outputs of the options; raises SettingError for what cannot be done."""
    outputs: list[Output] = []
    if options.exec is not None:
        from kws.app.outputs.command import Command

        outputs.append(Command(options.exec, options.exec_timeout))
    if options.webhook is not None:
        from kws.app.outputs.webhook import Webhook

        outputs.append(Webhook(options.webhook, _token(options), options.webhook_insecure))
    return outputs


def _token(options: argparse.Namespace) -> str | None:
    path: Path | None = options.webhook_token_file
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        with path.open(encoding="ascii") as file:
            token = file.read(LONGEST_TOKEN + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KwsError(f"cannot read the token in {path}: {error}") from error
    if not token or len(token) > LONGEST_TOKEN or not token.isprintable() or " " in token:
        raise KwsError(f"expected one token of at most {LONGEST_TOKEN} characters in {path}")
    return token
