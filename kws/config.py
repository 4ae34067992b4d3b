"""Types and defaults of the next training run; a trained model's own values are in its manifest."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLE_RATE = 16_000  # Hz

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE = "silence"
UNKNOWN = "unknown"
LABELS = (*KEYWORDS, SILENCE, UNKNOWN)


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


@dataclass(frozen=True)
class VadConfig:
    """When the network may rest."""

    aggressiveness: int = 2  # webrtcvad: 0 lets most through, 3 least
    frame_ms: int = 20  # webrtcvad takes 10, 20 or 30
    hangover_ms: int = 500  # the gate stays open this long after the last speech frame
    preroll_ms: int = 300  # audio before the first speech frame that the network still sees


@dataclass(frozen=True)
class DecisionConfig:
    """How posteriors become detections."""

    smoothing_ms: int = 100  # posteriors are averaged over this long
    threshold: float = 0.8  # smoothed posterior, used where a keyword has no own threshold
    refractory_ms: int = 500  # after a detection nothing fires for this long
