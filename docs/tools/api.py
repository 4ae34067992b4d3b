"""Write docs/api.md from the docstrings of what `import kws` offers.

python docs/tools/api.py
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kws

PAGE = Path(__file__).parent.parent / "api.md"
GROUPS = {
    "Detection": ("Detector", "DetectorPool", "Detection"),
    "Listening": ("Listener", "Microphone", "AudioFile", "AudioFeed", "Gap"),
    "Models": ("load_model", "Model"),
    "Errors": (
        *("KwsError", "AudioError", "BackendUnavailable", "DataError", "ModelError"),
        "SettingError",
    ),
}
WIDTH = 88


def page() -> str:
    """The whole page, in Markdown."""
    left = (
        set(kws.__all__) - {"__version__"} - {name for names in GROUPS.values() for name in names}
    )
    if left:
        raise ValueError(f"put {', '.join(sorted(left))} into a group of docs/tools/api.py")
    parts = [
        "# Python API",
        "Written by `python docs/tools/api.py` from the docstrings. Names are imported from `kws`; "
        "they load on first use. Times are seconds since the stream began, audio is 16 kHz mono, "
        "and what goes wrong on purpose is a `KwsError`. A `Model` may be shared between threads; "
        "a `Detector`, a `DetectorPool` and a `Listener` belong to one thread at a time. Runnable "
        "programs: [examples](examples).",
    ]
    for title, names in GROUPS.items():
        parts.append(f"## {title}")
        for name in names:
            parts += _entry(name, getattr(kws, name))
    return "\n\n".join(part for part in parts if part) + "\n"


def _entry(name: str, item: Any) -> Iterator[str]:
    yield f"### {name}"
    if not inspect.isclass(item):
        yield _code(name, item)
        yield _text(item)
        return
    if dataclasses.is_dataclass(item):
        yield _text(item)
        yield "\n".join(_fields(item))
    elif issubclass(item, Exception):
        yield _text(item)
    else:
        yield _code(name, item.__init__)
        yield _text(item)
        if item.__init__.__doc__:
            yield _text(item.__init__)
    for method, value in vars(item).items():
        if method.startswith("_") or issubclass(item, Exception):
            continue
        if isinstance(value, property):
            kind = value.fget.__annotations__.get("return", "") if value.fget else ""
            yield f"**`{method}: {kind}`**" + _indented(value)
        elif inspect.isfunction(value):
            yield _code(method, value)
            yield _text(value)


def _indented(item: Any) -> str:
    text = _text(item)
    return f": {text[0].lower()}{text[1:]}" if text else ""


def _fields(item: Any) -> Iterator[str]:
    """Fields of a dataclass with the comments that stand beside them."""
    source = inspect.getsource(item)
    for field in dataclasses.fields(item):
        if field.name.startswith("_"):
            continue
        found = re.search(rf"^    {field.name}:[^#\n]*#\s*(.*)$", source, re.MULTILINE)
        comment = f": {found[1]}" if found else ""
        yield f"* `{field.name}: {field.type}`{comment}"


def _code(name: str, call: Any) -> str:
    """The call as somebody would write it, one parameter a line where it is long."""
    shown = []
    star = False
    for parameter in inspect.signature(call).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown.append("*")
            star = True
        kind = parameter.annotation
        text = parameter.name + ("" if kind is parameter.empty else f": {kind}")
        if parameter.default is not parameter.empty:
            text += f" = {parameter.default!r}"
        shown.append(text)
    result = call.__annotations__.get("return")
    end = f") -> {result}" if result and result != "None" else ")"
    line = f"{name}({', '.join(shown)}{end}"
    if len(line) > WIDTH:
        line = f"{name}(\n" + "".join(f"    {each},\n" for each in shown) + end
    return f"```python\n{line}\n```"


def _text(item: Any) -> str:
    """A docstring as Markdown: paragraphs and items of lists unwrapped, code as it is."""
    paragraphs = (inspect.getdoc(item) or "").split("\n\n")
    return "\n\n".join(
        paragraph if paragraph.startswith("    ") else re.sub(r"\n(?!\* )\s*", " ", paragraph)
        for paragraph in paragraphs
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"written: {PAGE}\n")
