"""What a block of audio must be before a detector takes it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kws.errors import AudioError

# Of floats, whose full scale is 1. A hot signal stays below the first and is clipped; int16 that
# was not scaled lies between them; what is beyond both is neither, and clipped too.
LARGEST = 8.0
LARGEST_INT16 = 32_768.0
_ARRAY, _INT16, _FLOAT32 = np.ndarray, np.dtype(np.int16), np.dtype(np.float32)


# (samples,), 16 kHz, mono. Of floats only float32 is taken, but type checkers take int16 divided
# by a float32 for float64.
AudioBlock: TypeAlias = NDArray[np.int16] | NDArray[np.floating[Any]]


def check_block(pcm: AudioBlock) -> None:
    """Raise AudioError, which says what to do, for a block that is not 16 kHz mono audio.

    Expected: shape (samples,), int16, or finite float32 that is not int16 as it was.
    """
    if type(pcm) is _ARRAY and pcm.dtype is _INT16 and pcm.ndim == 1:  # as most are
        return
    wanted = "expected a one-dimensional NumPy array of int16 or float32"
    if not isinstance(pcm, np.ndarray):
        raise AudioError(f"{wanted}, got {type(pcm).__name__}; np.frombuffer(data, np.int16) helps")
    if pcm.dtype not in (_INT16, _FLOAT32):
        raise AudioError(f"{wanted}, got {pcm.dtype}; convert it, floats to the range -1 to 1")
    if pcm.ndim != 1:
        raise AudioError(f"{wanted}, got shape {pcm.shape}; take one channel of it")
    if pcm.dtype == _INT16 or not len(pcm):
        return
    low, high = float(pcm.min()), float(pcm.max())
    if low >= -LARGEST and high <= LARGEST:
        return
    finite = np.isfinite(pcm)
    if not finite.all():
        bad = len(pcm) - int(np.count_nonzero(finite))
        raise AudioError(f"{bad} of {len(pcm)} samples are NaN or infinite; the block was left out")
    if max(-low, high) > LARGEST_INT16:
        return
    raise AudioError(
        f"expected float32 samples in the range -1 to 1, got {low:g} to {high:g}; "
        "divide int16 samples by 32768 as you convert them, or pass them as int16"
    )
