"""Where audio comes from: microphone, file or pipe, always as int16 mono blocks at 16 kHz."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kws.audio.convert import Converter, FloatArray, Int16Array, to_int16
    from kws.audio.devices import Device, input_devices
    from kws.audio.errors import DeviceError
    from kws.audio.events import SourceEvent
    from kws.audio.file import AudioFile
    from kws.audio.gap import Gap
    from kws.audio.microphone import Microphone
    from kws.audio.pipe import AudioPipe
    from kws.audio.samples import RawFormat
    from kws.audio.source import BLOCK_MS, Source, paced

__all__ = [
    "BLOCK_MS",
    "AudioFile",
    "AudioPipe",
    "Converter",
    "Device",
    "DeviceError",
    "FloatArray",
    "Gap",
    "Int16Array",
    "Microphone",
    "RawFormat",
    "Source",
    "SourceEvent",
    "input_devices",
    "paced",
    "to_int16",
]

_HOME = {
    "BLOCK_MS": "source",
    "AudioFile": "file",
    "AudioPipe": "pipe",
    "Converter": "convert",
    "Device": "devices",
    "DeviceError": "errors",
    "FloatArray": "convert",
    "Gap": "gap",
    "Int16Array": "convert",
    "Microphone": "microphone",
    "RawFormat": "samples",
    "Source": "source",
    "SourceEvent": "events",
    "input_devices": "devices",
    "paced": "source",
    "to_int16": "convert",
}


def __getattr__(name: str) -> Any:
    # On first use, so that nothing waits for a sound system or a decoder that it does not need.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
