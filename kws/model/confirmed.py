"""A verifier that asks one more network where it takes something for a command."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kws.frontend import FloatArray
from kws.model.encoder import Encoder
from kws.native.int8 import Window


class ConfirmedWindow:
    """Networks of the native kernel and an encoder, a `kws.model.runtimes.Backend`; threads may
    share it.

    The encoder has most of the arithmetic. It is computed where the posterior of a command exceeds
    a level; there the posteriors are the weighted geometric mean of its and of the others'.
    """

    def __init__(
        self,
        first: Window,
        encoder: Encoder,
        commands: Sequence[int],
        level: np.float32,
        weights: tuple[np.float32, np.float32],
    ) -> None:
        """`commands` are labels' numbers, `weights` those of `first` and the encoder in the mean.

        Raises ValueError where these do not fit each other.
        """
        fits = (
            first.shape == (encoder.frames, encoder.bands)
            and first.labels == len(encoder.bias)
            and len(commands) >= 1
            and all(0 <= each < first.labels for each in commands)
            and all(0.0 <= each <= 1.0 for each in (level, *weights))
        )
        if not fits:
            raise ValueError("these networks are not for each other")
        self._first, self._encoder = first, encoder
        self._commands, self._level, self._weights = list(commands), level, weights

    def run(self, features: FloatArray) -> FloatArray:
        """See Backend.run."""
        posteriors = self._first.run(features)
        own, other = self._weights
        highest = posteriors[:, self._commands].max(axis=1)
        for row in np.flatnonzero(highest > self._level):
            window = np.ascontiguousarray(features[row], np.float32)
            mean = posteriors[row] ** own * self._encoder.posteriors(window) ** other
            posteriors[row] = mean / mean.sum()
        return posteriors
