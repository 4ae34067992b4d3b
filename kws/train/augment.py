"""Changes to batches of waveforms, each vectorised over the batch; audio is float in [-1, 1).

Every function takes the torch.Generator it draws from, so that an epoch is a function of its seed;
the generator is on the device where the audio is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kws.config import SAMPLE_RATE


def uniform(low: float, high: float, size: int, generator: torch.Generator) -> Tensor:
    """`size` numbers drawn evenly from [low, high)."""
    return low + (high - low) * torch.rand(size, generator=generator, device=generator.device)


def level(audio: Tensor) -> Tensor:
    """Root mean square of the louder half of each clip's 50 ms blocks, shape (batch, 1)."""
    blocks = audio.unfold(1, 800, 800).square().mean(2)
    loudest = blocks.topk(max(1, blocks.shape[1] // 2), dim=1).values
    return loudest.mean(1, keepdim=True).sqrt()


def loudness(audio: Tensor) -> Tensor:
    """Level of each clip's loud parts, shape (batch, 1): 10 ms blocks within 20 dB of the loudest.

    Blocks' root mean square, and that of those blocks.
    """
    blocks = audio.unfold(1, 160, 160).square().mean(2)
    loud = blocks >= 0.01 * blocks.amax(1, keepdim=True)
    return ((blocks * loud).sum(1, keepdim=True) / loud.sum(1, keepdim=True)).sqrt()


def shift_and_stretch(
    audio: Tensor, shift: Tensor, rate: Tensor, wanted: int | None = None
) -> Tensor:
    """Move each clip later by `shift` seconds and play it `rate` times as fast, pitch included.

    Linear interpolation; what lies outside the clip is digital silence. The middle `wanted`
    samples are made, all by default.
    """
    samples = audio.shape[1]
    made = wanted or samples
    time = torch.arange(made, dtype=torch.float32, device=audio.device) - made / 2
    source = (time - SAMPLE_RATE * shift[:, None]) * rate[:, None] + samples / 2
    left = source.floor()
    fraction = source - left
    index = left.long()
    padded = torch.nn.functional.pad(audio, (1, 2))
    index = index.clamp(-1, samples) + 1
    return torch.lerp(padded.gather(1, index), padded.gather(1, index + 1), fraction)


def mix_noise(audio: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Add noise (batch, samples) at a signal-to-noise ratio of levels; see `level`."""
    wanted = level(audio).clamp_min(1e-4) * 10.0 ** (-snr_db[:, None] / 20.0)
    return audio + noise * (wanted / level(noise).clamp_min(1e-6))


def set_gain(audio: Tensor, gain_db: Tensor) -> Tensor:
    """Scale by a gain, clip at full scale and round to 16 bits, as a converter does."""
    scaled = audio * 10.0 ** (gain_db[:, None] / 20.0)
    return (scaled * 32768.0).round().clamp(-32768.0, 32767.0) / 32768.0


def room_responses(count: int, generator: torch.Generator, samples: int = 8000) -> Tensor:
    """Impulse responses of made-up rooms, shape (count, samples).

    A direct sound followed by exponentially decaying Gaussian noise (Polack's model), with a
    reverberation time of 0.1 to 0.8 s and a direct-to-reverberant ratio of -3 to 15 dB.
    """
    t60 = uniform(0.1, 0.8, count, generator)[:, None]
    ratio_db = uniform(-3.0, 15.0, count, generator)[:, None]
    device = generator.device
    time = torch.arange(samples, device=device) / SAMPLE_RATE
    tail = torch.randn(count, samples, generator=generator, device=device)
    tail *= torch.exp(-math.log(1000.0) * time / t60)
    tail[:, : int(0.002 * SAMPLE_RATE)] = 0.0
    tail = tail / tail.square().sum(1, keepdim=True).sqrt() * 10.0 ** (-ratio_db / 20.0)
    tail[:, 0] = 1.0
    return tail


def device_responses(
    count: int, bins: int, narrow_share: float, generator: torch.Generator
) -> Tensor:
    """Magnitude responses of made-up microphones, shape (count, bins) from 0 Hz to Nyquist.

    A tilt of up to 3 dB an octave, a smooth ripple, a high-pass at 30 to 300 Hz and, for a share of
    them, a low-pass at 3.2 to 8 kHz as of a narrow-band codec or a muffled device.
    """
    hertz = torch.linspace(1.0, SAMPLE_RATE / 2, bins, device=generator.device)
    octaves = torch.log2(hertz / 1000.0)
    decibel = uniform(-3.0, 3.0, count, generator)[:, None] * octaves.clamp(-3.0, 3.0)
    phase = uniform(0.0, 2 * math.pi, count, generator)[:, None]
    period = uniform(0.7, 3.0, count, generator)[:, None]  # octaves
    ripple = uniform(0.0, 4.0, count, generator)[:, None]  # dB
    decibel = decibel + ripple * torch.sin(2 * math.pi * octaves / period + phase)
    high_pass = uniform(30.0, 300.0, count, generator)[:, None]
    narrow = torch.rand(count, 1, generator=generator, device=generator.device) < narrow_share
    low_pass = uniform(3200.0, 8000.0, count, generator)[:, None]
    low_pass = torch.where(narrow, low_pass, torch.full_like(low_pass, 1e6))
    # Squares of squares: torch takes ten times as long for a power of 4 or 8.
    below = (high_pass / hertz).square().square()
    above = (hertz / low_pass).square().square().square()
    magnitude: Tensor = (decibel * (math.log(10.0) / 20.0)).exp()
    return magnitude * ((1.0 + below) * (1.0 + above)).rsqrt()


def over_telephone(audio: Tensor) -> Tensor:
    """What is left on a narrow-band line: 300 to 3400 Hz, and 8 bits of a logarithmic scale.

    The scale is the mu-law of ITU-T G.711 in its continuous form, mu = 255.
    """
    samples = audio.shape[1]
    spectrum = torch.fft.rfft(audio, samples)
    hertz = torch.linspace(0.0, SAMPLE_RATE / 2, spectrum.shape[1], device=audio.device)
    passed = ((hertz - 200.0) / 100.0).clamp(0.0, 1.0) * ((4000.0 - hertz) / 600.0).clamp(0.0, 1.0)
    filtered = torch.fft.irfft(spectrum * passed, samples).clamp(-1.0, 1.0)
    compressed = filtered.sign() * torch.log1p(255.0 * filtered.abs()) / math.log(256.0)
    compressed = (compressed * 127.0).round() / 127.0
    expanded: Tensor = torch.expm1(compressed.abs() * math.log(256.0)) / 255.0
    return expanded.copysign(compressed)


def apply_room(audio: Tensor, narrow_share: float, generator: torch.Generator) -> Tensor:
    """Put each clip into its own simulated room, through its own simulated microphone.

    `narrow_share` of the microphones lack the upper bands.
    """
    count, samples = audio.shape
    size = -(-(samples + 8000) // 960) * 960  # of small factors, which transform fast
    spectrum = torch.fft.rfft(audio, size)
    room = torch.fft.rfft(room_responses(count, generator), size)
    device = device_responses(count, spectrum.shape[1], narrow_share, generator)
    recorded = torch.fft.irfft(spectrum * room * device, size)[:, :samples]
    restored: Tensor = recorded * (level(audio) / level(recorded).clamp_min(1e-6))
    return restored


def mask_features(features: Tensor, frames: int, bands: int, generator: torch.Generator) -> Tensor:
    """SpecAugment (Park et al., arXiv 1904.08779): blank one run of frames and one of bands.

    Features (batch, frames, bands); the runs are at most `frames` and `bands` long.
    """
    batch, length, width = features.shape

    def runs(size: int, longest: int) -> Tensor:
        run = uniform(0.0, longest + 1.0, batch, generator).floor()[:, None]
        draw = torch.rand(batch, 1, generator=generator, device=generator.device)
        start = (draw * (size - run)).floor()
        position = torch.arange(size, device=generator.device)[None, :]
        return (position >= start) & (position < start + run)

    blank = runs(length, frames)[:, :, None] | runs(width, bands)[:, None, :]
    return features.masked_fill(blank, 0.0)


def warp_bands(features: Tensor, factor: Tensor, hertz: Tensor) -> Tensor:
    """Vocal-tract length perturbation (Jaitly and Hinton, 2013): move each frame's spectrum.

    Args:
        features: log-mel frames, (batch, frames, bands).
        factor: what each one's frequencies are multiplied by, (batch,); 1.1 is a shorter tract.
        hertz: centre of each band, rising, (bands,).
    """
    wanted = hertz / factor[:, None]  # where a band's new content comes from
    upper = torch.searchsorted(hertz, wanted).clamp(1, len(hertz) - 1)
    lower = upper - 1
    share = ((wanted - hertz[lower]) / (hertz[upper] - hertz[lower])).clamp(0.0, 1.0)
    weights = torch.zeros(len(factor), len(hertz), len(hertz), device=features.device)
    weights.scatter_(1, lower[:, None], (1.0 - share)[:, None])
    weights.scatter_add_(1, upper[:, None], share[:, None])
    return features @ weights
