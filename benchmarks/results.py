"""Figures on disk: one JSON file per measurement, with when, where and how it was taken."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any

from kws.bench.machine import processor, versions
from kws.native import library

ROOT = Path(__file__).parent.parent
FOLDER = Path(__file__).parent / "results"
SETTINGS = ("decision", "features", "presets", "thresholds", "vad", "verifier")  # of a manifest
# What `python -m benchmarks.report` writes.
PUBLISHED = ("README.md", "kws/models/README.md", "benchmarks/RESULTS.md", "benchmarks/pages/")


class GitUnavailable(Exception):
    """This is no clone, or git is not installed."""


def write_result(path: Path, command: str, figures: dict[str, Any]) -> None:
    """Keep what this process measured with `command`, as somebody else would type it.

    Figures are JSON-ready: numbers, strings, lists and dictionaries, by names that say the unit.
    """
    content = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(),
        "models": shipped_models(),
        "command": command,
        "figures": rounded(figures),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")


def command_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """What gives these options again: each that is not the default, but for where the result goes.

    `parser` is named as the program is called. The folder of recordings is $KWS_DATA, wherever it
    lies here, and of another path from the root of this machine its name stands.
    """

    def text(value: Any) -> str:
        return value.name if isinstance(value, Path) and value.is_absolute() else str(value)

    words = []
    for action in parser._actions:
        value = getattr(options, action.dest, None)
        if action.dest == "data" and value is not None:
            words.append("--data $KWS_DATA")
        elif action.dest not in ("help", "out", "data") and value != action.default:
            flag = action.option_strings[-1:]  # none where the place alone tells what it is
            values = value if isinstance(value, list) else [] if value is True else [value]
            several = [[each] for each in values] or [[]]
            if action.nargs in ("*", "+"):  # all of them after one flag
                several = [values]
            words += [shlex.join([*flag, *map(text, each)]) for each in several]
    return " ".join([parser.prog, *words])


def read_results(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Every kept measurement, by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


def rounded(value: Any, digits: int = 5) -> Any:
    """The same structure with its floats rounded to what a measurement can be good for."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return value


def shipped_models(folder: Path = ROOT / "kws" / "models") -> dict[str, str]:
    """A digest of each model that ships: its weights and all settings that detections depend on."""
    digests = {}
    for path in sorted(folder.glob("*.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: manifest.get(key) for key in SETTINGS}
        kept["files"] = {key: each["sha256"] for key, each in manifest["artefacts"].items()}
        text = json.dumps(kept, sort_keys=True)
        digests[path.stem] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return digests


def commit() -> str:
    """The commit that was measured, with a + where files differed from it.

    Other measurements and what is written from them do not count.
    """
    try:
        changed = uncommitted((*PUBLISHED, "benchmarks/results/"))
        return _git("rev-parse", "--short", "HEAD").strip() + ("+" if changed else "")
    except GitUnavailable:
        return "unknown"


def uncommitted(but: tuple[str, ...] = PUBLISHED) -> list[str]:
    """Paths of files that differ from the commit, but for those that begin with one of `but`.

    Raises GitUnavailable where git cannot tell.
    """
    lines = _git("status", "--porcelain", "--untracked-files=all", "--no-renames").splitlines()
    paths = [line[3:].strip('"') for line in lines]
    return [path for path in paths if not path.startswith(but)]


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise GitUnavailable("git cannot tell what was committed; run in a clone") from error


def machine() -> str:
    """Processor, cores, system, the versions that figures depend on, and the kernel where it is."""
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    kernel = ", native kernel" if library() else ""
    system = f"{platform.system()} {platform.machine()}"
    return (
        f"{processor()}, {os.cpu_count()} cores, {system}; "
        f"Python {platform.python_version()}, {packages}{kernel}"
    )
