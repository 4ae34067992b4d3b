"""Where a server can be reached, and what it takes to be reached by other machines."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from kws.app.outputs.loopback import is_loopback
from kws.errors import KwsError, SettingError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """The address of this machine and the port that a server listens at."""

    host: str  # localhost, or an IP address; 0.0.0.0 and :: are all of this machine's
    port: int  # 0: any free one

    @classmethod
    def parse(cls, text: str) -> Address:
        """From HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080; raises SettingError."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname or "", parts.port
            if host != "localhost":
                ipaddress.ip_address(host)
        except ValueError:
            host, port = "", None
        if port is None or parts.netloc != text or "@" in text:
            raise SettingError(
                f"expected an IP address of this machine and a port, such as 127.0.0.1:8080, "
                f"got {text!r}"
            )
        return cls(host, port)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Turn what goes wrong as a server opens this address into a KwsError that names it."""
        try:
            yield
        except OSError as error:
            number = error.errno or 0  # below 0 it is the resolver's, and says it itself
            reason = os.strerror(number) if number > 0 else error.strerror or error
            raise KwsError(
                f"cannot listen at {self} ({reason}); name another port or address, or end the "
                "program that uses it"
            ) from error


def check_token(address: Address, token: str | None) -> None:
    """Beyond this machine a server wants a token, and a warning is logged.

    Raises SettingError where the token is missing.
    """
    if address.loopback:
        return
    if not token:
        raise SettingError(
            f"{address} can be reached by other machines: set a token, or listen at 127.0.0.1"
        )
    logger.warning(
        "%s can be reached by other machines, and nothing is encrypted on the way", address
    )
