"""Values of options that several commands take; a bad one is wrong usage, exit code 2."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kws.audio.samples import RawFormat


def threshold(text: str) -> float:
    """A number in (0, 1]."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a number in (0, 1], got {text!r}")
    return value


def thresholds(text: str) -> float | dict[str, float]:
    """A number in (0, 1] for every keyword, or several as in stop=0.5,go=0.6."""
    if "=" not in text:
        return threshold(text)
    pairs = [part.rpartition("=") for part in text.split(",")]
    if not all(word.strip() for word, _, _ in pairs):
        raise argparse.ArgumentTypeError(f"expected word=number,word=number, got {text!r}")
    return {word.strip(): threshold(value) for word, _, value in pairs}


def words(text: str) -> tuple[str, ...]:
    """One or more words, as in stop,go."""
    found = tuple(word.strip() for word in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"expected words with commas between them, got {text!r}")
    return found


def add_keywords(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose keywords and their thresholds."""
    parser.add_argument(
        "--threshold",
        type=thresholds,
        metavar="SCORE",
        help="in (0, 1], from which a keyword counts: one for all, or some as in stop=0.5,go=0.6 "
        "(default: the model's own, per keyword)",
    )
    parser.add_argument(
        "--keywords",
        type=words,
        metavar="WORDS",
        help="detect only these of the model's keywords, as in stop,go (default: all)",
    )


def add_decision(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose when a keyword counts as spoken."""
    add_keywords(parser)
    parser.add_argument(
        "--sensitivity",
        choices=("low", "medium", "high"),
        help="how readily: an operating point that came with the model (default: medium)",
    )
    parser.add_argument(
        "--connected",
        action="store_true",
        help="spot keywords within running speech too, not only those that are spoken alone",
    )
    parser.add_argument(
        "--no-verifier",
        action="store_true",
        help="do without the larger network that confirms the first one's candidates",
    )


def device(text: str) -> int | str:
    """A number or a name from `kws devices`."""
    return int(text) if text.isdecimal() else text


def rate(text: str) -> float:
    """A number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def add_channel(parser: argparse.ArgumentParser) -> None:
    """Declare --channel."""
    parser.add_argument(
        "--channel",
        metavar="N",
        type=count,
        help="take this channel of the microphone, counted from 1 (default: the one with the "
        "signal)",
    )


def add_raw(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what raw samples are."""
    parser.add_argument(
        "--raw-format",
        choices=("s16le", "s32le", "f32le", "mulaw"),
        help="take --input for raw samples of this kind (default: s16le)",
    )
    parser.add_argument(
        "--raw-rate", metavar="HZ", type=count, help="... at this rate (default: 16000)"
    )
    parser.add_argument(
        "--raw-channels", metavar="N", type=count, help="... of so many channels (default: 1)"
    )


def raw_format(options: argparse.Namespace) -> RawFormat | None:
    """What raw samples were said to be; None where nothing was said. Raises DataError."""
    from kws.audio.samples import RawFormat
    from kws.errors import DataError

    if not (options.raw_format or options.raw_rate or options.raw_channels):
        return None
    if not options.input:
        raise DataError("--raw-format, --raw-rate and --raw-channels say what --input is; name it")
    return RawFormat(
        options.raw_format or "s16le", options.raw_rate or 16_000, options.raw_channels or 1
    )
