"""Several models on the same clips, and their posteriors combined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kws.errors import ModelError
from kws.evaluation.evaluate import Evaluation
from kws.frontend import FloatArray

_ROUNDS = 200


def combinations(members: Sequence[Evaluation]) -> Iterator[tuple[str, Evaluation]]:
    """Majority vote, average and weighted average of evaluations of the same clips.

    Weights are fitted to one half of the clips and used on the other, and the other way round, so
    that none is judged by weights that know it. Raises ModelError where the labels differ.
    """
    labels = members[0].manifest.labels
    for member in members[1:]:
        if member.manifest.labels != labels:
            raise ModelError(
                f"an ensemble's models have the same labels in the same order, but "
                f"{members[0].manifest.name} has {', '.join(labels)} and "
                f"{member.manifest.name} {', '.join(member.manifest.labels)}"
            )
    posteriors = np.stack([member.posteriors for member in members])
    targets = members[0].clips.targets
    for name, combined in (
        ("majority vote", vote(posteriors)),
        ("average", posteriors.mean(axis=0)),
        ("weighted average", _weigh_across(posteriors, targets)),
    ):
        yield name, replace(members[0], posteriors=combined.astype(np.float32))


def member_weights(members: Sequence[Evaluation]) -> list[float]:
    """The weights of the weighted average, fitted to all clips."""
    posteriors = np.stack([member.posteriors for member in members])
    weights: list[float] = fit_weights(posteriors, members[0].clips.targets).tolist()
    return weights


def vote(posteriors: FloatArray) -> FloatArray:
    """Share of the members (members, clips, labels) that take each label, (clips, labels).

    Ties go to the label with the higher average: a hundredth of it is mixed in.
    """
    votes = np.eye(posteriors.shape[2], dtype=np.float32)[posteriors.argmax(axis=2)].mean(axis=0)
    shares: FloatArray = 0.99 * votes + 0.01 * posteriors.mean(axis=0)
    return shares


def fit_weights(posteriors: FloatArray, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mixture of members of least log loss: weights (members,) that add up to 1, by EM."""
    right = posteriors[:, np.arange(len(targets)), targets].astype(np.float64) + 1e-9
    weights = np.full(len(posteriors), 1.0 / len(posteriors))
    for _ in range(_ROUNDS):
        shares = weights[:, None] * right
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights


def _weigh_across(posteriors: FloatArray, targets: NDArray[np.int64]) -> FloatArray:
    # Clips come sorted by class, so every second one is a fair half.
    even = np.arange(len(targets)) % 2 == 0
    mixed: FloatArray = np.empty_like(posteriors[0])
    for half in (even, ~even):
        weights = fit_weights(posteriors[:, ~half], targets[~half])
        mixed[half] = np.tensordot(weights, posteriors[:, half], axes=1)
    return mixed
