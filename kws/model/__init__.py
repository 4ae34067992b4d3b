"""A trained model: its manifest, its files, the runtimes that run them, and streaming inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kws.model.load import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    # On first use: the manifest alone needs no NumPy.
    if name == "load_model":
        from kws.model.load import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
