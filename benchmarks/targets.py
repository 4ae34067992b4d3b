"""What we set out to reach, and how far from it the measurements are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]  # of one measurement


@dataclass(frozen=True)
class Target:
    """A figure of one measurement and the limit that it is to keep."""

    text: str
    result: str  # name of the file in results/
    figure: Callable[[Figures], float]
    limit: float
    at_most: bool
    form: str  # how to write figure and limit


def _of(*keys: str) -> Callable[[Figures], float]:
    def look_up(figures: Figures) -> float:
        found: Any = figures
        for key in keys:
            found = found[key]
        return float(found)

    return look_up


def _condition(name: str, artefact: str = "window.onnx") -> Callable[[Figures], float]:
    return _of("artefacts", artefact, "conditions", name, "accuracy")


def _point(name: str) -> Callable[[Figures], float]:
    return _of("operating_points", "isolated medium", name)


def _worst_recall(figures: Figures) -> float:
    return float(min(figures["artefacts"]["window.onnx"]["conditions"]["clean"]["recall"].values()))


def _lost_to_int8(figures: Figures) -> float:
    return _condition("clean")(figures) - _condition("clean", "window.int8.onnx")(figures)


def _lost_to_the_gate(figures: Figures) -> float:
    return float(max(row["difference"] for row in figures["gate_missed"].values()))


def _times_pymicro(figures: Figures) -> float:
    peer = _of("processor_time", "pymicro-wakeword", "speech", "relative_processor_time")
    return 1.0 / peer(figures)


SHARE, RATIO = "{:.2%}", "{:.2f}"

TARGETS = (
    Target("Accuracy over 12 classes", "accuracy", _condition("clean"), 0.97, False, SHARE),
    Target("Recall of the worst class", "accuracy", _worst_recall, 0.93, False, SHARE),
    Target("Accuracy lost to int8", "accuracy", _lost_to_int8, 0.005, True, SHARE),
    Target(
        "Accuracy of `accurate`",
        "accuracy_accurate",
        _condition("clean", "window.int8.onnx"),
        0.98,
        False,
        SHARE,
    ),
    Target("Accuracy at 10 dB SNR", "accuracy", _condition("10 dB"), 0.93, False, SHARE),
    Target("Accuracy at 0 dB SNR", "accuracy", _condition("0 dB"), 0.80, False, SHARE),
    Target("Accuracy in simulated rooms", "accuracy", _condition("rooms"), 0.93, False, SHARE),
    Target(
        "Unseen words that fire",
        "accuracy",
        _of("unseen_in_a_stream", "all", "share"),
        0.05,
        True,
        SHARE,
    ),
    Target(
        "False accepts per hour of orders and noise",
        "streaming",
        _point("conversation and noise, false accepts per hour"),
        2.0,
        True,
        RATIO,
    ),
    *(
        Target(
            f"Clips of *{name}* that fire",
            "streaming",
            _point(f"other_words/{name}, share of clips that fire"),
            0.03,
            True,
            SHARE,
        )
        for name in ("jarvis", "view_glass")
    ),
    *(
        Target(
            f"Commands missed, {name}", "streaming", _point(f"{name}, missed"), 0.08, True, SHARE
        )
        for name in ("silence", "noise 20 dB", "noise 10 dB")
    ),
    Target(
        "Delay after the end of a word, median, s",
        "streaming",
        _point("delay at 10 dB, median, s"),
        0.25,
        True,
        RATIO,
    ),
    Target("Commands lost to the gate", "streaming", _lost_to_the_gate, 0.003, True, SHARE),
    Target(
        "Processor time on speech, times pymicro-wakeword",
        "streaming",
        _of("processor_time", "speech, times pymicro-wakeword"),
        1.0,
        True,
        RATIO,
    ),
    Target("The same in a process each", "peers", _times_pymicro, 1.0, True, RATIO),
    Target(
        "On 90 % silence, times pymicro-wakeword",
        "streaming",
        _of("processor_time", "90 % silence, times pymicro-wakeword"),
        0.4,
        True,
        RATIO,
    ),
    Target(
        "Full-window recomputation at the same hop, relative processor time",
        "streaming",
        _of("processor_time", "full-window recomputation, relative processor time"),
        8.0,
        False,
        RATIO,
    ),
    Target(
        "Peak memory while it listens, MB",
        "streaming",
        _of("memory", "peak_mb"),
        90.0,
        True,
        RATIO,
    ),
    Target(
        "Processor time of 32 detectors, times a pool of 32",
        "growth",
        _of("streams", "32 streams", "times_cheaper_than_separate"),
        3.0,
        False,
        RATIO,
    ),
)


def rows(results: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """What, limit, measured, by how much it is missed, and the measurement, for a table.

    Targets whose measurement is not there are left out.
    """
    for target in TARGETS:
        if target.result not in results:
            continue
        try:
            value = target.figure(results[target.result]["figures"])
        except KeyError:  # measured without a peer that was not installed
            continue
        short = value - target.limit if target.at_most else target.limit - value
        yield (
            target.text,
            f"at {'most' if target.at_most else 'least'} {target.form.format(target.limit)}",
            target.form.format(value),
            target.form.format(short) if short > 0 else "",
            target.result,
        )
