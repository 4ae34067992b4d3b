"""Draw what a command shows in a real terminal: `kws listen --demo`, the picture in the README.

python docs/tools/terminal_screenshot.py [--columns 80] [--out docs/pictures/listen.svg]
python docs/tools/terminal_screenshot.py --out docs/pictures/game.svg --title game.py --columns 40 \
    --rows 13 --until "moves: 4" --command "python docs/examples/game.py kws/demo/commands.opus"

tmux (Debian: tmux) is the terminal. The picture is taken half a second after --until has appeared.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

SECONDS = 40.0  # that the demonstration takes at most, with its start
PICTURE = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px; line-height: {line_height}px; white-space: pre;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""  # rich's own, without the fonts that it would fetch from a server


def main() -> int:
    """Take the picture and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/listen.svg"))
    parser.add_argument("--until", default="✔ stop")
    parser.add_argument("--rows", type=int, default=20)
    listen = shlex.join([sys.executable, "-m", "kws", "listen", "--demo"])
    parser.add_argument("--command", default=listen)
    parser.add_argument("--title", default="kws listen --demo")
    options = parser.parse_args()
    screen = screenshot(options.command, options.columns, options.rows, options.until)
    draw(screen, options.columns, options.title, options.out)
    return 0


def draw(screen: str, columns: int, title: str, out: Path) -> None:
    """Write a screen, with its colours as ANSI codes, as a picture."""
    console = Console(
        record=True,
        width=columns,
        force_terminal=True,
        color_system="standard",
        file=io.StringIO(),
    )
    console.print(Text.from_ansi(screen), no_wrap=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = console.export_svg(title=title, code_format=PICTURE, unique_id="kws")
    out.write_text(picture, encoding="utf-8")
    print(f"{out}: {out.stat().st_size} bytes")


def screenshot(command: str, columns: int, rows: int, until: str, keys: str = "") -> str:
    """The screen, with its colours as ANSI codes, half a second after the text appears on it.

    `keys` are pressed then, half a second after one another.
    """
    tmux = ["tmux", "-L", f"kws-{os.getpid()}", "-f", "/dev/null"]
    size = ["-x", str(columns), "-y", str(rows)]
    tmux = [*tmux, "-u"]  # its client may have been started without a locale
    subprocess.run([*tmux, "new-session", "-d", *size, command], check=True)
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            screen = _screen(tmux)
            if until in screen:
                time.sleep(0.5)
                for key in keys:
                    subprocess.run([*tmux, "send-keys", key], check=True)
                    time.sleep(0.5)
                return _screen(tmux).rstrip("\n")
            time.sleep(0.1)
        raise SystemExit(f"{until!r} did not appear within {SECONDS:.0f} s")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def _screen(tmux: list[str]) -> str:
    return subprocess.run(
        [*tmux, "capture-pane", "-e", "-p"], check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
