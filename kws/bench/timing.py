"""Timing that survives a busy machine: alternating rounds, medians, and a verdict on the noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

QUANTILES = (5, 25, 50, 75, 95, 99)  # percent
NOISY_SPREAD = 0.10  # of the medians of the rounds: beyond it, small differences mean nothing
NOISY_WAITING = 0.10  # share of the time in which the processor served somebody else

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Timing:
    """The duration of one call, in seconds, over all rounds."""

    quantiles: dict[int, float]  # by percent, those of QUANTILES
    cpu: float  # processor time per call, median of the rounds
    spread: float  # of the rounds' medians: (largest - smallest) / median
    waiting: float  # share of the wall time in which this process did not run
    calls: int
    medians: tuple[float, ...]  # of each round
    cpus: tuple[float, ...]  # processor time per call, of each round

    @property
    def p50(self) -> float:
        """The median, in seconds."""
        return self.quantiles[50]


@dataclass(frozen=True)
class Round:
    """One round of calls of one candidate."""

    durations: tuple[float, ...]  # s, of each call
    cpu: float  # s of processor time per call

    @property
    def median(self) -> float:
        """Of the durations, s."""
        return float(np.median(self.durations))


def time_calls(call: Callable[[], object], calls: int) -> Round:
    """Call so many times and time each; one more call before them warms up."""
    call()
    durations = []
    cpu = time.process_time()
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        durations.append(time.perf_counter() - begin)
    return Round(tuple(durations), (time.process_time() - cpu) / calls)


def alternate(
    candidates: Mapping[Key, Callable[[], Result]], rounds: int
) -> dict[Key, list[Result]]:
    """What each candidate returns in each round.

    All of them run in every round, and every round begins with another one, so that whatever
    disturbs the machine for a while disturbs all alike.
    """
    names = list(candidates)
    results: dict[Key, list[Result]] = {name: [] for name in names}
    for index in range(rounds):
        turn = index % max(1, len(names))
        for name in names[turn:] + names[:turn]:
            results[name].append(candidates[name]())
    return results


def summarise(rounds: Sequence[Round]) -> Timing:
    """The rounds of one candidate as one timing."""
    durations = np.concatenate([each.durations for each in rounds])
    total = float(durations.sum())
    medians, cpus = (tuple(each.median for each in rounds), tuple(each.cpu for each in rounds))
    cpu = sum(each.cpu * len(each.durations) for each in rounds)
    return Timing(
        quantiles={q: float(np.percentile(durations, q)) for q in QUANTILES},
        cpu=float(np.median(cpus)),
        spread=spread(medians),
        waiting=max(0.0, 1.0 - cpu / total) if total > 0.0 else 0.0,
        calls=len(durations),
        medians=medians,
        cpus=cpus,
    )


def compare(
    candidates: Mapping[Key, Callable[[], object]], rounds: int, calls: int
) -> dict[Key, Timing]:
    """Time the candidates in alternating rounds of so many calls each."""

    def timed(call: Callable[[], object]) -> Callable[[], Round]:
        return lambda: time_calls(call, calls)

    found = alternate({name: timed(call) for name, call in candidates.items()}, rounds)
    return {name: summarise(each) for name, each in found.items()}


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median; 0.0 of fewer than two values."""
    median = float(np.median(values)) if len(values) > 1 else 0.0
    return (max(values) - min(values)) / median if median > 0.0 else 0.0
