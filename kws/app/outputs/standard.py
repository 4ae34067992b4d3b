"""Lines on standard output and standard error, for the outputs that write there."""

from __future__ import annotations

import sys
from typing import TextIO

from kws.errors import KwsError


def write_line(line: str) -> None:
    """One line on standard output, at once; raises KwsError where that cannot take it."""
    _write(sys.stdout, "output", line)


def write_note(line: str) -> None:
    """One line on standard error, at once; raises KwsError where that cannot take it."""
    _write(sys.stderr, "error", line)


def _write(stream: TextIO | None, name: str, line: str) -> None:
    if stream is None:  # closed before the program began
        return
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise KwsError(
            f"cannot write to standard {name} ({error.strerror}); "
            "check the disk or the program that it leads to"
        ) from error
