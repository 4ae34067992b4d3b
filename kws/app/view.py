"""The live view of `kws listen`: level, gate and scores below the detections, on a terminal."""

from __future__ import annotations

import math
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kws.app.events import End, Event, Paused, Ready, Resumed
from kws.app.outputs.plain_lines import closing, opening, when
from kws.audio.events import SourceEvent
from kws.config import SAMPLE_RATE, STEP_MS
from kws.decision import Detection
from kws.model.manifest import Manifest
from kws.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segments
    from rich.style import Style

    from kws.detector import Int16Array
    from kws.frontend import FloatArray

REFRESH_SECONDS = 0.25  # between two pictures; each costs a millisecond or two
IDLE_SECONDS = 0.5  # the same while the gate is closed
HOLD_SECONDS = 1.5  # that a peak, a word's highest score and a detected word stay
LOAD_SECONDS = 2.0  # over which the processor time is taken

FLOOR = -60.0  # dBFS, an empty meter
CLIPPING = -1.0  # dBFS, from which the meter is red
WORDS = 10  # that are shown at most: of more, those nearest to their thresholds
NARROW = 64  # columns, below which a line shows one word and the state takes two lines
METER, NARROW_METER = 20, 14  # characters
BAR = 10  # characters

Clock = Callable[[], float]
Line: TypeAlias = list[tuple[str, str]]  # what is written, and how


@dataclass(frozen=True)
class Glyphs:
    """What the view is drawn with."""

    eighths: str  # of a character, from none to all
    left: str
    right: str
    mark: str  # a threshold, a held peak
    on: str  # a light
    off: str
    detected: str


UNICODE = Glyphs(" ▏▎▍▌▋▊▉█", "▕", "▏", "┃", "●", "○", "✔")
ASCII = Glyphs(" =", "[", "]", "|", "*", "o", "+")


class LiveView:
    """Detections scroll by above a few lines that are drawn again four times a second, and twice
    while nobody speaks.

    It is an output and an observer of the detector. A bar shows a word's score from 0 to 1; the
    mark in it is the word's threshold, and a bar that reaches the mark is green.
    """

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        from rich.live import Live

        self._console, self._clock = console, clock
        self._glyphs = UNICODE if console.encoding.lower().startswith("utf") else ASCII
        self._words: _Words | None = None  # once ready
        self._peak = _Held(clock)
        self._load = _Load(clock)
        self._level = FLOOR
        self._samples = 0
        self._speech = False
        self._lost = 0.0  # s
        self._paused = False
        self._trouble = ""  # what the source said, while it delivers nothing
        self._drawn = -math.inf
        self._widths: list[int] = []  # of the lines drawn last
        self._live = Live(
            get_renderable=self.render, console=console, auto_refresh=False, transient=True
        )

    def put(self, event: Event) -> None:
        """See Output."""
        self._draw()  # for the width that the terminal has now
        if isinstance(event, Ready):
            self._words = _Words(event.manifest, event.thresholds, self._clock)
            self._say(opening(event))
            self._live.start()
        elif isinstance(event, Detection) and self._words:
            self._words.detected(event.keyword)
            self._say(self._detection(event, self._words.thresholds[event.keyword]), "bold green")
        elif isinstance(event, Paused | Resumed):
            self._paused = isinstance(event, Paused)
        elif isinstance(event, SourceEvent):
            self._lost += event.seconds if event.kind in ("lost", "back") else 0.0
            if event.kind in ("gone", "waiting", "back"):
                self._trouble = printable(event.message) if event.kind != "back" else ""
            if event.kind != "waiting":  # which comes with every attempt
                self._say(printable(event.message), "yellow")
        elif isinstance(event, End):
            self._live.stop()
            if event.reason != "failed":  # the error says it all
                self._say(closing(event))
            return
        self._draw()

    def observe(
        self, audio: Int16Array, rows: Sequence[FloatArray], fired: Sequence[Detection]
    ) -> None:
        """See kws.detector.Observer."""
        self._samples += len(audio)
        self._speech = bool(rows)
        peak = max(int(np.maximum.reduce(audio)), -int(np.minimum.reduce(audio))) / 32768
        self._level = max(FLOOR, 20 * math.log10(peak)) if peak else FLOOR
        self._peak.add(self._level)
        self._load.update()
        if self._words:
            self._words.add(rows)
        if self._clock() - self._drawn >= (REFRESH_SECONDS if self._speech else IDLE_SECONDS):
            self._draw()

    def close(self) -> None:
        """See Output: the cursor comes back."""
        self._live.stop()

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(line, style=style, highlight=False, markup=False, emoji=False)

    def _draw(self) -> None:
        if self._live.is_started:
            self._drawn = self._clock()
            self._mend_wrapped()
            self._live.refresh()

    def _mend_wrapped(self) -> None:
        """A terminal that became narrower has wrapped the lines; erase what that added."""
        from rich.control import Control
        from rich.segment import ControlType

        width = self._console.width
        added = sum(-(-each // width) - 1 for each in self._widths if each)
        if added > 0:
            up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
            self._console.control(Control(*up * added))

    def render(self) -> Segments:
        """The lines as they are now, for the terminal's present size."""
        from rich.segment import Segment, Segments

        width, height = self._console.size
        styles: dict[str, Style | None] = {"": None}
        lines = []
        for parts in self._lines(width)[: max(1, height - 1)]:
            for _, style in parts:
                if style not in styles:
                    styles[style] = self._console.get_style(style)
            line = [Segment(text, styles[style]) for text, style in parts]
            lines.append(Segment.adjust_line_length(line, width - 1, pad=False))
        self._widths = [Segment.get_line_length(line) for line in lines]
        return Segments(part for line in lines for part in (*line, Segment.line()))

    def _lines(self, width: int) -> list[Line]:
        narrow = width < NARROW
        if trouble := "paused" if self._paused else self._trouble:
            wrapped = textwrap.wrap(f"{self._glyphs.off} {trouble}", max(1, width - 1))
            return [[(line, "yellow")] for line in wrapped]
        return self._state(narrow) + (self._word_lines(self._words, narrow) if self._words else [])

    def _state(self, narrow: bool) -> list[Line]:
        minutes, seconds = divmod(self._samples // SAMPLE_RATE, 60)
        clipped = self._peak.highest >= CLIPPING
        meter = self._bar(
            NARROW_METER if narrow else METER,
            1 - self._level / FLOOR,
            1 - self._peak.highest / FLOOR,
            "red" if clipped else "cyan",
        )
        light = self._glyphs.on if self._speech else self._glyphs.off
        first: Line = [
            (f"{minutes:02d}:{seconds:02d} ", ""),
            *meter,
            (f" {self._level:3.0f} dB  ", ""),
            (f"{light} speech", "bold green" if self._speech else "dim"),
        ]
        second: Line = [
            (f"lost {self._lost:.1f} s", "yellow" if self._lost else "dim"),
            (f"  cpu {self._load.percent:.1f} %", "dim"),
        ]
        return [first, second] if narrow else [[*first, ("   ", ""), *second]]

    def _word_lines(self, words: _Words, narrow: bool) -> list[Line]:
        shown = words.nearest(WORDS)
        name = max(len(word) for word in shown)
        cells = [self._cell(words, word, name) for word in shown]
        if narrow:
            return cells
        half = -(-len(cells) // 2)
        right: list[Line] = [*cells[half:], []]
        return [[*a, ("    ", ""), *b] for a, b in zip(cells[:half], right, strict=False)]

    def _cell(self, words: _Words, word: str, width: int) -> Line:
        score, threshold = words.score(word), words.thresholds[word]
        reached = words.is_detected(word) or score >= threshold
        style = "bold green" if reached else ""
        light = self._glyphs.detected if words.is_detected(word) else " "
        return [
            (f"{light} {word:<{width}} ", style),
            *self._bar(BAR, score, threshold, "green" if reached else "blue"),
            (f" {score:.2f}", style),
            (f" of {threshold:.2f}", "dim"),
        ]

    def _bar(self, width: int, value: float, mark: float, style: str) -> Line:
        """A bar of so many characters, full at 1, with a mark in it."""
        glyphs = self._glyphs
        parts = len(glyphs.eighths) - 1
        filled, rest = divmod(round(min(max(value, 0.0), 1.0) * width * parts), parts)
        bar = glyphs.eighths[-1] * filled + (glyphs.eighths[rest] if filled < width else "")
        bar = bar.ljust(width)
        place = min(width - 1, int(min(max(mark, 0.0), 1.0) * width))
        return [
            (glyphs.left, "dim"),
            (bar[:place], style),
            (glyphs.mark, "bold"),
            (bar[place + 1 :], style),
            (glyphs.right, "dim"),
        ]

    def _detection(self, detection: Detection, threshold: float) -> str:
        over = f"+{100 * (detection.score / threshold - 1):.0f} %"
        word = f"{when(detection)}  {self._glyphs.detected} {detection.keyword}"
        if self._console.width < NARROW:
            return f"{word}  {detection.score:.2f} ({over})"
        return f"{word:<24} score {detection.score:.2f}, threshold {threshold:.2f} ({over})"


class _Held:
    """The highest of the values of the last HOLD_SECONDS."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: deque[tuple[float, float]] = deque()  # when and what, ever lower

    def add(self, value: float) -> None:
        while self._values and self._values[-1][1] <= value:
            self._values.pop()
        self._values.append((self._clock(), value))

    @property
    def highest(self) -> float:
        """Of the value now, which stays until another comes, and those before."""
        before = self._clock() - HOLD_SECONDS
        while len(self._values) > 1 and self._values[0][0] < before:
            self._values.popleft()
        return self._values[0][1] if self._values else FLOOR


class _Words:
    """Each word's score, as the decision takes it: the mean of its latest posteriors."""

    def __init__(self, manifest: Manifest, thresholds: Mapping[str, float], clock: Clock) -> None:
        self.thresholds = thresholds
        self._clock = clock
        self._columns = [manifest.labels.index(word) for word in thresholds]
        rows = max(1, manifest.decision.smoothing_ms // STEP_MS)
        self._rows = np.zeros((rows, len(thresholds)), np.float32)
        self._rests = False  # all of them are zero, and the scores know
        self._scores = {word: _Held(clock) for word in thresholds}
        self._detected = dict.fromkeys(thresholds, -math.inf)  # when

    def add(self, rows: Sequence[FloatArray]) -> None:
        """The rows of one hop; none while the gate is closed, which is as though all were zero."""
        if self._rests and not rows:
            return
        self._rests = not rows
        if rows:
            new = np.concatenate(rows)[:, self._columns]
            self._rows = np.concatenate((self._rows, new))[-len(self._rows) :]
        else:
            self._rows[:] = 0.0
        for word, score in zip(self.thresholds, self._rows.mean(axis=0).tolist(), strict=True):
            self._scores[word].add(score)

    def detected(self, word: str) -> None:
        self._detected[word] = self._clock()

    def is_detected(self, word: str) -> bool:
        """Whether it was within the last HOLD_SECONDS."""
        return self._clock() - self._detected[word] < HOLD_SECONDS

    def score(self, word: str) -> float:
        return self._scores[word].highest

    def nearest(self, count: int) -> list[str]:
        """At most so many words, those nearest to their thresholds, in the model's order."""
        if len(self.thresholds) <= count:
            return list(self.thresholds)
        near = sorted(self.thresholds, key=lambda word: self.thresholds[word] - self.score(word))
        return [word for word in self.thresholds if word in near[:count]]


class _Load:
    """The share of one processor core that this process takes, in percent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since, self._used = clock(), time.process_time()
        self.percent = 0.0

    def update(self) -> None:
        now = self._clock()
        if now - self._since >= LOAD_SECONDS:
            used = time.process_time()
            self.percent = 100 * (used - self._used) / (now - self._since)
            self._since, self._used = now, used


def open_view() -> LiveView | None:
    """The live view where standard output is a terminal that can show it, else None."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    console = Console()
    return None if console.is_dumb_terminal else LiveView(console)
