"""A network that is being trained, with its average and its optimizer: one step at a time."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kws.config import SILENCE, UNKNOWN
from kws.train.architectures import AnyNetwork
from kws.train.targets import NOTHING, clip_losses

SMOOTHING = 4  # rows


class Batch(NamedTuple):
    """What a network slides over in one step: pairs of clips, then streams without commands."""

    features: Tensor  # (pairs + streams, frames, bands)
    targets: Tensor  # (pairs, 2, rows), as `kws.train.targets.row_targets` gives them
    mixed_targets: Tensor | None = None  # (pairs, 2, rows) of what is mixed in
    mixed_share: Tensor | None = None  # (pairs,) of it, at most 0.5


@dataclass(frozen=True)
class LearnerConfig:
    """How a network learns."""

    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    average_decay: float = 0.998  # of the exponential moving average of weights, per step
    peak_weight: float = 1.0  # of the loss on streams without commands
    distil_weight: float = 1.0  # of the loss against a teacher
    temperature: float = 2.0  # of both sides of that loss
    mixed_precision: bool = False  # bfloat16 where it does no harm


@dataclass(frozen=True)
class Step:
    """What came of one step, detached; losses and the share of clips classified right, each ()."""

    logits: Tensor  # (pairs + streams, rows, labels)
    loss: Tensor
    peak: Tensor
    distil: Tensor
    right: Tensor


class Learner:
    """Trains a network in place."""

    def __init__(self, network: AnyNetwork, labels: tuple[str, ...], config: LearnerConfig) -> None:
        self.network, self.config = network, config
        self.average = copy.deepcopy(network)
        self.commands = command_indexes(labels)
        groups: list[dict[str, Any]] = [
            {"params": [p for p in network.parameters() if p.ndim > 1]},
            {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        self.steps = 0

    def step(
        self, batch: Batch, rate: float, taught: Tensor | None = None, trust: float = 1.0
    ) -> Step:
        """One step at a learning rate; `taught` are a teacher's logits on the pairs of the batch.

        `trust`, from 0 to 1, is what the loss against the teacher is multiplied by. Of streams
        without commands there is nothing to be taught: softened posteriors would speak against
        the loss on their peaks.
        """
        config, pairs = self.config, len(batch.targets)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        kind = batch.features.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=config.mixed_precision):
            logits = self.network(batch.features).float()
        loss = label_loss(logits[:pairs], batch, config.label_smoothing)
        peak = peak_loss(logits[pairs:], self.commands, smoothed_rows(self.network))
        total = loss + config.peak_weight * peak
        distil = torch.zeros_like(loss)
        if taught is not None:
            distil = distil_loss(logits[:pairs], taught[:pairs], config.temperature)
            total = total + trust * config.distil_weight * distil
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.steps += 1
        decay = min(config.average_decay, self.steps / (9 + self.steps))
        update_average(self.average, self.network, decay)
        own = logits[:pairs, [0, -1]].argmax(2)
        wanted = torch.stack((batch.targets[:, 0, 0], batch.targets[:, 1, -1]), dim=1)
        return Step(
            logits.detach(),
            loss.detach(),
            peak.detach(),
            distil.detach(),
            (own == wanted)[wanted != NOTHING].float().mean(),
        )

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "weights": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.network.load_state_dict(state["weights"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]


def smoothed_rows(network: AnyNetwork) -> int:
    """Rows whose posteriors are averaged, as the decision stage averages: one of rows apart."""
    config = network.config
    return SMOOTHING if config.stride < config.receptive_field else 1


def command_indexes(labels: tuple[str, ...]) -> list[int]:
    """Where among the labels the commands are."""
    return [index for index, label in enumerate(labels) if label not in (SILENCE, UNKNOWN)]


def label_loss(logits: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    """Mean over a batch's clips of what `clip_losses` gives; logits (pairs, rows, labels)."""
    losses = clip_losses(logits, batch.targets, label_smoothing)
    if batch.mixed_targets is not None and batch.mixed_share is not None:
        others = clip_losses(logits, batch.mixed_targets, label_smoothing)
        losses = losses.lerp(others, batch.mixed_share[:, None])
    counted = (batch.targets != NOTHING).any(-1)
    return losses.sum() / counted.sum().clamp_min(1)


def peak_loss(logits: Tensor, commands: list[int], smoothing: int = SMOOTHING) -> Tensor:
    """Mean of -ln(1 - peak) over streams without commands; logits (streams, rows, labels).

    A stream's peak is its highest command posterior, averaged over `smoothing` rows as the
    decision stage averages: the false accept it is closest to.
    """
    posterior = logits.softmax(-1)[..., commands].transpose(1, 2)
    peak = functional.avg_pool1d(posterior, smoothing, stride=1).flatten(1).amax(1)
    return -torch.log1p(-peak.clamp_max(1.0 - 1e-4)).mean()


def distil_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Divergence from a teacher's posteriors, both softened, times temperature squared.

    Over every row of (streams, rows, labels); Hinton et al., arXiv 1503.02531.
    """
    own = functional.log_softmax(logits.flatten(0, 1) / temperature, dim=1)
    wanted = functional.log_softmax(taught.flatten(0, 1) / temperature, dim=1)
    divergence = functional.kl_div(own, wanted, reduction="batchmean", log_target=True)
    return divergence * temperature**2


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the network's by 1 - decay."""
    kept, new = average.state_dict(), network.state_dict()
    moving = [name for name, value in kept.items() if value.is_floating_point()]
    torch._foreach_lerp_([kept[name] for name in moving], [new[name] for name in moving], 1 - decay)
    for name in kept.keys() - set(moving):
        kept[name].copy_(new[name])
