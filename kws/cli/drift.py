"""Say what changed between two records of a detector's statistics.

A and B are JSON files that `kws listen --monitor DIR` wrote, folders of them, or folders of
recordings, which are processed now: those that the model was trained on show how far a device is
from them.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws drift`."""
    parser.add_argument("before", metavar="A", type=Path, help="what it was")
    parser.add_argument("after", metavar="B", type=Path, help="what it is")
    parser.add_argument("--model", help="the model that processes recordings (default: ours)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Compare and print; returns the exit code."""
    import json
    from dataclasses import asdict

    from kws.model.load import load_model
    from kws.monitoring.drift import changes, load_seen

    model = load_model(options.model)
    before, after = (load_seen(place, model) for place in (options.before, options.after))
    found = list(changes(before, after))
    if options.json:
        content = {"changes": found, "before": asdict(before), "after": asdict(after)}
        print(json.dumps(content))
        return 0
    print(f"{before.seconds / 60:.0f} and {after.seconds / 60:.0f} minutes of audio")
    print("\n".join(found) or "Nothing changed that matters.")
    return 0
