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
    centres: Tensor  # Hz

    def __init__(self, config: FeatureConfig | None = None) -> None:
        super().__init__()
        self.config = config or FeatureConfig()
        if self.config.coefficients:
            raise ValueError("training knows log-mel frames only, not cepstral coefficients")
        window = torch.from_numpy(frontend.window(self.config))
        self._tail = self.config.fft_size - self.config.window
        self.register_buffer("window", torch.nn.functional.pad(window, (0, self._tail)))
        self.register_buffer("filters", torch.from_numpy(frontend.mel_filters(self.config)))
        self.register_buffer("centres", torch.from_numpy(frontend.band_centres(self.config)))

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """Audio (batch, samples) in [-1, 1) -> (batch, frames, bands)."""
        spectrum = torch.stft(
            torch.nn.functional.pad(audio, (0, self._tail)),
            self.config.fft_size,
            self.config.hop,
            window=self.window,
            center=False,
            return_complex=True,
        ).transpose(1, 2)
        energies = (spectrum.real.square() + spectrum.imag.square()) @ self.filters
        return torch.log1p(energies * (1.0 / self.config.floor))
