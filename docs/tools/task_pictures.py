"""Draw what a terminal shows at the steps of the pages for one task each.

python docs/tools/task_pictures.py [PAGE ...]

Each command runs as it is shown, in an empty folder with the files that its page shows, on the
demonstration recording. tmux is the terminal; home-assistant needs mosquitto and its clients.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from terminal_screenshot import draw, screenshot

from kws.demo import RECORDING

DOCS = Path(__file__).resolve().parent.parent
END = "$ _"


@dataclass(frozen=True)
class Session:
    """What is typed in a terminal, one command after another."""

    commands: tuple[str, ...]
    rows: int
    until: str = END  # what the screen then shows
    before: str = ""  # what prepares it, unseen
    keys: str = ""  # that are pressed after that
    columns: int = 90


SESSIONS = {
    "actions": Session(
        (
            "kws listen --quiet --input words.opus",
            "kws listen --quiet --input words.opus --after yes --within 4",
        ),
        rows=15,
    ),
    "configuration": Session(
        ("kws config --config kws.toml --quiet | grep -v -e default -e 'not set'",), rows=14
    ),
    "home-assistant": Session(
        ("mosquitto_sub -v -t 'kws/#'",),
        rows=9,
        until='"event_type": "go"',
        before="timeout 60 mosquitto -p 1883 & sleep 1; "
        "(sleep 2; kws listen --demo --keywords stop,go --mqtt localhost --mqtt-name Kitchen) &",
        columns=110,
    ),
    "light-switch": Session(
        (
            "kws listen --quiet --demo --keywords on,off --exec 'sh light.sh {keyword}'",
            "cat light.log",
        ),
        rows=7,
    ),
    "raspberry-pi": Session(
        ("kws listen --config kws.toml --demo",), rows=11, until='"stop", "s', columns=110
    ),
    "review": Session(
        ("kws review recordings",),
        rows=18,
        until="1/10",
        before="kws listen --input words.opus --record-detections recordings",
        keys="rw",
    ),
    "wyoming": Session(
        ("python docs/examples/wyoming_client.py tcp://127.0.0.1:10400 words.opus",),
        rows=5,
        before="kws serve --no-microphone --keywords stop,go --wyoming tcp://127.0.0.1:10400 & "
        "sleep 5",
    ),
}


def program(session: Session) -> str:
    """For sh: the commands, each behind a prompt as though it were typed."""
    python = shlex.quote(sys.executable)
    lines = [f'kws() {{ {python} -m kws "$@"; }}']
    lines += [f'python() {{ {python} "$@"; }}', f"{{ {session.before or ':'}\n}} >/dev/null 2>&1"]
    lines.append("clear")
    for command in session.commands:
        lines += [f"printf '$ %s\\n' {shlex.quote(command)}", command]
    return "\n".join([*lines, f"printf '{END}'", "sleep 60", ""])


def main() -> int:
    """Draw the pictures of these pages, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", choices=[[], *SESSIONS], metavar="PAGE")
    for page in parser.parse_args().pages or SESSIONS:
        session = SESSIONS[page]
        with TemporaryDirectory(ignore_cleanup_errors=True) as name:  # it may still be written
            folder = Path(name)
            text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
            for file, content in re.findall(
                r"^```\w+\n(# file: \S+)\n(.*?)^```", text, re.S | re.M
            ):
                (folder / file.removeprefix("# file: ")).write_text(content, encoding="utf-8")
            shutil.copy(RECORDING, folder / "words.opus")
            (folder / "docs").symlink_to(DOCS)
            (folder / "session.sh").write_text(program(session), encoding="utf-8")
            command = f"cd {shlex.quote(name)} && PYTHONPATH={DOCS.parent} sh session.sh"
            screen = screenshot(command, session.columns, session.rows, session.until, session.keys)
        draw(screen, session.columns, page, DOCS / "pictures" / f"{page}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
