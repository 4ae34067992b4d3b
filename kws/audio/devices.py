"""The input devices of this machine, by the names that its sound settings show."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kws.audio.desktop import DesktopSource, Server, query_server
from kws.audio.errors import DeviceError
from kws.audio.portaudio import LOCK, load_sounddevice, quiet
from kws.audio.source import reason
from kws.text import printable

TRY = "connect one, or try: kws listen --demo, or kws listen --input FILE"
RATES = (48_000, 44_100, 32_000, 16_000)  # Hz, tried in this order after the device's own
SERVED = "sound server"  # PulseAudio or PipeWire
MOST_CHANNELS = 16  # what states more is no device but a plug-in that takes any number

# ALSA's plug-ins that lead to a sound server, as PortAudio lists them, and what names the source.
CARRIERS = {"pulse": "PULSE_SOURCE", "pipewire": "PIPEWIRE_NODE"}


@dataclass(frozen=True)
class Device:
    """One input device."""

    name: str  # for people; `Microphone` finds it by this or by a part of it
    id: str  # the sound server's name or PortAudio's number, which `Microphone` takes too
    host: str  # the sound system behind it, such as ALSA, Core Audio or `sound server`
    channels: int
    rate: float  # its own default, Hz
    default: bool  # taken where no other is named
    monitor: bool = False  # it delivers what a loudspeaker plays


@dataclass(frozen=True)
class Target:
    """A device that was found, and how to open it."""

    name: str
    index: int | None  # PortAudio's, None for its default device
    rates: tuple[int, ...]  # Hz, in the order to try
    channels: tuple[int, ...]  # numbers of them, in the order to try
    variable: str = ""  # of the environment that names the source to the sound server
    source: DesktopSource | None = None  # the sound server's, where it leads there
    named: bool = False  # given by name or number
    served: bool = False  # the sound server stands between

    def present(self, server: Server | None) -> bool:
        """Whether it is still the microphone that was meant, by what the sound server lists.

        A server that loses a source moves its streams to another one without a word.
        """
        if self.source is None or server is None or server.problem:
            return True
        if self.named:
            return any(each.number == self.source.number for each in server.sources)
        default = _default(server.sources)
        return default is not None and (self.source.monitor or not default.monitor)


def input_devices() -> list[Device]:
    """Every device that can record; raises DeviceError where there is none or no PortAudio."""
    listed, server = _portaudio_devices(), query_server()
    found = [device for device, _ in _candidates(listed, server)]
    if not found:
        raise no_device(server)
    return found


def find(device: int | str | None) -> Target:
    """The device of that number, name or part of a name, or the default one.

    Raises DeviceError where there is none, and where several match.
    """
    listed, server = _portaudio_devices(), query_server()
    if device is None:
        return _default_target(listed, server)
    candidates = _candidates(listed, server)
    if isinstance(device, int):
        found = [each for each in candidates if each[0].id == str(device)]
    else:
        found = _matching(device, candidates)
    if len(found) > 1:
        names = ", ".join(each.name for each, _ in found)
        raise DeviceError(
            "no_device", f"several devices match {device!r}: {names}; give more of the name"
        )
    if not found:
        if not candidates or (server and server.problem):
            raise no_device(server)
        raise DeviceError("no_device", f"there is no device {device!r}; see: kws devices")
    return found[0][1]


def no_device(server: Server | None) -> DeviceError:
    """Why nothing at all is there to record from."""
    nodes = list(Path("/dev/snd").glob("pcm*c")) if sys.platform == "linux" else []
    if nodes and not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        return DeviceError(
            "no_permission",
            "this user may not use the sound devices; run: sudo usermod -aG audio $USER, then log "
            "in again",
        )
    if server is not None and server.problem:
        return DeviceError(
            "no_server",
            f"the sound server does not respond ({server.problem}); start it with: systemctl "
            "--user restart pipewire-pulse (or pulseaudio --start), or check PULSE_SERVER",
        )
    return DeviceError("no_device", f"no microphone was found; {TRY}")


def _portaudio_devices() -> list[dict[str, Any]]:
    """What PortAudio can record from, with the keys `index`, `host` and `default` added."""
    sounddevice = load_sounddevice()
    try:
        with LOCK, quiet():
            default = sounddevice.default.device["input"]
            hosts = [host["name"] for host in sounddevice.query_hostapis()]
            return [
                {
                    **info,
                    "index": index,
                    "host": hosts[info["hostapi"]],
                    "default": index == default,
                }
                for index, info in enumerate(sounddevice.query_devices())
                if info["max_input_channels"] > 0
            ]
    except sounddevice.PortAudioError as error:
        raise DeviceError(
            "refused", f"cannot list the input devices ({reason(error)}); {TRY}"
        ) from error


def _served(info: dict[str, Any]) -> bool:
    """Whether that device of PortAudio's leads to the sound server, as far as its name tells."""
    return info["host"] == "ALSA" and info["name"] in {"default", *CARRIERS}


def _carrier(listed: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """PortAudio's device that leads to the sound server's sources."""
    carriers = [info for name in CARRIERS for info in listed if info["name"] == name]
    return carriers[0] if carriers else None


def _candidates(
    listed: Sequence[dict[str, Any]], server: Server | None
) -> list[tuple[Device, Target]]:
    """What can be named: the sound server's sources, then PortAudio's devices."""
    found = []
    carrier = _carrier(listed)
    if server is not None and carrier is not None:
        for source in sorted(server.sources, key=lambda each: each.monitor):
            device = Device(
                printable(source.description),
                source.name,
                SERVED,
                source.channels,
                float(source.rate),
                source.default,
                source.monitor,
            )
            found.append((device, _target(carrier, source, named=True)))
    served = any(device.default for device, _ in found)
    for info in listed:
        device = Device(
            printable(info["name"]),
            str(info["index"]),
            info["host"],
            info["max_input_channels"],
            info["default_samplerate"],
            info["default"] and not served,
        )
        found.append((device, _target(info, None, named=True)))
    return found


def _default_target(listed: Sequence[dict[str, Any]], server: Server | None) -> Target:
    info = next((info for info in listed if info["default"]), None)
    if info is None:
        raise no_device(server)
    sources = server.sources if server is not None and _served(info) else ()
    return _target(info, _default(sources), named=False)


def _default(sources: Sequence[DesktopSource]) -> DesktopSource | None:
    """The source that the sound server takes where a program names none."""
    wanted = os.environ.get("PULSE_SOURCE")
    named = [each for each in sources if each.name == wanted]
    return next(iter(named or [each for each in sources if each.default]), None)


def _target(info: dict[str, Any], source: DesktopSource | None, named: bool) -> Target:
    if source is None:
        most = info["max_input_channels"]
        name, rate = printable(info["name"]), round(info["default_samplerate"])
        channels = most if most <= MOST_CHANNELS else 1
    else:
        name, rate, channels = printable(source.description), source.rate, source.channels
    return Target(
        name,
        info["index"] if named else None,
        tuple(dict.fromkeys((rate, *RATES))),
        tuple(count for count in dict.fromkeys((channels, 2, 1)) if count <= channels),
        CARRIERS[info["name"]] if named and source else "",
        source,
        named,
        _served(info),
    )


def _matching(
    wanted: str, candidates: Sequence[tuple[Device, Target]]
) -> list[tuple[Device, Target]]:
    """Those of exactly that name or id, else those with all its words in the name.

    The sound server's come before PortAudio's, and microphones before what loudspeakers play.
    """
    wanted = wanted.casefold()
    exact = [each for each in candidates if wanted in _texts(each[0])]
    if exact:
        return exact[:1]
    words = wanted.split()
    found = [
        each
        for each in candidates
        if any(all(word in text for word in words) for text in _texts(each[0]))
    ]
    for better in (lambda each: each.host == SERVED, lambda each: not each.monitor):
        found = [each for each in found if better(each[0])] or found
    return found


def _texts(device: Device) -> tuple[str, str]:
    return device.name.casefold(), device.id.casefold()
