"""Class shares of training taken out of a network, so that its posteriors favour no class.

Training draws a quarter of all clips from unknown and a fifteenth from each command, and the loss
on streams without commands says "unknown" once more; a network learns these shares and predicts
"unknown" when in doubt. Subtracting the logarithm of the shares from the logits gives the
posteriors of classes that are equally likely (logit adjustment, Menon et al., arXiv 2007.07314).
How likely a false accept may be is the thresholds' business.

Of the streams an eighth is counted. Counted whole, words that are new to the network are
taken for the command that they are nearest to; not at all, commands in noise are taken for such
words. Chosen with validation clips in view, clean and in noise.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor

from kws.config import SILENCE, UNKNOWN
from kws.train.architectures import AnyNetwork

Balanced = TypeVar("Balanced", bound=AnyNetwork)

STREAM_PRIOR_WEIGHT = 0.125  # of the loss on streams without commands


def class_shares(silence: float, unknown: float, peak_weight: float) -> dict[str, float]:
    """Shares of silence and unknown in the whole loss.

    `silence` and `unknown` are their shares of the clips, whose loss weighs 1; streams without
    commands weigh `peak_weight`, of which STREAM_PRIOR_WEIGHT counts, and are unknown.
    """
    streams = STREAM_PRIOR_WEIGHT * peak_weight
    whole = 1.0 + streams
    return {"silence": silence / whole, "unknown": (unknown + streams) / whole}


def log_prior(labels: tuple[str, ...], silence: float, unknown: float) -> Tensor:
    """Logarithm of each class's share of the loss over that of a command; (labels,)."""
    command = (1.0 - silence - unknown) / max(1, len(set(labels) - {SILENCE, UNKNOWN}))
    shares = {SILENCE: silence, UNKNOWN: unknown}
    return torch.log(torch.tensor([shares.get(label, command) / command for label in labels]))


def without_prior(
    network: Balanced, labels: tuple[str, ...], silence: float, unknown: float
) -> Balanced:
    """A copy of a network trained at these shares of silence and unknown, balanced."""
    balanced = copy.deepcopy(network)
    with torch.no_grad():
        bias = balanced.classifier.bias
        bias.sub_(log_prior(labels, silence, unknown).to(bias))
    return balanced
