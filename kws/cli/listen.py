"""Spot keywords in the microphone, a recording, a pipe or the demonstration, until Ctrl-C."""

from __future__ import annotations

import argparse
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kws.cli.options import add_decision

if TYPE_CHECKING:
    from kws.audio import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws listen`."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--input", metavar="FILE", help="a recording, or - for raw int16 16 kHz mono on stdin"
    )
    source.add_argument(
        "--demo", action="store_true", help="the demonstration recording, at its own pace"
    )
    source.add_argument(
        "--device", type=_device, help="a number or name from `kws devices` (default: the system's)"
    )
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    add_decision(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per detection")
    parser.add_argument(
        "--monitor",
        metavar="DIR",
        type=Path,
        help="write what is heard, as counts and without any audio, into a small file per hour",
    )


def run(options: argparse.Namespace) -> int:
    """Listen until the audio ends or Ctrl-C; returns the exit code."""
    from kws import Detector
    from kws.app.view import open_display
    from kws.audio import paced
    from kws.config import SAMPLE_RATE
    from kws.model.load import load_model
    from kws.monitoring.monitor import HourlyRecords

    heard = 0
    model = load_model(options.model)
    with (
        HourlyRecords(options.monitor, model) if options.monitor else nullcontext() as observer,
        closing(_open_source(options)) as source,
        Detector(
            model,
            threshold=options.threshold,
            sensitivity=options.sensitivity,
            isolated=not options.connected,
            verify=not options.no_verifier,
            observer=observer,
        ) as detector,
        open_display(options.json) as display,
    ):
        name = "the demonstration recording" if options.demo else source.name
        display.start(name, detector.model.manifest.keywords)
        # Ctrl-C is how one ends listening, so it is no failure.
        with suppress(KeyboardInterrupt):
            for block in paced(source) if options.demo else source:
                heard += len(block)
                display.heard(block)
                for detection in detector.process(block):
                    display.detected(detection)
            for detection in detector.finish():
                display.detected(detection)
        display.finish(heard / SAMPLE_RATE)
    return 0


def _open_source(options: argparse.Namespace) -> Source:
    from kws.audio import File, Microphone, RawPcm

    if options.demo:
        from kws.demo import RECORDING

        return File(RECORDING)
    if options.input == "-":
        return RawPcm()
    return File(options.input) if options.input else Microphone(options.device)


def _device(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
