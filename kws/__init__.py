"""Real-time, on-device keyword spotting.

`Detector` finds the keywords in one stream of audio, `DetectorPool` in many at once; each gives
`Detection`s. Audio comes from a `Microphone`, an `AudioFile`, an `AudioFeed` or any arrays, and a
`Listener` joins one with a detector. `load_model` loads a `Model` that several detectors share.
What goes wrong on purpose is a `KwsError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from kws.errors import (
    AudioError,
    BackendUnavailable,
    DataError,
    KwsError,
    ModelError,
    SettingError,
)

if TYPE_CHECKING:
    from kws.app.feed import AudioFeed
    from kws.app.listener import Listener
    from kws.audio.file import AudioFile
    from kws.audio.gap import Gap
    from kws.audio.microphone import Microphone
    from kws.decision import Detection
    from kws.detector import Detector
    from kws.model.load import Model, load_model
    from kws.pool import DetectorPool

__all__ = [
    "AudioError",
    "AudioFeed",
    "AudioFile",
    "BackendUnavailable",
    "DataError",
    "Detection",
    "Detector",
    "DetectorPool",
    "Gap",
    "KwsError",
    "Listener",
    "Microphone",
    "Model",
    "ModelError",
    "SettingError",
    "__version__",
    "load_model",
]

__version__ = "0.1.0"

# Where each name is at home that is loaded on first use, so that `import kws` waits for nothing.
_HOME = {
    "AudioFeed": "kws.app.feed",
    "AudioFile": "kws.audio.file",
    "Detection": "kws.decision",
    "Detector": "kws.detector",
    "DetectorPool": "kws.pool",
    "Gap": "kws.audio.gap",
    "Listener": "kws.app.listener",
    "Microphone": "kws.audio.microphone",
    "Model": "kws.model.load",
    "load_model": "kws.model.load",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
