"""Types and defaults of the next training run; a trained model's own values are in its manifest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

SAMPLE_RATE = 16_000  # Hz
STEP_MS = 20  # from one row of posteriors to the next

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE = "silence"
UNKNOWN = "unknown"
KEYWORD_CONTEXT_WEIGHT = (
    0.25  # how much of a posterior is other speech while no keyword is detected
)
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
    coefficients: int = 0  # cepstral ones of each frame (MFCC); 0 for the bands themselves

    def __post_init__(self) -> None:
        _require(self.sample_rate == SAMPLE_RATE, f"a sample_rate of {SAMPLE_RATE}", self)
        _require(
            16 <= self.hop <= self.window <= self.fft_size <= 16_384,
            "16 <= hop <= window <= fft_size <= 16384",
            self,
        )
        _require(self.window <= self.sample_rate, "a window of at most one second", self)
        most = min(self.fft_size // 2, 1_024)
        _require(1 <= self.bands <= most, "1 <= bands <= fft_size / 2 and <= 1024", self)
        _require(
            0.0 <= self.low_hz < self.high_hz <= self.sample_rate / 2,
            "0 <= low_hz < high_hz <= sample_rate / 2",
            self,
        )
        _require(0.0 < self.floor < math.inf, "a floor above 0", self)
        _require(0 <= self.coefficients <= self.bands, "0 <= coefficients <= bands", self)

    @property
    def width(self) -> int:
        """Numbers in a frame: coefficients, or bands where there are none."""
        return self.coefficients or self.bands


@dataclass(frozen=True)
class VadConfig:
    """When the network may rest."""

    aggressiveness: int = 1  # webrtcvad: 0 lets most through, 3 least
    frame_ms: int = 20  # webrtcvad takes 10, 20 or 30
    hangover_ms: int = 700  # the gate stays open this long after the last speech frame
    preroll_ms: int = 420  # as the gate opens, the network catches up on this long before

    def __post_init__(self) -> None:
        _require(self.aggressiveness in (0, 1, 2, 3), "an aggressiveness of 0 to 3", self)
        _require(self.frame_ms in (10, 20, 30), "a frame_ms of 10, 20 or 30", self)
        _require(0 <= self.hangover_ms <= 10_000, "a hangover_ms of 0 to 10000", self)
        _require(0 <= self.preroll_ms <= 10_000, "a preroll_ms of 0 to 10000", self)


@dataclass(frozen=True)
class DecisionConfig:
    """How posteriors become detections; kws/decision.py tells what each number does.

    The network's window slides over a word for most of a second, so a command that was spoken
    alone wins for the whole next half second, and a syllable of a sentence is not.
    """

    hop_ms: int = 80  # the network is called this often
    smoothing_ms: int = 520  # posteriors are averaged over this long
    threshold: float = 0.6  # smoothed posterior, used where a keyword has no own threshold
    isolation: float = 0.9  # 0 to 1: how much other speech just before raises the thresholds
    faint_db: float = 12.0  # so far below the word it does not; 0: it does, however faint it is
    loud_db: float = 4.0  # so far below the word it still does in full; between the two in part
    context_ms: int = 600  # so long before the word counts as just before ...
    lead_ms: int = 180  # ... and ends this long before the smoothing begins: the word itself
    longest_ms: int = 1_400  # a score that has stayed up for longer is no word
    release: float = 0.5  # a keyword re-arms below this share of its threshold ...
    rearm_ms: int = 100  # ... held for this long ...
    hold_ms: int = 900  # ... or the word was said again so long after its end; 0: only so
    refractory_ms: int = 500  # after a detection nothing fires for this long

    def __post_init__(self) -> None:
        _require(10 <= self.hop_ms <= 1_000, "a hop_ms of 10 to 1000", self)
        _require(0.0 < self.threshold <= 1.0, "a threshold in (0, 1]", self)
        _require(0.0 <= self.isolation <= 1.0, "an isolation in [0, 1]", self)
        _require(
            0.0 <= self.loud_db < self.faint_db <= 100.0 or self.loud_db == self.faint_db == 0.0,
            "0 <= loud_db < faint_db <= 100, or both 0",
            self,
        )
        _require(0.0 < self.release <= 1.0, "a release in (0, 1]", self)
        for name in ("smoothing_ms", "context_ms", "lead_ms", "rearm_ms", "hold_ms"):
            _require(0 <= getattr(self, name) <= 10_000, f"a {name} of 0 to 10000", self)
        for name in ("longest_ms", "refractory_ms"):
            _require(0 <= getattr(self, name) <= 60_000, f"a {name} of 0 to 60000", self)

    def connected(self) -> DecisionConfig:
        """For keywords within running speech: decided sooner, whatever was said before."""
        return replace(self, isolation=0.0, smoothing_ms=min(self.smoothing_ms, 240))
