"""Detect keywords in the microphone, a recording, a pipe or the demonstration, until Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kws.cli.actions import add_actions, arming, open_actions
from kws.cli.options import add_channel, add_decision, add_raw, device, raw_format
from kws.cli.settings import Options, add_config

if TYPE_CHECKING:
    from kws.app.arming import Arming
    from kws.app.events import End
    from kws.app.outputs import Output, Outputs
    from kws.app.servers import Server, Servers
    from kws.app.session import Session
    from kws.app.signals import StopSignals
    from kws.audio import Source
    from kws.detector import Observer
    from kws.model.load import Model

logger = logging.getLogger(__name__)

# Options by the beginnings of their names: what opens the source, what opens the actions, and what
# stays as it is when the configuration is read again.
SOURCE = ("input", "demo", "device", "channel", "raw_", "no_microphone")
ACTIONS = ("exec", "webhook", "mqtt", "record")
LASTING = ("json", "quiet", "service", "http", "wyoming", "zeroconf")

BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws listen`."""
    add_listening(parser)


def add_listening(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """Declare what is listened to, how, and what for; a microphone may be `optional`."""
    add_config(parser)
    source = parser.add_mutually_exclusive_group()
    if optional:
        source.add_argument(
            "--no-microphone", action="store_true", help="detect only in what clients send"
        )
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
    add_channel(parser)
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
        help="run under a service manager: SIGHUP reads the configuration and the model again "
        "instead of stopping",
    )
    parser.add_argument(
        "--monitor",
        metavar="DIR",
        type=Path,
        help="write levels and scores, as counts and without any audio, into a small file per hour",
    )


def run(options: Options, servers: Sequence[Server] = ()) -> int:
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


def import_numpy() -> None:
    """Import NumPy without a thread for each core, which takes as long as NumPy itself.

    Its library of linear algebra, whose threads find nothing to do here, starts them as it is
    loaded and reads the variable only then: programs that are started later do not see it.
    """
    ours = BLAS_THREADS not in os.environ
    os.environ.setdefault(BLAS_THREADS, "1")
    import numpy  # noqa: F401

    if ours:
        del os.environ[BLAS_THREADS]


def _listen(options: Options, signals: StopSignals, servers: Sequence[Server]) -> None:
    import_numpy()
    from kws.app.outputs import Outputs
    from kws.app.outputs.standard import write_note
    from kws.app.outputs.systemd import Systemd
    from kws.app.session import Session
    from kws.detector import Observer
    from kws.errors import KwsError

    setup = _Setup.of(options)
    display, systemd = _open_display(options), Systemd()
    with Outputs([systemd, display]) as outputs:
        session = Session(outputs, signals)
        told = (systemd, *servers, display)
        observers = [each for each in told if isinstance(each, Observer)]
        with signals.shield():  # torn, the start of a thread may hold up the end of the program
            running = _running(servers, session.mute)
            outputs.replace([], running)
            for url in [url for each in running for url in each.start()]:
                if not options.quiet:
                    write_note(f"Serving {url}")
            parts = _Parts(setup, session, outputs)
        with closing(parts):
            while parts.run(observers).reason == "reload":
                signals.clear()
                try:
                    with signals.shield():
                        parts.change(_Setup.of(options.reread()))
                except KwsError as error:
                    logger.error(
                        "the configuration is not read again, the old one goes on: %s", error
                    )


@dataclass(frozen=True)
class _Setup:
    """Options, and what is read and checked for them before anything is opened."""

    options: Options
    model: Model
    arming: Arming

    @classmethod
    def of(cls, options: Options) -> _Setup:
        """Raises KwsError for what does not fit together."""
        from kws.model.load import load_model
        from kws.operating_point import OperatingPoint

        model = load_model(options.model)
        point = OperatingPoint.of(model, **decision(options))
        return cls(options, model, arming(options, point.keywords))


def _monitor(options: Options, model: Model) -> AbstractContextManager[Observer | None]:
    if options.monitor is None:
        return nullcontext()
    from kws.monitoring.monitor import HourlyRecords

    return HourlyRecords(options.monitor, model)


class _Parts:
    """What a new configuration may change while it listens: all but the display and the servers."""

    def __init__(self, setup: _Setup, session: Session, outputs: Outputs) -> None:
        self._setup, self._session, self._outputs = setup, session, outputs
        session.arming = setup.arming
        self._actions = open_actions(setup.options, session.mute)
        outputs.replace([], self._actions)
        self._source = _open_source(setup.options, session)

    def run(self, observers: Sequence[Observer]) -> End:
        """Listen until the source ends or a signal comes."""
        from kws import Detector
        from kws.app.session import Observers
        from kws.audio import paced
        from kws.detector import Observer

        options, model, source = self._setup.options, self._setup.model, self._source
        with _monitor(options, model) as records:
            own = [each for each in (*self._actions, records) if isinstance(each, Observer)]
            everyone = Observers([*observers, *own])
            with Detector(model, **decision(options), observer=everyone) as detector:
                if options.demo:
                    return self._session.run(detector, paced(source), "the demonstration recording")
                return self._session.run(detector, source, source.name)

    def change(self, setup: _Setup) -> None:
        """Go on with another setup. Raises KwsError, and changes nothing, where it cannot.

        What its options leave as it was stays open: a microphone, or a connection to a broker.
        """
        from kws.app.events import Paused

        old, new = self._setup.options, setup.options
        with ExitStack() as undo:
            source = self._source
            if _differ(old, new, SOURCE):
                source = undo.enter_context(closing(_open_source(new, self._session)))
            actions = self._actions
            if _differ(old, new, ACTIONS):
                actions = open_actions(new, self._session.mute)
            undo.pop_all()
        for name, value in vars(old).items():
            if name.startswith(LASTING) and value != getattr(new, name):
                logger.warning("%s changes at the next start", name.replace("_", "-"))
        if actions is not self._actions:
            if self._session.paused:
                for action in actions:
                    action.put(Paused(time.time()))
            self._outputs.replace(self._actions, actions)
        if source is not self._source:
            self._source.close()
        self._setup, self._actions, self._source = setup, actions, source
        self._session.arming = setup.arming

    def close(self) -> None:
        """Close the source; the outputs are closed by whoever has opened them."""
        self._source.close()


def _running(servers: Sequence[Server], mute: Callable[[bool], None]) -> list[Servers]:
    """All of them, as one output; without any, none, and no event loop."""
    if not servers:
        return []
    from kws.app.servers import Servers

    return [Servers(servers, mute)]


def _differ(old: Options, new: Options, names: Sequence[str]) -> bool:
    """Whether options that begin with one of these names have other values."""
    before, after = vars(old), vars(new)
    return any(before[key] != after[key] for key in before if key.startswith(tuple(names)))


def decision(options: Options) -> dict[str, Any]:
    """The arguments of a Detector that choose when a keyword counts as spoken."""
    return {
        "threshold": options.threshold,
        "sensitivity": options.sensitivity,
        "keywords": options.keywords,
        "isolated": not options.connected,
        "verify": not options.no_verifier,
    }


def _open_source(options: Options, session: Session) -> Source:
    from kws import audio  # which imports what is taken from it, and nothing else
    from kws.errors import SettingError

    raw = raw_format(options)
    no_microphone = getattr(options, "no_microphone", False)
    if options.channel and (options.demo or options.input or no_microphone):
        raise SettingError(
            "--channel is of the microphone, which is not recorded from; leave it out"
        )
    if no_microphone:
        from kws.app.servers.silence import Silence

        return Silence()
    if options.demo:
        from kws.demo import RECORDING

        return audio.AudioFile(RECORDING)
    if options.input == "-":
        return audio.AudioPipe(raw=raw)
    if raw:
        return audio.AudioPipe.open(options.input, raw)
    if options.input:
        return audio.AudioFile(options.input)
    return audio.Microphone(options.device, channel=options.channel, on_event=session.source_event)


def _open_display(options: Options) -> Output:
    """What was requested, else the live view on a capable terminal and plain lines elsewhere."""
    from kws.app.outputs.json_lines import JsonLines, PlainJsonLines
    from kws.app.outputs.plain_lines import PlainLines

    if options.json:
        return JsonLines()
    if options.json_plain:
        return PlainJsonLines()
    if options.quiet:
        return PlainLines(quiet=True)
    from kws.app.view import open_view

    return open_view() or PlainLines()
