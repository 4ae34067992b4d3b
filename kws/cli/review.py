"""Go through the recordings of detections and say of each whether it was right.

The folders that it writes are material for `kws finetune --data OUT/words` and `kws calibrate
--background OUT/background`. What was said is kept, so that the next time begins where this one
ended.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from kws.errors import DataError, KwsError, SettingError

if TYPE_CHECKING:
    from kws.app.review import Recorded, Review

HELP = "p play  r right  w wrong, no word  o another word  s skip  u undo  q quit"
COLUMNS = 60  # of the picture of a recording
FLOOR = -54.0  # dBFS, what the picture shows as silence
LEVELS = " ▁▂▃▄▅▆▇█"
PLAIN_LEVELS = " .:-=+*#%"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws review`."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="that of --record-detections")
    parser.add_argument(
        "--out", metavar="OUT", type=Path, help="where the folders go (default: DIR/reviewed)"
    )


def run(options: argparse.Namespace) -> int:
    """Show and ask until all are marked or it is quit; returns the exit code."""
    from kws.app.review import Review

    review = Review(options.folder)
    out = options.out or options.folder / "reviewed"
    try:
        with _keys(sys.stdin) as keys:
            _Dialogue(review, keys).run()
    finally:  # Ctrl-C too
        counts = review.write(out)
        for name, count in counts.items():
            print(f"{count:>6}  {out / name}")
    return 0


class _Dialogue:
    """Asks about each recording that has no mark yet."""

    def __init__(self, review: Review, keys: _Keys) -> None:
        self._review, self._keys = review, keys

    def run(self) -> None:
        """Until all have a mark or were skipped, the user quits, or nobody is there."""
        left = [each for each in self._review.recordings if self._review.word(each) is None]
        print(f"{len(left)} of {len(self._review.recordings)} recordings are left\n{HELP}")
        index = 0
        while index < len(left):
            self._show(left[index], f"{index + 1}/{len(left)}")
            step = self._ask(left[index])
            if step is None:
                return
            if step < 0:
                back = self._review.undo()
                print("nothing to undo" if back is None else f"undone: {back.keyword}")
                step = left.index(back) - index if back else 0
            index += step

    def _show(self, recording: Recorded, place: str) -> None:
        when = ""
        if recording.time is not None:
            when = time.strftime("%Y-%m-%d %H:%M:%S  ", time.localtime(recording.time))
        threshold = "" if recording.threshold is None else f" (threshold {recording.threshold:.2f})"
        print(f"\n{place}  {when}{recording.keyword}  {recording.score:.2f}{threshold}")
        try:
            print(picture(recording, sys.stdout.encoding or "ascii"))
        except DataError as error:
            print(error)

    def _ask(self, recording: Recorded) -> int | None:
        """How many recordings to go on, -1 to undo, None to quit."""
        from kws.app.review import NO_WORD

        while True:
            key = self._keys.key()
            if key in ("q", ""):
                return None
            if key == "s":
                return 1
            if key == "u":
                return -1
            if key == "p":
                print(play(recording))
            elif key in ("r", "w", "o"):
                word = {"r": recording.keyword, "w": NO_WORD}.get(key)
                try:
                    self._review.mark(recording, word or self._keys.line("which word? ").strip())
                except SettingError as error:
                    print(error)
                    continue
                print({"r": "right", "w": "no word"}.get(key, self._review.word(recording)))
                return 1
            elif key.isprintable() and not key.isspace():
                print(HELP)


def picture(recording: Recorded, encoding: str) -> str:
    """The levels of a recording as two lines of characters; the second one marks the word.

    Raises DataError where it cannot be read.
    """
    import numpy as np

    from kws.config import SAMPLE_RATE

    audio = recording.audio()
    levels = LEVELS if encoding.lower().startswith("utf") else PLAIN_LEVELS
    line = ""
    for part in np.array_split(audio.astype(np.float64), COLUMNS):
        power = np.mean(np.square(part)) if len(part) else 0.0
        decibels = 10.0 * np.log10(power / 32768**2 + 1e-12)
        share = min(1.0, max(0.0, 1.0 - decibels / FLOOR))
        line += levels[round(share * (len(levels) - 1))]
    seconds = max(len(audio), 1) / SAMPLE_RATE
    first, last = (
        min(COLUMNS, int(COLUMNS * each / seconds)) for each in (recording.start, recording.end)
    )
    word = recording.keyword[: max(1, last - first)]
    return f"  {line}\n  {' ' * first}{word:-^{max(1, last - first)}}"


def play(recording: Recorded) -> str:
    """Play it on the default output device; what to tell: its path, where there is none."""
    from kws.audio.portaudio import LOCK, load_sounddevice, quiet
    from kws.config import SAMPLE_RATE

    try:
        sounddevice: Any = load_sounddevice()
        audio = recording.audio()
        with LOCK, quiet():
            sounddevice.play(audio, SAMPLE_RATE)
    except KwsError as error:
        return f"cannot play it ({error}): {recording.path}"
    except Exception as error:  # PortAudio's own
        return f"cannot play it here ({error}): {recording.path}"
    return f"playing {recording.path.name}"


class _Keys:
    """Keys, one at a time, from a terminal; from anything else characters and lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def key(self) -> str:
        """The next key; empty where no more come."""
        return self._stream.read(1)

    def line(self, prompt: str) -> str:
        """A line that is typed."""
        print(prompt, end="", flush=True)
        return self._stream.readline()


@contextmanager
def _keys(stream: TextIO) -> Iterator[_Keys]:
    if not stream.isatty():
        yield _Keys(stream)
    elif sys.platform == "win32":
        yield _WindowsKeys(stream)
    else:
        import termios
        import tty

        before = termios.tcgetattr(stream.fileno())
        try:
            tty.setcbreak(stream.fileno(), termios.TCSANOW)
            yield _TerminalKeys(stream, before)
        finally:
            termios.tcsetattr(stream.fileno(), termios.TCSADRAIN, before)


class _TerminalKeys(_Keys):
    """Of a Unix terminal."""

    def __init__(self, stream: TextIO, settings: list[Any]) -> None:
        super().__init__(stream)
        self._settings = settings

    def key(self) -> str:
        return os.read(self._stream.fileno(), 1).decode("ascii", "replace")

    def line(self, prompt: str) -> str:
        import termios
        import tty

        termios.tcsetattr(self._stream.fileno(), termios.TCSANOW, self._settings)
        try:
            return super().line(prompt)
        finally:
            tty.setcbreak(self._stream.fileno(), termios.TCSANOW)


class _WindowsKeys(_Keys):
    """Of a console of Windows."""

    def key(self) -> str:
        import msvcrt

        return str(msvcrt.getwch())  # type: ignore[attr-defined]
