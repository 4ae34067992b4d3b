"""A network that begins with the first layers of Whisper's encoder, which knows very many voices.

Whisper (Radford et al., arXiv 2212.04356) learnt to transcribe 680,000 hours of speech. Its encoder
is two convolutions over time and layers of a transformer (Vaswani et al., arXiv 1706.03762). Here
the first convolution takes our bands, a few layers are kept and go on learning, and a head of
learned queries, each of which weighs the steps of a second in its own way, classifies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kws.config import LABELS, FeatureConfig

KERNEL = 3  # frames that a convolution covers
GELU = 1.702  # gelu(x) is about x * sigmoid(GELU * x); Hendrycks and Gimpel, arXiv 1606.08415


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the network, as in Whisper's tiny; a row covers a second and shares no frame."""

    bands: int = FeatureConfig.bands
    labels: int = len(LABELS)
    width: int = 384  # channels
    heads: int = 6
    layers: int = 3
    hidden: int = 1536  # channels inside a layer's second half
    queries: int = 4
    dropout: float = 0.1  # before the classifier
    frames: int = 98  # of a row

    @property
    def stride(self) -> int:
        """Frames from one row to the next."""
        return self.frames

    @property
    def receptive_field(self) -> int:
        """Feature frames that one row of logits depends on."""
        return self.frames

    @property
    def steps(self) -> int:
        """Steps of 20 ms that the layers see of a row."""
        return (self.frames + 1) // 2


def gelu(value: Tensor) -> Tensor:
    """The Gaussian error linear unit in its quick form; see GELU."""
    return value * torch.sigmoid(GELU * value)


class Layer(nn.Module):
    """Self-attention, then two linear maps of each step, either added to what it takes."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention_in = nn.Linear(config.width, 3 * config.width)  # query, key and value
        self.attention_out = nn.Linear(config.width, config.width)
        self.linear_norm = nn.LayerNorm(config.width)
        self.linear_in = nn.Linear(config.width, config.hidden)
        self.linear_out = nn.Linear(config.hidden, config.width)

    def forward(self, steps: Tensor) -> Tensor:
        """(batch, steps, width) -> (batch, steps, width)."""
        batch, count, width = steps.shape
        joined = self.attention_in(self.attention_norm(steps))
        query, key, value = joined.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Written out: torch's own attention is slow for such short rows in bfloat16.
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        mixed = scores.softmax(-1).to(value.dtype) @ value
        steps = steps + self.attention_out(mixed.transpose(1, 2).reshape(batch, count, width))
        change: Tensor = self.linear_out(gelu(self.linear_in(self.linear_norm(steps))))
        return steps + change


class EncoderNetwork(nn.Module):
    """Log-mel frames to logits; see the module's text."""

    def __init__(self, config: EncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EncoderConfig()
        self.first = nn.Conv1d(config.bands, config.width, KERNEL, padding=1)
        self.second = nn.Conv1d(config.width, config.width, KERNEL, stride=2, padding=1)
        self.positions = nn.Parameter(torch.randn(config.steps, config.width) * 0.02)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.queries = nn.Linear(config.width, config.queries, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.queries * config.width, config.labels)

    def forward(self, features: Tensor) -> Tensor:
        """Slide over (batch, frames, bands): logits (batch, rows, labels), one row per second.

        There are 1 + (frames - receptive_field) // stride rows.
        """
        size = self.config.frames
        seconds = features.unfold(1, size, size)  # (batch, rows, bands, frames)
        batch, rows = seconds.shape[:2]
        value = gelu(self.first(seconds.flatten(0, 1)))
        value = gelu(self.second(value)).transpose(1, 2) + self.positions
        for layer in self.layers:
            value = layer(value)
        value = self.norm(value)
        shares = self.queries(value).softmax(1)  # (batch * rows, steps, queries)
        pooled = (shares.transpose(1, 2) @ value).flatten(1)
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits.view(batch, rows, -1)
