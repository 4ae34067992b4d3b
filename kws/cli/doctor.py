"""Check everything that listening needs, and say what to do; exits with 1 if a check fails."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from kws.cli.options import add_channel, device
from kws.text import printable

MARKS = {"ok": "ok", "warning": "warn", "failed": "FAIL", "skipped": "-"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws doctor`."""
    parser.add_argument(
        "--device", type=device, help="a number or name from `kws devices` (default: the system's)"
    )
    add_channel(parser)
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the findings as they come; returns the exit code."""
    from kws.app.doctor import examine

    findings = []
    for finding in examine(options.device, options.model, _prompt, options.channel):
        findings.append(finding)
        if not options.json:
            mark, text = MARKS[finding.status], printable(finding.text)
            print(f"{mark:<4}  {finding.check:<14}  {text}", flush=True)
            if finding.advice:
                print(f"{'':<4}  {'':<14}  -> {printable(finding.advice)}", flush=True)
    failed = [finding.check for finding in findings if finding.status == "failed"]
    if options.json:
        content = {"v": 1, "ok": not failed, "findings": list(map(dataclasses.asdict, findings))}
        print(json.dumps(content, indent=2))
    return int(bool(failed))


def _prompt(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
