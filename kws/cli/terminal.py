"""Standard streams fit for what is behind them: any encoding, a full disk, or nothing at all."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from kws.errors import KwsError
from kws.text import printable


def prepare() -> None:
    """Open what is closed and escape what cannot be encoded, before anything else is opened.

    A closed descriptor would be given to the next file that is opened, and what a library prints
    would be written into that.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
    sys.stdout = _writable(sys.stdout)
    sys.stderr = _writable(sys.stderr)


def _writable(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed before the program began, or a program without a console
        return open(os.devnull, "w", encoding="utf-8")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream


def tell(line: str) -> None:
    """One line on standard error, control characters escaped; nobody is told if that is full."""
    with suppress(OSError, ValueError):
        print(f"kws: {printable(line)}", file=sys.stderr, flush=True)


def flush() -> None:
    """Write what standard output still holds; raises KwsError where it cannot take it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise KwsError(
            f"cannot write to standard output ({getattr(error, 'strerror', None) or error}); "
            "check the disk or the program that it leads to"
        ) from error


def abandon() -> None:
    """Drop what standard output cannot take; without this Python complains of it at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
