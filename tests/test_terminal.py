"""What listening looks like: the live view, plain lines and which of them is taken."""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kws import Detection
from kws.app.events import End, Paused, Ready, Resumed
from kws.app.view import LiveView, open_view
from kws.audio.events import SourceEvent
from kws.model.manifest import Manifest, find_manifest, read_manifest


class _Encoded(io.StringIO):
    encoding = "utf-8"

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self.encoding = encoding


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Screen:
    """A terminal of our own, the view on it, and time."""

    console: Console
    view: LiveView
    clock: Clock
    manifest: Manifest

    def ready(self, **thresholds: float) -> None:
        """Listening begins, with these thresholds or 0.35 for each word."""
        chosen = thresholds or dict.fromkeys(self.manifest.keywords, 0.35)
        self.view.put(Ready(0.0, "a [red]test[/nothing]\x1b[2J", self.manifest, chosen))

    def hop(self, amplitude: int, **posteriors: float) -> None:
        """80 ms of audio of this peak, with these posteriors if the gate is open."""
        audio = np.full(1280, amplitude, np.int16)
        rows = np.zeros((4, len(self.manifest.labels)), np.float32)
        for word, posterior in posteriors.items():
            rows[:, self.manifest.labels.index(word)] = posterior
        self.clock.now += 0.08
        self.view.observe(audio, [rows] if posteriors else [], [])

    def lines(self) -> list[str]:
        """The live lines as they are now."""
        return "".join(segment.text for segment in self.view.render().segments).splitlines()

    def written(self) -> str:
        """All that was written, control codes included."""
        assert isinstance(self.console.file, io.StringIO)
        return self.console.file.getvalue()


@pytest.fixture
def screen() -> Screen:
    """A terminal of 80 columns and 24 lines, whose output can be read back."""
    return open_screen(80)


def open_screen(width: int, height: int = 24, encoding: str = "utf-8") -> Screen:
    """A terminal whose output can be read back."""
    console = Console(
        file=_Encoded(encoding),
        force_terminal=True,
        width=width,
        height=height,
        legacy_windows=False,
    )
    clock = Clock()
    return Screen(console, LiveView(console, clock), clock, read_manifest(find_manifest()))


def test_state_and_words(screen: Screen) -> None:
    """Time, level, gate and load in one line; each word's score beside its threshold below."""
    with screen.view._live:
        screen.ready()
        for _ in range(13):
            screen.hop(16_384, stop=0.9)
        state, *words = screen.lines()
    assert state.startswith("00:01 ▕")
    for expected in (" -6 dB", "● speech", "lost 0.0 s", "cpu"):
        assert expected in state
    assert 5 == len(words)  # two in a line
    (stop,) = (line for line in words if "stop" in line)
    assert "0.90 of 0.35" in stop


def test_a_detection_is_a_success(screen: Screen) -> None:
    """Its line has the time and by how much the score is above the threshold; its word is lit."""
    screen.ready()
    screen.hop(9000, stop=0.42)
    screen.view.put(Detection("stop", 0.42, 59.5, 60.5))
    assert "60.50 s  ✔ stop" in screen.written()
    assert "score 0.42, threshold 0.35 (+20 %)" in screen.written()
    assert any("✔ stop" in line for line in screen.lines())
    screen.clock.now += 2.0
    assert not any("✔" in line for line in screen.lines())


@pytest.mark.parametrize("width", [80, 64, 63, 40, 20, 8, 1])
@pytest.mark.parametrize("height", [24, 5, 1])
def test_it_stays_in_its_window(width: int, height: int) -> None:
    """No line is wider than the terminal, and there are never more than it has."""
    screen = open_screen(width, height)
    screen.ready()
    for amplitude in (0, 1, 32_767):
        screen.hop(amplitude, stop=1.0, go=0.2)
        assert all(len(line) <= width for line in screen.lines())
        assert len(screen.lines()) <= height


def test_narrow() -> None:
    """At 40 columns nothing is lost: one word in a line, the state in two."""
    screen = open_screen(40)
    screen.ready()
    screen.hop(9000, stop=0.42)
    lines = screen.lines()
    assert len(lines) == 12
    assert "speech" in lines[0]
    assert "cpu" in lines[1]
    assert all(" of 0.35" in line for line in lines[2:])


def test_after_a_resize(screen: Screen) -> None:
    """A terminal that becomes narrower wraps what was drawn; what that adds is erased."""
    screen.ready()
    screen.hop(9000, stop=0.42)
    drawn = screen.lines()
    screen.console.file.seek(0)
    screen.console.file.truncate()
    screen.console.width = 40
    screen.clock.now += 1.0
    screen.hop(9000, stop=0.42)
    added = sum(-(-len(line) // 40) - 1 for line in drawn)
    assert added == 6
    assert screen.written().startswith("\x1b[1A\x1b[2K" * added)


def test_the_level_holds_its_peak(screen: Screen) -> None:
    """A clap is still to be seen a second later, and no longer after two."""
    screen.ready()
    screen.hop(32_767)
    for _ in range(10):
        screen.hop(10)
    assert "┃▏" in screen.lines()[0]
    for _ in range(15):
        screen.hop(10)
    assert "┃▏" not in screen.lines()[0]


def test_many_words() -> None:
    """Of more words than fit, those nearest to their thresholds are shown, in the model's order."""
    screen = open_screen(80)
    words = tuple(f"word{index}" for index in range(40))
    screen.manifest = dataclasses.replace(screen.manifest, labels=(*words, "silence", "unknown"))
    screen.ready(**dict.fromkeys(words, 0.5))
    screen.hop(9000, word37=0.4, word39=0.3)
    text = "\n".join(screen.lines())
    assert 10 == text.count("word")
    assert text.index("word37") < text.index("word39")


def test_what_the_source_says(screen: Screen) -> None:
    """Lost audio adds up; while the device is gone the view says so instead of a level."""
    screen.ready()
    screen.hop(9000)
    screen.view.put(SourceEvent("lost", 0.0, 0.25, "0.2 s of audio were lost"))
    screen.view.put(SourceEvent("lost", 0.0, 1.0, "1.0 s of audio were lost"))
    assert "lost 1.2 s" in screen.lines()[0]
    screen.view.put(SourceEvent("gone", 0.0, 0.0, "USB is gone; plug it in again"))
    assert ["○ USB is gone; plug it in again"] == screen.lines()
    screen.view.put(SourceEvent("waiting", 0.0, 4.0, "long " * 30))
    assert 2 == len(screen.lines())
    assert all(len(line) < 80 for line in screen.lines())
    screen.view.put(SourceEvent("back", 0.0, 3.0, "USB is back"))
    assert screen.lines()[0].startswith("00:00 ▕")
    assert "lost 4.2 s" in screen.lines()[0]
    assert "USB is back" in screen.written()


def test_paused(screen: Screen) -> None:
    """It says so, and nothing of the microphone's audio."""
    screen.ready()
    screen.hop(9000)
    screen.view.put(Paused(0.0))
    assert ["○ paused"] == screen.lines()
    screen.view.put(Resumed(0.0))
    assert screen.lines()[0].startswith("00:00 ▕")


def test_no_unicode() -> None:
    """A terminal of another encoding gets ASCII."""
    screen = open_screen(80, encoding="latin-1")
    screen.ready()
    screen.hop(9000, stop=0.42)
    screen.view.put(Detection("stop", 0.42, 59.5, 60.5))
    assert "\n".join(screen.lines()).isascii()
    assert screen.written().isascii()


def test_the_cursor_comes_back(screen: Screen) -> None:
    """After the end, and after an error in between."""
    screen.ready()
    assert "\x1b[?25l" in screen.written()
    screen.view.close()
    assert screen.written().rindex("\x1b[?25h") > screen.written().rindex("\x1b[?25l")
    screen.view.close()


def test_brackets_in_a_name_are_no_markup(screen: Screen) -> None:
    """A device may be called [Mic]; rich would take that for a style. Nor are control codes."""
    screen.ready()
    screen.view.put(End(0.0, "end", 61.0, 1))
    assert r"a [red]test[/nothing]\x1b[2J" in screen.written()
    screen.view.put(SourceEvent("gone", 0.0, 0.0, "\x1b[2J is gone"))
    assert r"\x1b[2J is gone" in screen.written()
    assert "\x1b[2J" not in screen.written()
    assert "61.0 s of audio, 1 keyword detected" in screen.written()


def test_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves the shapes and takes the colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    screen = open_screen(80)
    screen.ready()
    screen.hop(9000, stop=0.42)
    screen.view.put(Detection("stop", 0.42, 59.5, 60.5))
    colours = re.findall(r"\x1b\[[0-9;]*\b(?:3|4|9)[0-7][0-9;]*m", screen.written())
    assert colours == []


def test_plain_where_output_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe and a dumb terminal get no live view."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert open_view() is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert open_view() is None
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_view(), LiveView)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is the terminal")
def test_a_real_terminal(tmp_path: Path) -> None:
    """The picture in the README is drawn from one, and needs nothing from elsewhere."""
    tool = Path(__file__).parent.parent / "docs" / "tools" / "terminal_screenshot.py"
    picture = tmp_path / "listen.svg"
    done = subprocess.run(
        [sys.executable, str(tool), "--out", str(picture), "--until", "✔ yes"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (0, "") == (done.returncode, done.stderr)
    content = picture.read_text(encoding="utf-8")
    for expected in ("✔&#160;yes", "of&#160;0.", "speech", "▏"):
        assert expected in content
    assert content.count("http") == 1  # the name of the format
