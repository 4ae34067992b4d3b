"""A network that begins with Google's speech embedding, which knows speech of very many people.

The embedding (Lin et al., arXiv 2002.01322, "Training Keyword Spotters with Limited and Synthesized
Speech Data") is a stack of small two-dimensional convolutions that was trained on some 200 million
clips to tell five thousand phrases. Its weights are published under the Apache licence 2.0, and
openWakeWord ships them as `embedding_model.onnx`, with `melspectrogram.onnx`, the front end that
they take. Here a linear layer makes such bands of ours, all layers go on learning, and a head of
one hidden layer classifies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kws.config import LABELS, FeatureConfig

BANDS = 32  # of the embedding's own front end
CHANNELS = 96  # of the embedding
LEAK = 0.2
LEAST = -0.4


class Stage(NamedTuple):
    """Convolutions of one width, along the bands and along time in turn, and a pool after them."""

    width: int
    kernels: tuple[tuple[int, int], ...]  # (frames, bands)
    pool: tuple[int, int]


_ALONG = ((1, 3), (3, 1))
STAGES = (
    Stage(24, ((3, 3), *_ALONG), (2, 2)),
    Stage(48, (*_ALONG, *_ALONG), (1, 2)),
    Stage(72, (*_ALONG, *_ALONG), (2, 2)),
    Stage(96, (*_ALONG, *_ALONG), (1, 2)),
    Stage(96, (*_ALONG, *_ALONG), (2, 2)),
    Stage(CHANNELS, ((3, 1),), (1, 1)),
)


@dataclass(frozen=True)
class EmbeddingConfig:
    """Sizes of the network; a row covers the last 92 of the 98 frames of a second."""

    bands: int = FeatureConfig.bands
    labels: int = len(LABELS)
    joined: int = 3  # embeddings, 80 ms apart, that the head takes
    hidden: int = 160  # channels that the classifier sees
    dropout: float = 0.3
    frozen: int = 0  # stages that keep their weights, with what lies before them
    unheard: int = 6  # oldest frames of a second that no embedding covers

    @property
    def stride(self) -> int:
        """Frames from one row to the next."""
        steps = 1
        for stage in STAGES:
            steps *= stage.pool[0]
        return steps

    @property
    def receptive_field(self) -> int:
        """Feature frames that one row of logits depends on, the unheard ones counted."""
        frames, steps = 1, 1
        for stage in STAGES:
            frames += sum(kernel[0] - 1 for kernel in stage.kernels) * steps
            frames += (stage.pool[0] - 1) * steps
            steps *= stage.pool[0]
        return self.unheard + frames + (self.joined - 1) * steps


class EmbeddingNetwork(nn.Module):
    """Log-mel frames to logits; see the module's text."""

    def __init__(self, config: EmbeddingConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EmbeddingConfig()
        # Two images: the bands of the embedding's front end, and what lies above its 3.8 kHz.
        self.remap = nn.Linear(config.bands, 2 * BANDS)
        self.first_scale = nn.Parameter(torch.ones(STAGES[0].width, 1, 1))
        self.first_shift = nn.Parameter(torch.zeros(STAGES[0].width, 1, 1))
        stages, inputs = [], 2
        for stage in STAGES:
            convolutions = []
            for kernel in stage.kernels:
                padding = (0, kernel[1] // 2)
                convolutions.append(nn.Conv2d(inputs, stage.width, kernel, padding=padding))
                inputs = stage.width
            stages.append(nn.ModuleList(convolutions))
        self.stages = nn.ModuleList(stages)
        if config.frozen:
            kept = (self.remap, self.first_scale, self.first_shift, *self.stages[: config.frozen])
            for part in kept:
                part.requires_grad_(False)
        self.embedding_norm = nn.BatchNorm1d(CHANNELS)
        self.join = nn.Conv1d(CHANNELS, config.hidden, config.joined, bias=False)
        self.join_norm = nn.BatchNorm1d(config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden, config.labels)

    def forward(self, features: Tensor) -> Tensor:
        """Slide over (batch, frames, bands): logits (batch, rows, labels), one row per stride."""
        joined = functional.relu(self.join_norm(self.join(self.embed(features))))
        logits: Tensor = self.classifier(self.dropout(joined.transpose(1, 2)))
        return logits

    def convolutions(self) -> list[list[nn.Conv2d]]:
        """The layers of each stage."""
        return [list(stage.children()) for stage in self.stages]  # type: ignore[arg-type]

    def images(self, features: Tensor) -> Tensor:
        """What the convolutions see of (batch, frames, bands): (batch, 2, frames covered, 32)."""
        bands: Tensor = self.remap(features[:, self.config.unheard :])
        images = bands.reshape(*bands.shape[:2], 2, BANDS).transpose(1, 2)
        return images.contiguous(memory_format=torch.channels_last)  # trains a fifth faster

    def embed(self, features: Tensor) -> Tensor:
        """Embeddings (batch, 96, rows + joined - 1) of (batch, frames, bands)."""
        value = self.images(features)
        for number, (stage, layers) in enumerate(zip(STAGES, self.convolutions(), strict=True)):
            for index, layer in enumerate(layers):
                value = layer(value)
                if number == index == 0:
                    value = value.relu() * self.first_scale + self.first_shift
                if stage is not STAGES[-1]:
                    value = functional.leaky_relu(value, LEAK).clamp_min(LEAST)
            if stage.pool != (1, 1):
                value = functional.max_pool2d(value, stage.pool)
        normed: Tensor = self.embedding_norm(value.squeeze(3))
        return normed
