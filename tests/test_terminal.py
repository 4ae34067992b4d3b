"""What listening looks like: the live line, plain lines and which of them is taken."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from rich.console import Console

from kws import Detection
from kws.app.view import LiveLine, PlainLines, open_display


@pytest.fixture
def screen() -> Console:
    """A terminal of 60 columns whose output can be read back."""
    return Console(file=io.StringIO(), force_terminal=True, width=60, legacy_windows=False)


def text(screen: Console) -> str:
    """What was written, control codes included."""
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_live_line(screen: Console) -> None:
    """Time, level and the last keyword; each detection on its own line; a summary at the end."""
    with LiveLine(screen) as display:
        display.start("a test", ("yes", "no"))
        display.heard(np.full(16_000 * 61, 16_384, np.int16))
        display.detected(Detection("yes", 0.93, 59.5, 60.5))
        line = display._render().plain
        display.finish(61.0)
    assert line == f"● 01:01 ▕{'█' * 18}  ▏ yes 0.93"
    for expected in ("Listening to a test", "60.50 s  yes", "61.0 s heard, 1 keyword spotted"):
        assert expected in text(screen)


@pytest.mark.parametrize("level", [0, 1, 100, 32_767, -32_768])
def test_meter_stays_in_its_frame(screen: Console, level: int) -> None:
    """From digital silence to the most negative sample the line keeps its width."""
    display = LiveLine(screen)
    display.heard(np.full(320, level, np.int16))
    assert len(display._render().plain) == len(f"● 00:00 ▕{' ' * 20}▏ listening")


def test_brackets_in_a_name_are_no_markup(screen: Console) -> None:
    """A device may be called [Mic]; rich would take that for a style."""
    with LiveLine(screen) as display:
        display.start("[red]Mic[/nothing]", ("yes",))
    assert "[red]Mic[/nothing]" in text(screen)


def test_plain_where_output_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe and a dumb terminal get plain lines."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert type(open_display(as_json=False)) is PlainLines
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert type(open_display(as_json=False)) is PlainLines
    monkeypatch.setenv("TERM", "xterm")
    assert type(open_display(as_json=False)) is LiveLine
