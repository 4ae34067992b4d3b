"""What counted instructions come to on a Raspberry Pi: a range, since instructions are no time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.text import table

SLOW = 0.5  # instructions per cycle where a program waits for memory half of the time or more


@dataclass(frozen=True)
class Board:
    """One core of a board, as its makers state it."""

    name: str
    megahertz: int
    core: str
    width: int  # instructions that the core can take in per cycle, by Arm's description


BOARDS = (
    Board("Pi Zero 2 W", 1000, "Cortex-A53", 2),
    Board("Pi 4", 1800, "Cortex-A72", 3),
    Board("Pi 5", 2400, "Cortex-A76", 4),
)
LEAST = 1.0  # million instructions per second, by which two runs of the same may differ
WIDTHS = ", ".join(f"{board.core} {board.width}" for board in BOARDS)
CLOCKS = ", ".join(f"{board.megahertz / 1000:g}" for board in BOARDS)
NOTE = (
    "Instructions are no time. The range of a board goes from its core's width (instructions per "
    f"cycle that it can take in: {WIDTHS}), which no program reaches, to {SLOW} per cycle, as of a "
    f"program that often waits for memory, at clocks of {CLOCKS} GHz. Computed, not measured on a "
    "board."
)


def share_range(millions: float, board: Board) -> tuple[float, float]:
    """The least and the most of one core that so many millions of instructions a second take."""
    return millions / (board.megahertz * board.width), millions / (board.megahertz * SLOW)


def instruction_tables(machines: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """For each emulated machine: millions of instructions per second of audio, and the boards."""
    for machine, spotters in machines.items():
        yield f"## Instructions on {machine}"
        yield NOTE
        for kind in ("speech", "silence"):
            rows = []
            for spotter, counted in spotters.items():
                value = max(counted[kind], LEAST)
                shares = [share_range(value, board) for board in BOARDS]
                if counted[kind] < LEAST:
                    texts = [f"under {LEAST:.0f}", *(f"under {high:.1%}" for _, high in shares)]
                else:
                    texts = [f"{value:.1f}", *(f"{low:.1%} to {high:.1%}" for low, high in shares)]
                rows.append((spotter, *texts))
            names = [f"{board.name}, share of a core" for board in BOARDS]
            yield table((kind, "million instructions per second", *names), rows)
