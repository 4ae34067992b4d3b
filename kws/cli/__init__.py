"""The command `kws`: finds the subcommand, parses for it, and turns errors into exit codes.

Exit codes: 0 done (Ctrl-C while listening included, and a reader such as `head` that goes away), 1
failed, 2 wrong usage, 130 interrupted.

Each subcommand is a module of kws/cli with `add_arguments(parser)` and `run(options)`, and is
imported only when it is the one named, so that `kws --help` is fast.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from functools import partial
from types import ModuleType
from typing import NoReturn

from kws import __version__
from kws.cli import terminal
from kws.cli.settings import parse
from kws.errors import KwsError, SettingError

COMMANDS = {
    "listen": "spot keywords in what the microphone, a file or a pipe delivers",
    "serve": "the same, with network servers beside it that others connect to",
    "devices": "list the microphones",
    "doctor": "check all from the model to the microphone, and say what to do",
    "eval": "measure a model on recordings: accuracy, recall, calibration, noise",
    "eval-stream": "measure a model on streams: false accepts per hour, misses, delay",
    "calibrate": "set the thresholds for your own surroundings",
    "data": "check recordings: silent, clipped, cut off, duplicated or mislabelled clips",
    "review": "go through recordings of detections and say which were right",
    "finetune": "teach a model your own words from a few recordings of each",
    "import": "take in a classifier from elsewhere, ONNX or TFLite",
    "drift": "compare the audio and scores of a device with earlier ones",
    "bench": "measure speed, start-up, memory and size here",
    "scan": "find the keywords in an archive of recordings, far faster than real time",
    "config": "show the options that listening would run with, and where each came from",
    "info": "show the models, the runtimes and the sound system found here",
}
ONE_FILE = ("listen", "serve")  # commands that share a file of --config


def main(arguments: list[str] | None = None) -> int:
    """Run the command line (default: this process's own); returns the exit code."""
    terminal.prepare()
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        terminal.flush()
        return code
    except SettingError as error:
        terminal.tell(f"error: {error}")
        return 2
    except KwsError as error:
        terminal.tell(f"error: {error}")
        return 1
    except BrokenPipeError:  # the reader of our output, such as head, has had enough
        return 0
    except OSError as error:  # of what nobody foresaw, such as a disk that is taken away
        where = f"{error.filename}: " if error.filename else ""
        terminal.tell(
            f"error: {where}{error.strerror or error}; check the disk and the permissions"
        )
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        terminal.abandon()


def script() -> NoReturn:
    """What the command and `python -m kws` run: `main`, and the end of the process."""
    code = main()
    portaudio = sys.modules.get("kws.audio.portaudio")
    if portaudio is not None and portaudio.hangs():
        os._exit(code)  # a thread of PortAudio's that calls Python while that is taken down crashes
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="kws",
        description="Real-time, on-device keyword spotting.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<12} {summary}" for name, summary in COMMANDS.items())
        + "\n\n`kws COMMAND --help` tells more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kws {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its own arguments")
    chosen = parser.parse_args(arguments)

    command, own = _command(chosen.command)
    options = parse(own, chosen.rest, partial(_siblings, chosen.command))
    _show_warnings()
    code: int = command.run(options)
    return code


def _command(name: str) -> tuple[ModuleType, argparse.ArgumentParser]:
    """Its module, and a parser of its options."""
    command = importlib.import_module(f"kws.cli.{name.replace('-', '_')}")
    own = argparse.ArgumentParser(
        prog=f"kws {name}", description=command.__doc__, allow_abbrev=False
    )
    command.add_arguments(own)
    return command, own


def _siblings(name: str) -> list[argparse.ArgumentParser]:
    """The parsers of the commands that share a file of options with this one."""
    return [_command(each)[1] for each in ONE_FILE] if name in ONE_FILE else []


class _ToStderr(logging.Handler):
    """Prints to whatever sys.stderr is by then: the live line puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        terminal.tell(f"{record.levelname.lower()}: {record.getMessage()}")


def _show_warnings() -> None:
    logger = logging.getLogger("kws")
    if not any(isinstance(handler, _ToStderr) for handler in logger.handlers):
        logger.addHandler(_ToStderr(logging.WARNING))
