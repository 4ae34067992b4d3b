"""The target of each row of a pair of clips, as the network slides from one to the other.

Clips are joined two by two, so that they are as long as a stream. The first row covers the first
clip alone and the last row the second; the rows between cover the end of one and the beginning of
the other. Where such a row still covers the whole of one word and next to nothing of the other,
that word is its target: so the network learns a word at every place of its window, with what
comes before and after, at no further cost.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NOTHING = -1  # of a row without a target
OVERLAP = 6  # frames of the other word that a row may cover
ANYWHERE = (1 << 15, -1)  # first and last frame of a clip that holds no word at all


def row_targets(targets: Tensor, spoken: Tensor, frames: int, stride: int) -> Tensor:
    """Targets (pairs, 2, rows) of the rows by the first and by the second clip of each pair.

    Args:
        targets: label index of each clip, or NOTHING, (clips,); clips 2 i and 2 i + 1 are joined.
        spoken: first and last frame of what a row must cover, (clips, 2); ANYWHERE where
            any row will do.
        frames: of a clip, which is as much as a row covers.
        stride: frames from one row to the next.

    Returns:
        The clip's target where the row covers it wholly and at most OVERLAP frames of the other's
        word, NOTHING elsewhere; a clip always has its own row.
    """
    first, last = spoken[:, 0].view(-1, 2, 1), spoken[:, 1].view(-1, 2, 1)
    rows = 1 + frames // stride
    begin = torch.arange(rows, device=targets.device) * stride
    first_covered = (begin <= first[:, 0]) & (begin <= first[:, 1].clamp_max(frames) + OVERLAP + 1)
    second_covered = (begin > last[:, 1]) & (begin >= last[:, 0] - OVERLAP)
    covered = torch.stack((first_covered, second_covered), dim=1)
    covered[:, 0, 0] = covered[:, 1, -1] = True
    return torch.where(covered, targets.view(-1, 2, 1), NOTHING)


def clip_losses(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy (pairs, 2), averaged over each clip's rows.

    Logits (pairs, rows, labels), targets (pairs, 2, rows) as `row_targets` gives them. A clip whose
    target is NOTHING has no rows and no loss.
    """
    both = logits.unsqueeze(1).expand(-1, 2, -1, -1)
    losses = functional.cross_entropy(
        both.reshape(-1, logits.shape[-1]),
        targets.flatten(),
        ignore_index=NOTHING,
        label_smoothing=label_smoothing,
        reduction="none",
    ).view(targets.shape)
    return losses.sum(-1) / (targets != NOTHING).sum(-1).clamp_min(1)
