"""What we set out to reach, and whether the measurements show that it is reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.product import installations
from benchmarks.text import Row, share
from benchmarks.timed import too_noisy
from kws.evaluation.intervals import poisson_interval, rate_text, share_interval

Figures = Mapping[str, Any]  # of one measurement

WITH, WITHOUT = "with verifier", "without verifier"  # ways of benchmarks.studies.before


@dataclass(frozen=True)
class Measured:
    """A figure with the interval that the measurement allows; a single value where it has none."""

    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Target:
    """A figure of one measurement and the limit that it is to keep."""

    text: str
    result: str  # name of the file in results/
    measure: Callable[[Figures], Measured | None]  # None or KeyError where it was not measured
    limit: float
    at_most: bool = True
    form: str = "{:.0%}"  # how to write the limit


def _share(value: float, count: int | None = None) -> Measured:
    low, high = share_interval(round(value * count), count) if count else (value, value)
    return Measured(low, high, share(value, count))


def _condition(name: str, artefact: str = "window.onnx") -> Callable[[Figures], Measured]:
    def measure(figures: Figures) -> Measured:
        found = figures["artefacts"][artefact]["conditions"][name]
        return _share(found["accuracy_of_one_window"], found["clips"])

    return measure


def _worst_recall(figures: Figures) -> Measured:
    return _share(
        min(figures["artefacts"]["window.onnx"]["conditions"]["clean"]["recall"].values())
    )


def _lost_to_int8(figures: Figures) -> Measured:
    accuracy = [
        figures["artefacts"][artefact]["conditions"]["clean"]["accuracy_of_one_window"]
        for artefact in ("window.onnx", "window.int8.onnx")
    ]
    return _plain(accuracy[0] - accuracy[1], "{:.2%}")


def _unseen(figures: Figures) -> Measured:
    found = figures["unseen_in_a_stream"]["all"]
    return _share(found["share"], found["clips"])


def _default(figures: Figures) -> Figures:
    point: Figures = figures["operating_points"]["isolated medium"]
    return point


def _false_accepts(figures: Figures) -> Measured:
    point = _default(figures)
    count, hours = (point[f"conversation and noise, {what}"] for what in ("false accepts", "hours"))
    low, high = poisson_interval(count)
    return Measured(low / hours, high / hours, rate_text(count, hours))


def _fired(name: str) -> Callable[[Figures], Measured]:
    def measure(figures: Figures) -> Measured:
        point = _default(figures)
        count = point[f"other_words/{name}, clips"]
        return _share(point[f"other_words/{name}, clips that fire"] / count, count)

    return measure


def _missed(scene: str) -> Callable[[Figures], Measured]:
    def measure(figures: Figures) -> Measured:
        point = _default(figures)
        return _share(point[f"{scene}, missed"], point[f"{scene}, spoken"])

    return measure


def _lost_to_the_gate(figures: Figures) -> Measured:
    return _plain(max(row["difference"] for row in figures["gate_missed"].values()), "{:.2%}")


def _plain(value: float, form: str) -> Measured:
    return Measured(value, value, form.format(value))


def _recomputation(figures: Figures) -> Measured | None:
    row = figures["paired_processor_time"]["full-window recomputation"]["relative_processor_time"]
    return None if too_noisy(row) else _ratio(row["median"], *row["interval_95"])


def beside_pymicro(way: str, kind: str) -> Callable[[Figures], Measured | None]:
    """Processor time of the detector on a kind of audio, relative to pymicro-wakeword's."""

    def measure(figures: Figures) -> Measured | None:
        row, peer = (  # both to the earlier commit's
            figures[way][each][kind]["relative_processor_time"]
            for each in ("after", "pymicro-wakeword")
        )
        if too_noisy(row) or too_noisy(peer):
            return None
        (low, high), (peer_low, peer_high) = row["interval_95"], peer["interval_95"]
        return _ratio(row["median"] / peer["median"], low / peer_high, high / peer_low)

    return measure


def _pool(figures: Figures) -> Measured | None:
    row = figures["streams"]["32 streams"]["a Detector for each"]["relative_processor_time"]
    return None if too_noisy(row) else _ratio(row["median"], *row["interval_95"])


def _ratio(middle: float, low: float, high: float) -> Measured:
    return Measured(low, high, f"{middle:.2f} ({low:.2f} to {high:.2f})")


def _peak_mb(figures: Figures) -> Measured:
    return _plain(figures["memory"]["peak_mb"], "{:.1f} MB")


def _way(command: str, key: str) -> Callable[[Figures], Measured]:
    """Of a way to install, in MB."""
    return lambda figures: _plain(figures["ways"][command][key] / 1e6, "{:.0f} MB")


def _start(name: str) -> Callable[[Figures], Measured | None]:
    return lambda figures: _seconds(figures["seconds_to_start"][name])


def _seconds(row: Figures) -> Measured | None:
    low, high = row["interval_95"]
    return (
        None
        if too_noisy(row)
        else Measured(low, high, f"{row['median']:.3g} s ({low:.3g} to {high:.3g})")
    )


def _whole_program(
    kind: str, name: str = "kws listen", figure: str = "share_of_a_core"
) -> Callable[[Figures], Measured | None]:
    def measure(figures: Figures) -> Measured | None:
        row = figures["paired_processor_time"][name][kind][figure]
        if too_noisy(row):
            return None
        low, high = row["interval_95"]
        return Measured(low, high, f"{row['median']:.2%} ({low:.2%} to {high:.2%})")

    return measure


def _said_again(figures: Figures) -> Measured:
    """From which time on 90 % are detected, of the keyword that needs the longest."""
    seconds = [row["90_%_from_s"] for row in figures["of_words_detected_when_said_once"].values()]
    if None in seconds:
        return Measured(math.inf, math.inf, "not reached by some keyword")
    return _plain(max(seconds), "{:g} s")


def _reaction(name: str) -> Callable[[Figures], Measured]:
    return lambda figures: _plain(figures["seconds_until"][name]["longest"], "{:.3g} s")


def _delay(figures: Figures) -> Measured:
    return _plain(_default(figures)["delay at 10 dB, median, s"], "{:.2f} s")


TARGETS = (
    Target("accuracy over 12 classes", "accuracy", _condition("clean"), 0.97, at_most=False),
    Target("recall of the worst class", "accuracy", _worst_recall, 0.93, at_most=False),
    Target("accuracy lost to int8", "accuracy", _lost_to_int8, 0.005, form="{:.1%}"),
    Target(
        "accuracy of `accurate`",
        "accuracy_accurate",
        _condition("clean", "window.int8.onnx"),
        0.98,
        at_most=False,
    ),
    Target("accuracy at 10 dB SNR", "accuracy", _condition("10 dB"), 0.93, at_most=False),
    Target("accuracy at 0 dB SNR", "accuracy", _condition("0 dB"), 0.80, at_most=False),
    Target("accuracy in simulated rooms", "accuracy", _condition("rooms"), 0.93, at_most=False),
    Target("unseen words that fire", "accuracy", _unseen, 0.05),
    Target(
        "false accepts per hour on speech and noise", "streaming", _false_accepts, 2.0, form="{:g}"
    ),
    Target("recordings of *jarvis* that fire", "streaming", _fired("jarvis"), 0.03),
    Target("recordings of *view glass* that fire", "streaming", _fired("view_glass"), 0.03),
    Target("commands missed without noise", "streaming", _missed("silence"), 0.08),
    Target("commands missed at 20 dB SNR", "streaming", _missed("noise 20 dB"), 0.08),
    Target("commands missed at 10 dB SNR", "streaming", _missed("noise 10 dB"), 0.08),
    Target("delay after the end of a word, median", "streaming", _delay, 0.25, form="{:g} s"),
    Target(
        "a word said again: shortest time for 90 % of each keyword",
        "repetition",
        _said_again,
        0.6,
        form="{:g} s",
    ),
    Target("commands lost to the gate", "streaming", _lost_to_the_gate, 0.003, form="{:.1%}"),
    Target(
        "processor time on speech / pymicro-wakeword's",
        "before",
        beside_pymicro(WITH, "speech"),
        1.0,
        form="{:g}",
    ),
    Target(
        "the same on dense read speech",
        "before",
        beside_pymicro(WITH, "read_speech"),
        0.8,
        form="{:g}",
    ),
    Target(
        "the same on dense read speech, without verifier",
        "before",
        beside_pymicro(WITHOUT, "read_speech"),
        0.5,
        form="{:g}",
    ),
    Target(
        "the same in digital silence", "before", beside_pymicro(WITH, "silence"), 0.05, form="{:g}"
    ),
    Target(
        "the same where a tenth is speech",
        "before",
        beside_pymicro(WITH, "a_tenth_speech"),
        0.4,
        form="{:g}",
    ),
    Target(
        "full-window recomputation / streaming, processor time",
        "recomputation",
        _recomputation,
        8.0,
        at_most=False,
        form="{:g}",
    ),
    Target(
        "`kws listen` in silence, share of a core",
        "listening",
        _whole_program("silence"),
        0.01,
        form="{:.1%}",
    ),
    Target(
        "`kws listen` in talk, share of a core",
        "listening",
        _whole_program("talk"),
        0.015,
        form="{:.1%}",
    ),
    *(
        Target(
            f"what the live view adds in {kind}, share of a core",
            "listening",
            _whole_program(kind, "kws listen with live view", "difference"),
            0.01,
            form="{:.1%}",
        )
        for kind in ("silence", "talk")
    ),
    Target(
        "`import kws` in a fresh process",
        "latency",
        lambda figures: _seconds(figures["import_kws_s"]),
        0.02,
        form="{:g} s",
    ),
    Target(
        "start of `kws listen` until the first block of audio",
        "listening",
        _start("kws listen"),
        0.6,
        form="{:g} s",
    ),
    Target(
        "start of `kws listen` beyond that of the barest program that records",
        "listening",
        _start("difference"),
        1.0,
        form="{:g} s",
    ),
    Target(
        "until a loop ends that another thread closes, the longest",
        "listening",
        _reaction("a loop ends that is closed"),
        0.1,
        form="{:g} s",
    ),
    Target(
        "until a microphone that is plugged in again is back, the longest",
        "listening",
        _reaction("a microphone is back"),
        5.0,
        form="{:g} s",
    ),
    Target(
        "installed without bytecode",
        "installations",
        _way(installations.BASE, "installed_bytes"),
        150.0,
        form="{:g} MB",
    ),
    Target(
        "installed on TFLite alone, without bytecode",
        "installations",
        _way(installations.TFLITE_ALONE, "installed_bytes"),
        110.0,
        form="{:g} MB",
    ),
    Target(
        "memory of `kws listen` at its most, ONNX Runtime installed",
        "installations",
        _way(installations.BASE, "resident_bytes"),
        65.0,
        form="{:g} MB",
    ),
    Target(
        "memory of `kws listen` at its most, without ONNX Runtime",
        "installations",
        _way(installations.TFLITE_ALONE, "resident_bytes"),
        45.0,
        form="{:g} MB",
    ),
    Target("peak memory of a process that listens", "streaming", _peak_mb, 90.0, form="{:g} MB"),
    Target(
        "32 detectors / a pool of 32 in ONNX Runtime, processor time",
        "growth",
        _pool,
        3.0,
        at_most=False,
        form="{:g}",
    ),
)


def rows(results: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """What, limit, measured and met, for a table; without what was not measured."""
    for target in TARGETS:
        if target.result not in results:
            continue
        try:
            measured = target.measure(results[target.result]["figures"])
        except KeyError:  # measured without a peer that was not installed
            continue
        if measured is not None:
            kind = "at most" if target.at_most else "at least"
            limit = f"{kind} {target.form.format(target.limit)}"
            yield target.text, limit, measured.text, _met(target, measured)


def _met(target: Target, measured: Measured) -> str:
    """Yes and no where the whole interval lies on one side of the limit."""
    near, far = (measured.low, measured.high) if target.at_most else (-measured.high, -measured.low)
    limit = target.limit if target.at_most else -target.limit
    if far <= limit:
        return "yes"
    return "no" if near > limit else "not shown"
