"""Real-time, on-device keyword spotting."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kws.errors import KwsError

if TYPE_CHECKING:
    from kws.app.listener import Listener
    from kws.decision import Detection
    from kws.detector import Detector
    from kws.model.load import load_model

__all__ = ["Detection", "Detector", "KwsError", "Listener", "__version__", "load_model"]

__version__ = "0.1.0"

_HOME = {
    "Detection": "kws.decision",
    "Detector": "kws.detector",
    "Listener": "kws.app.listener",
    "load_model": "kws.model.load",
}


def __getattr__(name: str) -> Any:
    # On first use, so that `kws --version` need not wait for NumPy.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
