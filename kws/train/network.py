"""The network that ships: causal separable temporal convolutions that stream.

Frequency bands are channels and every convolution runs over time, without padding. The network
therefore has a finite receptive field, one second of frames, and slides: over a longer input it
gives one row of logits for each step of 20 ms, and a row depends on nothing but its own second.
A stream that keeps each layer's left context computes the same rows one at a time.

The family is ds_tc_resnet (Rybakov et al., arXiv 2005.06720) and MatchboxNet (Majumdar and
Ginsburg, arXiv 2004.08531).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from kws.config import LABELS, FeatureConfig


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network. With the defaults the receptive field is the 98 frames of a second."""

    bands: int = FeatureConfig.bands
    labels: int = len(LABELS)
    channels: int = 96
    stem_kernel: int = 4  # frames
    stride: int = 2  # frames per step; the stem alone has a stride
    kernels: tuple[int, ...] = (5, 5, 7, 7, 9, 9)  # steps, one residual block each
    pool: int = 12  # steps that the mean before the classifier covers
    dropout: float = 0.0

    @property
    def receptive_field(self) -> int:
        """Feature frames that one row of logits depends on."""
        steps = self.pool + sum(kernel - 1 for kernel in self.kernels)
        return self.stem_kernel + (steps - 1) * self.stride


class Norm(nn.BatchNorm1d):
    """Batch normalisation of channels over (batch, channels, 1, time)."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch's name)
        if input.ndim != 4:
            raise ValueError(f"expected (batch, channels, 1, time), got {input.ndim} axes")


def convolve(convolution: nn.Conv1d, steps: Tensor) -> Tensor:
    """A convolution over the time of (batch, channels, 1, time).

    As one of two dimensions it keeps channels last in memory, where it trains faster.
    """
    return functional.conv2d(
        steps,
        convolution.weight.unsqueeze(2),
        stride=(1, convolution.stride[0]),
        groups=convolution.groups,
    )


class Block(nn.Module):
    """Depthwise then pointwise convolution over time, added to the newest input frames."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.context = kernel - 1
        self.depthwise = nn.Conv1d(channels, channels, kernel, groups=channels, bias=False)
        self.depthwise_norm = Norm(channels)
        self.pointwise = nn.Conv1d(channels, channels, 1, bias=False)
        self.pointwise_norm = Norm(channels)

    def forward(self, steps: Tensor) -> Tensor:
        """(batch, channels, 1, time) -> (batch, channels, 1, time - context)."""
        change = self.depthwise_norm(convolve(self.depthwise, steps))
        change = self.pointwise_norm(convolve(self.pointwise, change))
        newest = functional.pad(steps, (-self.context, 0))  # trains faster than a slice
        return functional.relu(newest + change)


class Network(nn.Module):
    """Log-mel frames to logits; see the module's text."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        self.feature_norm = Norm(config.bands)
        self.stem = nn.Conv1d(
            config.bands, config.channels, config.stem_kernel, stride=config.stride, bias=False
        )
        self.stem_norm = Norm(config.channels)
        self.blocks = nn.ModuleList(Block(config.channels, kernel) for kernel in config.kernels)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.channels, config.labels)

    def forward(self, features: Tensor) -> Tensor:
        """Slide over (batch, frames, bands): logits (batch, rows, labels), one row per step.

        There are 1 + (frames - receptive_field) // stride rows.
        """
        steps = self._stem(features)
        for block in self.blocks:
            steps = block(steps)
        return self._classify(steps)

    def state_sizes(self) -> list[tuple[int, int]]:
        """(channels, time) of each piece of left context: stem, blocks, pool."""
        config = self.config
        return [
            (config.bands, config.stem_kernel - config.stride),
            *((config.channels, kernel - 1) for kernel in config.kernels),
            (config.channels, config.pool - 1),
        ]

    def initial_state(self, batch: int = 1) -> Tensor:
        """The packed state (batch, size) that one receptive field of digital silence leaves."""
        state = torch.zeros(batch, sum(c * t for c, t in self.state_sizes()))
        silence = torch.zeros(batch, self.config.stride, self.config.bands)
        with torch.no_grad():
            for _ in range(self.config.receptive_field // self.config.stride + 1):
                _, state = self.step(silence, state)
        return state

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step: features (batch, stride, bands), state -> logits (batch, labels), state.

        The state is each layer's left context, flattened and joined in the order of
        `state_sizes`.
        """
        old = self._unpack(state)
        new = []

        def extend(steps: Tensor) -> Tensor:
            context = next(old)
            joined = torch.cat((context, steps), dim=3)
            new.append(joined[..., joined.shape[3] - context.shape[3] :].flatten(1))
            return joined

        frames = extend(features.transpose(1, 2).unsqueeze(2))
        steps = self._stem(frames.squeeze(2).transpose(1, 2))
        for block in self.blocks:
            steps = block(extend(steps))
        logits = self._classify(extend(steps))
        return logits[:, 0], torch.cat(new, dim=1)

    def _unpack(self, state: Tensor) -> Iterator[Tensor]:
        sizes = self.state_sizes()
        pieces = torch.split(state, [c * t for c, t in sizes], dim=1)
        return (
            piece.view(-1, size[0], 1, size[1]) for piece, size in zip(pieces, sizes, strict=True)
        )

    def _stem(self, features: Tensor) -> Tensor:
        normed = self.feature_norm(features.unsqueeze(1).permute(0, 3, 1, 2))
        return functional.relu(self.stem_norm(convolve(self.stem, normed)))

    def _classify(self, steps: Tensor) -> Tensor:
        pooled = functional.avg_pool2d(steps, (1, self.config.pool), stride=1).squeeze(2)
        logits: Tensor = self.classifier(self.dropout(pooled.transpose(1, 2)))
        return logits


def parameter_count(network: nn.Module) -> int:
    """Trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
