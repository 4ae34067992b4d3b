"""Detect keywords as `kws listen` does, and let others connect meanwhile, until Ctrl-C."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kws.cli import listen
from kws.cli.settings import Options
from kws.errors import SettingError

if TYPE_CHECKING:
    from kws.app.servers import Server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws serve`: those of `kws listen`, and one or more per server."""
    listen.add_arguments(parser)


def run(options: Options) -> int:
    """Listen and serve until the audio ends or a signal comes; returns the exit code."""
    return listen.run(options, open_servers(options))


def open_servers(options: Options) -> list[Server]:
    """The servers of the options; raises SettingError for what cannot be done, and for none."""
    servers: list[Server] = []
    if not servers:
        raise SettingError("expected a server to start; `kws serve --help` lists them")
    return servers
