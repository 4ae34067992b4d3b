"""Telling the local network that a Wyoming server is here, by zeroconf (mDNS)."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

from kws.app.outputs.loopback import is_loopback
from kws.app.servers.address import Address
from kws.errors import KwsError

SERVICE = "_wyoming._tcp.local."


def service_name() -> str:
    """What this machine's server is called there."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:40]
    return f"kws-{host}.{SERVICE}"


class Announcement:
    """Home Assistant finds the server by it, and offers to add it."""

    def __init__(self) -> None:
        """Raises KwsError where the package is missing."""
        try:
            import ifaddr
            import zeroconf.asyncio
        except ImportError as error:
            raise KwsError("--zeroconf needs zeroconf; run: pip install 'kws[zeroconf]'") from error
        self._package, self._adapters = zeroconf, ifaddr.get_adapters
        self._zeroconf: Any = None

    async def start(self, address: Address) -> None:
        """Announce it until `stop`; raises KwsError where that cannot be done."""
        package = self._package
        hosts = [address.host]
        if ipaddress.ip_address(address.host).is_unspecified:
            addresses = [each for adapter in self._adapters() for each in adapter.ips]
            hosts = [str(each.ip) for each in addresses if each.is_IPv4]
        service = package.asyncio.AsyncServiceInfo(
            SERVICE,
            service_name(),
            parsed_addresses=[host for host in hosts if not is_loopback(host)],
            port=address.port,
        )
        try:
            self._zeroconf = package.asyncio.AsyncZeroconf()
            await self._zeroconf.async_register_service(service, allow_name_change=True)
        except (OSError, package.Error) as error:
            reason = str(error) or type(error).__name__
            raise KwsError(
                f"cannot announce {address} by zeroconf ({reason}); leave --zeroconf out"
            ) from error

    async def stop(self) -> None:
        """Withdraw it; also where `start` has failed."""
        if self._zeroconf:
            await self._zeroconf.async_unregister_all_services()
            await self._zeroconf.async_close()
            self._zeroconf = None
