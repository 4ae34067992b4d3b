"""What `kws listen` shows: a live line on a terminal, plain lines in a pipe, or JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from kws.audio import Int16Array
    from kws.decision import Detection

METER_WIDTH = 20  # characters
METER_FLOOR = -60.0  # dBFS, an empty meter
METER_DECAY = 1.5  # dB that the meter falls per block, so that the eye can follow


class Display(Protocol):
    """Told what happens, in this order: start, heard and detected in turn, finish."""

    def start(self, source: str, keywords: Sequence[str]) -> None:
        """Audio begins to come from a source of this name."""

    def heard(self, block: Int16Array) -> None:
        """A block of audio arrived."""

    def detected(self, detection: Detection) -> None:
        """A keyword was spotted."""

    def finish(self, seconds: float) -> None:
        """The audio ended, or somebody ended it, after so many seconds."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class JsonLines:
    """One object per detection on standard output, flushed at once, and nothing else."""

    def start(self, source: str, keywords: Sequence[str]) -> None:
        """See Display."""

    def heard(self, block: Int16Array) -> None:
        """See Display."""

    def detected(self, detection: Detection) -> None:
        """See Display."""
        fields = dataclasses.asdict(detection)
        rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in fields.items()}
        print(json.dumps(rounded, ensure_ascii=False), flush=True)

    def finish(self, seconds: float) -> None:
        """See Display."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class PlainLines(JsonLines):
    """One line per detection on standard output; what is said around them goes to stderr."""

    def __init__(self) -> None:
        self._count = 0

    def start(self, source: str, keywords: Sequence[str]) -> None:
        """See Display."""
        print(_opening(source, keywords), file=sys.stderr, flush=True)

    def detected(self, detection: Detection) -> None:
        """See Display."""
        self._count += 1
        print(_line(detection), flush=True)

    def finish(self, seconds: float) -> None:
        """See Display."""
        print(_closing(seconds, self._count), file=sys.stderr)


class LiveLine:
    """Detections scroll by above one line that shows time, level and the last keyword."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._samples = 0
        self._level = METER_FLOOR
        self._count = 0
        self._last: Detection | None = None
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=12, transient=True
        )

    def start(self, source: str, keywords: Sequence[str]) -> None:
        """See Display."""
        self._live.console.print(_opening(source, keywords), highlight=False, markup=False)

    def heard(self, block: Int16Array) -> None:
        """See Display."""
        self._samples += len(block)
        peak = int(np.abs(block.astype(np.int32)).max()) / 32768
        level = 20 * math.log10(peak) if peak else METER_FLOOR
        self._level = max(level, self._level - METER_DECAY, METER_FLOOR)

    def detected(self, detection: Detection) -> None:
        """See Display."""
        self._count += 1
        self._last = detection
        self._live.console.print(_line(detection), style="bold green", highlight=False)

    def finish(self, seconds: float) -> None:
        """See Display."""
        self._live.stop()
        self._live.console.print(_closing(seconds, self._count), highlight=False)

    def _render(self) -> Text:
        from rich.text import Text

        from kws.config import SAMPLE_RATE

        minutes, seconds = divmod(self._samples // SAMPLE_RATE, 60)
        filled = round(METER_WIDTH * (1 - self._level / METER_FLOOR))
        loud = "red" if self._level > -1 else "cyan"
        return Text.assemble(
            ("● ", "red"),
            f"{minutes:02d}:{seconds:02d} ▕",
            ("█" * filled, loud),
            (" " * (METER_WIDTH - filled) + "▏ ", ""),
            (f"{self._last.keyword} {self._last.score:.2f}" if self._last else "listening", "bold"),
            no_wrap=True,
            overflow="ellipsis",
        )

    def __enter__(self) -> LiveLine:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def open_display(as_json: bool) -> Display:
    """JSON when asked for, the live line on a capable terminal, plain lines elsewhere."""
    if as_json:
        return JsonLines()
    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        if not console.is_dumb_terminal:
            return LiveLine(console)
    return PlainLines()


def _opening(source: str, keywords: Sequence[str]) -> str:
    return f"Listening to {source} for: {', '.join(keywords)} (Ctrl-C ends)"


def _line(detection: Detection) -> str:
    return f"{detection.end:8.2f} s  {detection.keyword:<10} {detection.score:.2f}"


def _closing(seconds: float, count: int) -> str:
    return f"{seconds:.1f} s heard, {count} keyword{'' if count == 1 else 's'} spotted"
