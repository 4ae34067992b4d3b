"""The input devices of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from kws.audio.source import reason
from kws.errors import AudioError

TRY = "connect one, or try: kws listen --demo, or kws listen --input FILE"


@dataclass(frozen=True)
class Device:
    """One input device, as PortAudio lists it."""

    index: int
    name: str
    host: str  # the sound system behind it, such as ALSA or Core Audio
    channels: int
    rate: float  # its own default, Hz
    default: bool


def input_devices() -> list[Device]:
    """Every device that can record; raises AudioError where there is none or no PortAudio."""
    sounddevice = load_sounddevice()
    try:
        default = sounddevice.default.device["input"]
        hosts = [host["name"] for host in sounddevice.query_hostapis()]
        found = [
            Device(
                index,
                info["name"],
                hosts[info["hostapi"]],
                info["max_input_channels"],
                info["default_samplerate"],
                index == default,
            )
            for index, info in enumerate(sounddevice.query_devices())
            if info["max_input_channels"] > 0
        ]
    except sounddevice.PortAudioError as error:
        raise AudioError(f"cannot list the input devices ({reason(error)}); {TRY}") from error
    if not found:
        raise AudioError(f"no microphone was found; {TRY}")
    return found


def load_sounddevice() -> ModuleType:
    """The package sounddevice; raises AudioError where the system library PortAudio is missing."""
    try:
        import sounddevice
    except OSError as error:  # the Python package is there, the system library is not
        raise AudioError(
            "the microphone needs the system library PortAudio; on Debian, Ubuntu or Raspberry Pi "
            "OS run: sudo apt-get install libportaudio2 (--input FILE and --demo work without it)"
        ) from error
    module: ModuleType = sounddevice
    return module
