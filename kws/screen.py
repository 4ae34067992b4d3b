"""A terminal: lines that scroll by, a few below them that are drawn again in place, progress."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, TypeAlias

Line: TypeAlias = list[tuple[str, str]]  # what is written, and how: words of STYLES

STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}
_COLOURS = 30  # from which the codes are colours
_UP_AND_ERASE = "\x1b[1A\x1b[2K"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_REFRESH_SECONDS = 0.1  # between two pictures of progress
_BAR = 40  # characters


class Screen:
    """A terminal that takes the usual control sequences; `open_screen` tells whether one does.

    Between `start` and `stop` what the program prints to standard output and error comes above the
    picture, from whichever thread.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._coloured = not os.environ.get("NO_COLOR")
        self._lock = threading.RLock()
        self._picture: str | None = None  # as it was written last; None without one
        self._widths: list[int] = []  # of its lines, in columns
        self._printing: tuple[Any, Any] = (None, None)  # standard output and error of before

    @property
    def is_unicode(self) -> bool:
        """Whether it takes more than ASCII."""
        return (self._file.encoding or "utf-8").lower().startswith("utf")

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self._file.fileno())
        except (OSError, ValueError):
            columns, lines = 0, 0
        return columns or 80, lines or 24

    @property
    def is_drawing(self) -> bool:
        """Whether there is a picture."""
        return self._picture is not None

    def start(self) -> None:
        """Begin a picture, empty at first; the cursor is hidden."""
        with self._lock:
            if self._picture is None:
                self._picture, self._widths = "", []
                self._printing = sys.stdout, sys.stderr
                sys.stdout, sys.stderr = self._above(sys.stdout), self._above(sys.stderr)
                self._write(_HIDE_CURSOR)

    def stop(self) -> None:
        """Erase the picture; the cursor is back."""
        with self._lock:
            if self._picture is not None:
                erase, self._picture = self._erase(), None
                self._write(erase + _SHOW_CURSOR)
                for stream in (sys.stdout, sys.stderr):
                    if isinstance(stream, _Above):
                        stream.write_begun()
                sys.stdout, sys.stderr = self._printing

    def draw(self, lines: Sequence[Line]) -> None:
        """Put these lines in place of the picture; `fitted` makes them fit."""
        with self._lock:
            if self._picture is not None:
                erase = self._erase()
                self._widths = [sum(cells(text) for text, _ in line) for line in lines]
                self._picture = "".join(
                    "".join(self._styled(*part) for part in line) + "\n" for line in lines
                )
                self._write(erase + self._picture)

    def say(self, text: str, style: str = "") -> None:
        """Print a line above the picture."""
        with self._lock:
            line = self._styled(text, style) + "\n"
            if self._picture is None:
                self._write(line)
            else:
                self._write(self._erase() + line + self._picture)

    def _erase(self) -> str:
        """A terminal that became narrower has wrapped the lines, and shows more of them."""
        width, _ = self.size
        return _UP_AND_ERASE * sum(max(1, -(-each // width)) for each in self._widths)

    def _styled(self, text: str, style: str) -> str:
        codes = [STYLES[word] for word in style.split()]
        shown = [str(code) for code in codes if code < _COLOURS or self._coloured]
        return f"\x1b[{';'.join(shown)}m{text}\x1b[0m" if shown and text else text

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def _above(self, stream: Any) -> Any:
        """A standard stream, or what prints above the picture where it leads to a terminal."""
        return _Above(self, stream) if stream is not None and stream.isatty() else stream


class _Above:
    """A standard stream of which whole lines are printed above a picture."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen, self._stream = screen, stream
        self._begun = ""

    def write(self, text: str) -> int:
        """Print what ends in a line break, keep the rest."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._screen.say(line)
        return len(text)

    def write_begun(self) -> None:
        """Write the line that was not ended, as the stream itself would have."""
        self._stream.write(self._begun)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_screen(file: TextIO) -> Screen | None:
    """The terminal behind a file; None where there is none, or one without control sequences."""
    if not file.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    return Screen(file) if sys.platform != "win32" or _takes_sequences(file) else None


def _takes_sequences(file: TextIO) -> bool:
    """Let a console of Windows take control sequences, which those before Windows 10 cannot."""
    if sys.platform != "win32":
        return True
    import ctypes
    import msvcrt

    kernel, mode = ctypes.windll.kernel32, ctypes.c_ulong()
    handle = ctypes.c_void_p(msvcrt.get_osfhandle(file.fileno()))
    return bool(
        kernel.GetConsoleMode(handle, ctypes.byref(mode))
        and kernel.SetConsoleMode(handle, mode.value | 0x0004)  # virtual terminal processing
    )


def fitted(lines: Sequence[Line], width: int, height: int) -> list[Line]:
    """What fits of lines, with a column and a line to spare where the terminal has several."""
    return [_cut(line, max(1, width - 1)) for line in lines[: max(1, height - 1)]]


def _cut(line: Line, width: int) -> Line:
    kept: Line = []
    for text, style in line:
        end, columns = 0, 0
        while end < len(text) and columns + cells(text[end]) <= width:
            columns += cells(text[end])
            end += 1
        kept.append((text[:end], style))
        width -= columns
        if end < len(text):
            break
    return kept


def cells(text: str) -> int:
    """The columns that a text takes: two for a character of East Asia, none for a mark upon one."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class Progress:
    """How many of how many are done, and for how long it goes on, on one line."""

    def __init__(self, screen: Screen, name: str, total: int | None) -> None:
        self._screen, self._name, self._total = screen, name, total
        self._done = 0
        self._began = time.monotonic()
        self._drawn = -math.inf
        self.update(0)

    def update(self, done: int, total: int | None = None) -> None:
        """So many are done by now, of another total where one is given."""
        self._done, self._total = done, self._total if total is None else total
        if time.monotonic() - self._drawn >= _REFRESH_SECONDS:
            self._drawn = time.monotonic()
            self._screen.draw(fitted([self.line()], *self._screen.size))

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self.update(self._done + count)

    def line(self) -> Line:
        """What is shown."""
        if not self._total:
            return [(f"{self._name} {self._done}", "")]
        filled = min(_BAR, _BAR * self._done // self._total)
        bar, rest = ("━", "━") if self._screen.is_unicode else ("=", "-")
        line = [
            (f"{self._name} ", ""),
            (bar * filled, "green"),
            (rest * (_BAR - filled), "dim"),
            (f" {self._done}/{self._total}", ""),
        ]
        if self._done:
            left = (time.monotonic() - self._began) * (self._total / self._done - 1)
            minutes, seconds = divmod(max(0, round(left)), 60)
            line.append((f" {minutes // 60}:{minutes % 60:02d}:{seconds:02d} left", "cyan"))
        return line


class _NoProgress(Progress):
    """Progress that nobody sees."""

    def __init__(self) -> None:
        pass

    def update(self, done: int, total: int | None = None) -> None:
        """See Progress."""

    def advance(self, count: int = 1) -> None:
        """See Progress."""


@contextmanager
def progress(name: str, total: int | None = None) -> Iterator[Progress]:
    """A bar on standard error until the block ends, where that is a terminal."""
    screen = open_screen(sys.stderr)
    if screen is None:
        yield _NoProgress()
        return
    screen.start()
    try:
        yield Progress(screen, name, total)
    finally:
        screen.stop()
