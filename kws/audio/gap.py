"""Audio that a source lost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gap:
    """So many samples at 16 kHz are missing here; the stream's clock moves on by them."""

    samples: int  # 1 or more
