"""Draw docs/pictures/architecture.svg: the path of the audio, with the file of each stage.

python docs/tools/architecture.py
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import NamedTuple

PICTURE = Path(__file__).parent.parent / "pictures" / "architecture.svg"
WIDTH, HEIGHT = 960, 560
BOX_WIDTH, BOX_HEIGHT = 236, 88
COLUMNS, ROWS = (16, 362, 708), (50, 196, 342)


class Box(NamedTuple):
    """One stage."""

    column: int
    row: int
    title: str
    file: str
    what: str


BOXES = (
    Box(0, 0, "Source", "kws/audio/", "microphone, file, pipe or feed"),
    Box(1, 0, "Hops", "kws/gated_stream.py", "blocks of any length to equal hops"),
    Box(2, 0, "Gate", "kws/vad.py", "speech? open for a hangover"),
    Box(2, 1, "Front end", "kws/streaming_frontend.py", "log-mel frames, kws/frontend.py"),
    Box(1, 1, "Network", "kws/model/", "ONNX Runtime or TFLite, stateful"),
    Box(0, 1, "Verifier", "kws/verifier.py", "a larger network, on candidates"),
    Box(0, 2, "Decision", "kws/decision.py", "score, threshold, refractory period"),
    Box(1, 2, "Public objects", "kws/detector.py, kws/pool.py", "one stream, many streams"),
    Box(2, 2, "Program", "kws/app/", "kws listen: view, events, outputs"),
)
# What passes from each stage to the next: (text, second line).
PASSED = (
    ("int16 mono", "16 kHz"),
    ("one hop", "per stream"),
    ("only while open,", "pre-roll first"),
    ("a frame", "per 10 ms"),
    ("posteriors,", "a row per 20 ms"),
    ("verified", "posteriors"),
    ("Detection", "keyword, times"),
    ("Detection,", "events"),
)


def picture() -> str:
    """The whole picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="The path of the audio from source to program">',
        "<style>",
        "text { font-family: 'DejaVu Sans', Helvetica, Arial, sans-serif; fill: #1f2430; }",
        ".title { font-size: 17px; font-weight: bold; } .file { font-size: 12.5px; "
        "font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #0b5394; }",
        ".what { font-size: 12.5px; } .passed { font-size: 12px; fill: #4a5160; }",
        ".head { font-size: 14px; fill: #4a5160; }",
        "</style>",
        '<defs><marker id="tip" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
        '<path d="M0,0 L9,4 L0,8 z" fill="#4a5160"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(16, 30, "head", "Audio in, detections out: each stage is one file or one folder."),
    ]
    parts += [_box(box) for box in BOXES]
    for before, after, lines in zip(BOXES[:-1], BOXES[1:], PASSED, strict=True):
        parts.append(_arrow(before, after, lines))
    parts += [
        '<rect x="16" y="466" width="928" height="78" rx="8" fill="#f4f5f7"/>',
        _text(32, 492, "what", "The manifest kws/models/NAME.json sets labels, front end, gate, "),
        _text(32, 510, "what", "thresholds and decision of every stage; kws/model/manifest.py."),
        _text(32, 530, "what", "kws/evaluation measures these same files, kws/scanning runs them."),
        _text(540, 492, "what", "kws/train writes checkpoints, export makes files of"),
        _text(540, 510, "what", "them, firmware_demo is the same path in C99."),
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(box: Box) -> str:
    x, y = COLUMNS[box.column], ROWS[box.row]
    return "\n".join(
        (
            f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" '
            'fill="#eaf2fb" stroke="#0b5394" stroke-width="1.5"/>',
            _text(x + 14, y + 28, "title", box.title),
            _text(x + 14, y + 51, "file", box.file),
            _text(x + 14, y + 73, "what", box.what),
        )
    )


def _arrow(before: Box, after: Box, lines: tuple[str, str]) -> str:
    """From one box to the next, with what passes beside it."""
    if before.row == after.row:
        y = ROWS[before.row] + BOX_HEIGHT // 2
        forth = after.column > before.column
        begin = COLUMNS[before.column] + (BOX_WIDTH if forth else 0)
        end = COLUMNS[after.column] + (0 if forth else BOX_WIDTH)
        line = f"M{begin},{y} L{end},{y}"
        middle = (begin + end) // 2
        texts = [(middle, y - 10, lines[0]), (middle, y + 20, lines[1])]
        anchor = "middle"
    else:
        x = COLUMNS[before.column] + BOX_WIDTH // 2
        top, bottom = ROWS[before.row] + BOX_HEIGHT, ROWS[after.row]
        line = f"M{x},{top} L{x},{bottom}"
        texts = [(x + 10, top + 25, lines[0]), (x + 10, top + 42, lines[1])]
        anchor = "start"
    arrow = f'<path d="{line}" stroke="#4a5160" stroke-width="1.5" marker-end="url(#tip)"/>'
    return "\n".join([arrow, *(_text(x, y, "passed", text, anchor) for x, y, text in texts)])


def _text(x: int, y: int, kind: str, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    sys.stdout.write(f"written: {PICTURE}\n")
