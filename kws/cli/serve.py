"""Detect keywords as `kws listen` does, and let others connect meanwhile, until Ctrl-C."""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from kws.cli import listen
from kws.cli.actions import secret
from kws.cli.settings import Options
from kws.errors import SettingError

if TYPE_CHECKING:
    from kws.app.servers import Server

WYOMING = "tcp://"
HTTP_TOKEN = "KWS_HTTP_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws serve`: those of `kws listen`, and one or more per server."""
    listen.add_listening(parser, optional=True)
    _add_http(parser)
    _add_wyoming(parser)


def _add_http(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the web page."""
    http = parser.add_argument_group("a web page, events and metrics over HTTP (docs/web.md)")
    http.add_argument("--http", metavar="HOST:PORT", help="serve them there, as 127.0.0.1:8123")
    http.add_argument(
        "--http-token-file",
        metavar="FILE",
        type=Path,
        help="expect the token in this file from everybody (default: that in "
        f"{HTTP_TOKEN}, if any); needed where other machines reach the address",
    )


def _add_wyoming(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Wyoming: Home Assistant and satellites (docs/wyoming.md)")
    group.add_argument(
        "--wyoming",
        metavar="URL",
        help="detect wake words in what clients send, as at tcp://127.0.0.1:10400",
    )
    group.add_argument(
        "--wyoming-model",
        metavar="MODEL",
        action="extend",
        nargs="+",
        help="more models of your own, all of whose words are wake words, beside those of --model",
    )
    group.add_argument(
        "--wyoming-allow",
        metavar="ADDRESSES",
        type=networks,
        default=(),
        help="other machines that may connect, as in 192.168.1.10 or 192.168.1.0/24",
    )
    group.add_argument(
        "--zeroconf", action="store_true", help="announce it, so that Home Assistant finds it"
    )


def networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """IP addresses and networks with commas between them."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected IP addresses or networks with commas between them: {error}"
        ) from error


def run(options: Options) -> int:
    """Listen and serve until the audio ends or a signal comes; returns the exit code."""
    return listen.run(options, open_servers(options))


def open_servers(options: Options) -> list[Server]:
    """The servers of the options; raises SettingError for what cannot be done, and for none."""
    servers: list[Server] = []
    if options.wyoming is not None:
        servers.append(_wyoming(options))
    elif options.wyoming_model or options.wyoming_allow or options.zeroconf:
        raise SettingError("--wyoming-model, --wyoming-allow and --zeroconf go with --wyoming URL")
    if options.http is not None:
        servers.append(_open_http(options))
    elif options.http_token_file is not None:
        raise SettingError("--http-token-file goes with --http HOST:PORT")
    if not servers:
        raise SettingError("expected a server to start; `kws serve --help` lists them")
    return servers


def _wyoming(options: Options) -> Server:
    from kws.app.servers.address import Address
    from kws.app.servers.wake_words import WakeWords
    from kws.app.servers.wyoming import Wyoming, WyomingConfig

    url: str = options.wyoming
    try:
        address = Address.parse(url.removeprefix(WYOMING) if url.startswith(WYOMING) else "")
    except SettingError as error:
        raise SettingError(
            f"expected an IP address of this machine and a port, such as tcp://127.0.0.1:10400, "
            f"got {url!r}"
        ) from error
    config = WyomingConfig(address, options.wyoming_allow, options.zeroconf)
    models = {options.model: options.keywords, **dict.fromkeys(options.wyoming_model or ())}
    return Wyoming(config, WakeWords(models, listen.decision(options)))


def _open_http(options: Options) -> Server:
    from kws.app.servers.address import Address
    from kws.app.servers.http import HttpServer
    from kws.app.servers.site import read_site

    address = Address.parse(options.http)
    options_in_browser = {
        name: value for name, value in listen.decision(options).items() if value is not None
    }
    site, browser = read_site(options.model, options_in_browser)
    return HttpServer(address, secret(options.http_token_file, HTTP_TOKEN), site, browser)
