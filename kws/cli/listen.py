"""Detect keywords in the microphone, a recording, a pipe or the demonstration, until Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kws.cli.actions import add_actions, arming, open_actions
from kws.cli.options import add_decision, add_raw, device, raw_format

if TYPE_CHECKING:
    from kws.app.events import End
    from kws.app.outputs import Output
    from kws.app.servers import Server, Servers
    from kws.app.session import Session
    from kws.app.signals import StopSignals
    from kws.audio import Source
    from kws.detector import Observer
    from kws.model.load import Model

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws listen`."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--input",
        metavar="FILE",
        help="a recording, or - for one on standard input, or raw int16 16 kHz mono there",
    )
    source.add_argument(
        "--demo", action="store_true", help="the demonstration recording, at its own pace"
    )
    source.add_argument(
        "--device", type=device, help="a number or name from `kws devices` (default: the system's)"
    )
    add_raw(parser)
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    add_decision(parser)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--json", action="store_true", help="one JSON object per event (docs/listening.md)"
    )
    shown.add_argument(
        "--json-plain",
        action="store_true",
        help="one JSON object per detection, as --json wrote it in 0.1; goes after this release",
    )
    shown.add_argument(
        "--quiet",
        action="store_true",
        help="detections, one a line, and faults of the source; nothing else",
    )
    add_actions(parser)
    parser.add_argument(
        "--service",
        action="store_true",
        help="run under a service manager: SIGHUP reads the model again instead of stopping",
    )
    parser.add_argument(
        "--monitor",
        metavar="DIR",
        type=Path,
        help="write levels and scores, as counts and without any audio, into a small file per hour",
    )


def run(options: argparse.Namespace, servers: Sequence[Server] = ()) -> int:
    """Listen until the audio ends or a signal comes; returns the exit code.

    The servers start before the audio, and are told what the other outputs are told.
    """
    from kws.app.signals import Stopped, StopSignals

    with StopSignals(reload=options.service) as signals:
        with suppress(Stopped):  # to stop is how one ends listening, so it is no failure
            _listen(options, signals, servers)
        if signals.torn:  # what could not be written cannot be written at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _listen(options: argparse.Namespace, signals: StopSignals, servers: Sequence[Server]) -> None:
    from kws.app.outputs import Outputs
    from kws.app.outputs.standard import write_note
    from kws.app.outputs.systemd import Systemd
    from kws.app.session import Session
    from kws.app.view import LiveView
    from kws.audio import paced
    from kws.detector import Observer
    from kws.errors import KwsError
    from kws.model.load import load_model

    model = load_model(options.model)
    armed = arming(options, options.keywords or model.manifest.keywords)

    def mute(muted: bool) -> None:  # called from the first block of audio on
        (session.pause if muted else session.resume)()

    actions = open_actions(options, mute)
    display, systemd = _open_display(options), Systemd()
    running = _running(servers, mute)
    with Outputs([systemd, display, *actions, *running]) as outputs:
        session = Session(outputs, signals, armed)
        observers: list[Observer] = [systemd, *(s for s in servers if isinstance(s, Observer))]
        if isinstance(display, LiveView):
            observers.append(display)
        for url in [url for each in running for url in each.start()]:
            if not options.quiet:
                write_note(f"Serving {url}")
        with closing(_open_source(options, session)) as source:
            name = "the demonstration recording" if options.demo else source.name
            blocks: Iterable[Any] = paced(source) if options.demo else source
            while True:
                end = _run(options, session, model, observers, blocks, name)
                if end.reason != "reload":
                    return
                signals.clear()
                try:
                    model = load_model(options.model)
                except KwsError as error:
                    logger.error("the model is not read again, the old one goes on: %s", error)


def _run(
    options: argparse.Namespace,
    session: Session,
    model: Model,
    observers: Sequence[Observer],
    source: Iterable[Any],
    name: str,
) -> End:
    from kws import Detector
    from kws.app.session import Observers
    from kws.monitoring.monitor import HourlyRecords

    with HourlyRecords(options.monitor, model) if options.monitor else nullcontext() as records:
        everyone = Observers([*observers, records] if records else observers)
        with Detector(
            model,
            threshold=options.threshold,
            sensitivity=options.sensitivity,
            keywords=options.keywords,
            isolated=not options.connected,
            verify=not options.no_verifier,
            observer=everyone,
        ) as detector:
            return session.run(detector, source, name)


def _running(servers: Sequence[Server], mute: Callable[[bool], None]) -> list[Servers]:
    """All of them, as one output; without any, none, and no event loop."""
    if not servers:
        return []
    from kws.app.servers import Servers

    return [Servers(servers, mute)]


def _open_source(options: argparse.Namespace, session: Session) -> Source:
    from kws.audio import AudioFile, AudioPipe, Microphone

    raw = raw_format(options)
    if options.demo:
        from kws.demo import RECORDING

        return AudioFile(RECORDING)
    if options.input == "-":
        return AudioPipe(raw=raw)
    if raw:
        return AudioPipe.open(options.input, raw)
    if options.input:
        return AudioFile(options.input)
    return Microphone(options.device, on_event=session.source_event)


def _open_display(options: argparse.Namespace) -> Output:
    """What was requested, else the live view on a capable terminal and plain lines elsewhere."""
    from kws.app.outputs.json_lines import JsonLines, PlainJsonLines
    from kws.app.outputs.plain_lines import PlainLines
    from kws.app.view import open_view

    if options.json:
        return JsonLines()
    if options.json_plain:
        return PlainJsonLines()
    if options.quiet:
        return PlainLines(quiet=True)
    return open_view() or PlainLines()
