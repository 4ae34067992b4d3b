"""List the microphones; exits with 1 where there is none."""

from __future__ import annotations

import argparse
import dataclasses
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws devices`."""
    parser.add_argument("--json", action="store_true", help="one JSON object per device")


def run(options: argparse.Namespace) -> int:
    """Print the devices; returns the exit code."""
    from kws.audio import input_devices

    for device in input_devices():
        if options.json:
            print(json.dumps(dataclasses.asdict(device)))
        else:
            kind = ", what a loudspeaker plays" if device.monitor else ""
            print(
                f"{'*' if device.default else ' '} {device.name}  "
                f"({device.host} {device.id}, {device.channels} ch, {device.rate:.0f} Hz{kind})"
            )
    return 0
