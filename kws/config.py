"""Types and defaults of the next training run; a trained model's own values are in its manifest."""

from __future__ import annotations

import math
from dataclasses import dataclass

SAMPLE_RATE = 16_000  # Hz

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE = "silence"
UNKNOWN = "unknown"
LABELS = (*KEYWORDS, SILENCE, UNKNOWN)


def _require(condition: bool, rule: str, got: object) -> None:
    if not condition:
        raise ValueError(f"expected {rule}, got {got}")


@dataclass(frozen=True)
class FeatureConfig:
    """How 16 kHz audio becomes log-mel frames.

    The band limits: below 60 Hz there is mains hum and handling noise but no speech; above
    7,600 Hz the resamplers and codecs between a microphone and us have rolled off, so energy
    there tells more about the device than about the word. The fricatives that separate "yes",
    "stop" and "off" lie between 3 and 7 kHz and are kept.

    The floor is a mel energy of about -75 dBFS of white noise. Energies are measured against
    it, so that digital silence is exactly 0.0 in every band and a stream can begin with zeros.
    """

    sample_rate: int = SAMPLE_RATE  # Hz
    window: int = 480  # samples, 30 ms
    hop: int = 160  # samples, 10 ms
    fft_size: int = 512  # samples; the window is zero-padded to it
    bands: int = 40
    low_hz: float = 60.0
    high_hz: float = 7_600.0
    floor: float = 1e-5  # mel energy of samples in [-1, 1) that counts as silence

    def __post_init__(self) -> None:
        _require(self.sample_rate == SAMPLE_RATE, f"a sample_rate of {SAMPLE_RATE}", self)
        _require(
            1 <= self.hop <= self.window <= self.fft_size <= 65_536,
            "1 <= hop <= window <= fft_size <= 65536",
            self,
        )
        _require(self.window <= self.sample_rate, "a window of at most one second", self)
        _require(1 <= self.bands <= self.fft_size // 2, "1 <= bands <= fft_size / 2", self)
        _require(
            0.0 <= self.low_hz < self.high_hz <= self.sample_rate / 2,
            "0 <= low_hz < high_hz <= sample_rate / 2",
            self,
        )
        _require(0.0 < self.floor < math.inf, "a floor above 0", self)


@dataclass(frozen=True)
class VadConfig:
    """When the network may rest."""

    aggressiveness: int = 2  # webrtcvad: 0 lets most through, 3 least
    frame_ms: int = 20  # webrtcvad takes 10, 20 or 30
    hangover_ms: int = 500  # the gate stays open this long after the last speech frame
    preroll_ms: int = 300  # as the gate opens, the network catches up on this long before

    def __post_init__(self) -> None:
        _require(self.aggressiveness in (0, 1, 2, 3), "an aggressiveness of 0 to 3", self)
        _require(self.frame_ms in (10, 20, 30), "a frame_ms of 10, 20 or 30", self)
        _require(0 <= self.hangover_ms <= 10_000, "a hangover_ms of 0 to 10000", self)
        _require(0 <= self.preroll_ms <= 10_000, "a preroll_ms of 0 to 10000", self)


@dataclass(frozen=True)
class DecisionConfig:
    """How posteriors become detections."""

    hop_ms: int = 60  # the last second is scored this often
    smoothing_ms: int = 120  # posteriors are averaged over this long
    threshold: float = 0.8  # smoothed posterior, used where a keyword has no own threshold
    release: float = 0.8  # a keyword re-arms below this share of its threshold
    refractory_ms: int = 400  # after a detection nothing fires for this long

    def __post_init__(self) -> None:
        _require(10 <= self.hop_ms <= 1_000, "a hop_ms of 10 to 1000", self)
        _require(0 <= self.smoothing_ms <= 10_000, "a smoothing_ms of 0 to 10000", self)
        _require(0.0 < self.threshold <= 1.0, "a threshold in (0, 1]", self)
        _require(0.0 < self.release <= 1.0, "a release in (0, 1]", self)
        _require(0 <= self.refractory_ms <= 60_000, "a refractory_ms of 0 to 60000", self)
