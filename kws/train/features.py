"""The front end in torch, for batches of training audio; a test holds it to the NumPy reference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kws import frontend
from kws.config import FeatureConfig


class LogMel(nn.Module):
    """`kws.frontend.log_mel` over a batch of float audio."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: FeatureConfig | None = None) -> None:
        super().__init__()
        self.config = config or FeatureConfig()
        self.register_buffer("window", torch.from_numpy(frontend.window(self.config)))
        self.register_buffer("filters", torch.from_numpy(frontend.mel_filters(self.config)))

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """Audio (batch, samples) in [-1, 1) -> (batch, frames, bands)."""
        frames = audio.unfold(1, self.config.window, self.config.hop) * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames, self.config.fft_size))
        energies = spectrum.square().sum(-1) @ self.filters
        return torch.log1p(energies * (1.0 / self.config.floor))
