"""A network of two dimensions: what is learnt at one frequency is known at all others.

It slides as `kws.train.network.Network` does, over the same frames with the same rows, and covers
otherwise: blocks convolve along the bands, then, of the mean over the bands, along time, and add
that to every band. The family is BC-ResNet (Kim et al., arXiv 2106.04140). It has fewer weights
than the network that ships and takes many times as long, so that it is a member of ensembles and a
second opinion in experiments; no exporter knows it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from kws.config import LABELS, FeatureConfig


@dataclass(frozen=True)
class BroadcastConfig:
    """Sizes of the network. With the defaults the receptive field is the 98 frames of a second."""

    bands: int = FeatureConfig.bands
    labels: int = len(LABELS)
    widths: tuple[int, ...] = (24, 24, 36, 36, 48, 48)  # channels of each block
    kernels: tuple[int, ...] = (5, 5, 7, 7, 9, 9)  # steps of each block
    stem_kernel: int = 4  # frames
    stride: int = 2  # frames per step
    pool: int = 12  # steps that the mean before the classifier covers
    hidden: int = 96  # channels that the classifier sees

    @property
    def receptive_field(self) -> int:
        """Feature frames that one row of logits depends on."""
        steps = self.pool + sum(kernel - 1 for kernel in self.kernels)
        return self.stem_kernel + (steps - 1) * self.stride


class BroadcastBlock(nn.Module):
    """Along the bands, then along time; a block of another width halves the bands."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.context = kernel - 1
        self.widen = None
        if inputs != outputs:
            self.widen = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
            )
        self.across = nn.Sequential(
            nn.Conv2d(
                outputs,
                outputs,
                (3, 1),
                stride=(1 if self.widen is None else 2, 1),
                padding=(1, 0),
                groups=outputs,
                bias=False,
            ),
            nn.BatchNorm2d(outputs),
        )
        self.along = nn.Sequential(
            nn.Conv2d(outputs, outputs, (1, kernel), groups=outputs, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 1),
        )

    def forward(self, value: Tensor) -> Tensor:
        """(batch, inputs, bands, time) -> (batch, outputs, bands or half, time - context)."""
        if self.widen is not None:
            value = self.widen(value)
        across = self.across(value)
        change = across[..., self.context :] + self.along(across.mean(dim=2, keepdim=True))
        if self.widen is None:
            change = change + value[..., self.context :]
        return functional.relu(change)


class BroadcastNetwork(nn.Module):
    """Log-mel frames to logits; see the module's text."""

    def __init__(self, config: BroadcastConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or BroadcastConfig()
        self.feature_norm = nn.BatchNorm1d(config.bands)
        first = config.widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(
                1,
                first,
                (5, config.stem_kernel),
                stride=(2, config.stride),
                padding=(2, 0),
                bias=False,
            ),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        )
        inputs = (first, *config.widths)
        self.blocks = nn.Sequential(
            *(
                BroadcastBlock(*sizes)
                for sizes in zip(inputs, config.widths, config.kernels, strict=False)
            )
        )
        bands = -(-config.bands // 2)
        for before, after in zip(inputs, config.widths, strict=False):
            bands = bands if before == after else -(-bands // 2)
        self.head = nn.Sequential(
            nn.Conv2d(config.widths[-1], config.hidden, (bands, 1), bias=False),
            nn.BatchNorm2d(config.hidden),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(config.hidden, config.labels)

    def forward(self, features: Tensor) -> Tensor:
        """Slide over (batch, frames, bands): logits (batch, rows, labels), one row per step."""
        value = self.feature_norm(features.transpose(1, 2)).unsqueeze(1)
        value = self.head(self.blocks(self.stem(value)))
        pooled = functional.avg_pool2d(value, (1, self.config.pool), stride=1).squeeze(2)
        logits: Tensor = self.classifier(pooled.transpose(1, 2))
        return logits
