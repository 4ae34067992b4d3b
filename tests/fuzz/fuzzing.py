"""A fuzzer for whatever reads files: change inputs at random, and look for what must not happen.

A target has inputs to begin with, a way to change one and a way to run one. Running ends in one of
OUTCOMES; any exception but KwsError is a finding, as is an input that takes more than SLOW of the
processor, children included. The run is repeated exactly by its seed, but for targets whose run
depends on time.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kws.errors import KwsError

OUTCOMES = ("refused", "ran", "stopped")  # stopped: its child process died, as it is there for
SLOW = 60.0  # seconds

# Numbers at which programs err.
EDGES = (0, 1, -1, 2, 127, 128, 255, 256, 32_767, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, -(2**31),
         2**32 - 1, 2**32, 2**62, 2**63 - 1, -(2**63))  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Something that reads files."""

    name: str
    seeds: Callable[[], Sequence[bytes]]  # inputs to begin with
    run: Callable[[bytes], str]  # one of OUTCOMES, or KwsError where the input is refused
    # Changes an input in a way of its own; what changes bytes is used as well.
    change: Callable[[bytes, random.Random], bytes] | None = None
    # What is fuzzed: modules of kws, of which each leads to what it imports, and other files.
    modules: Sequence[str] = ()
    files: Sequence[str] = ()  # patterns, from the root of the repository


@dataclass
class Result:
    """What came of a run."""

    inputs: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    findings: list[str] = field(default_factory=list)  # a traceback each
    seconds: float = 0.0
    processor: float = 0.0  # seconds


def processor_seconds() -> float:
    """What this process and its children that have ended took."""
    return sum(os.times()[:4])


def change_bytes(content: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, set to edges, taken out, repeated or moved; a part cut off."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        if not changed:
            return bytes(draw.randbytes(draw.randrange(64)))
        # What describes a file lies at its beginning and its end more often than in its middle.
        near = min(len(changed), draw.choice((64, 1024, len(changed))))
        at = draw.randrange(near)
        at = at if draw.random() < 0.7 else len(changed) - 1 - at
        kind = draw.randrange(7)
        if kind == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[at] = draw.randrange(256)
        elif kind == 2:
            size = draw.choice((1, 2, 4, 8))
            value = draw.choice(EDGES) % (1 << 8 * size)
            changed[at : at + size] = value.to_bytes(size, draw.choice(("little", "big")))
        elif kind == 3:
            del changed[at : at + draw.choice((1, 2, 4, 100))]
        elif kind == 4:
            changed[at:at] = changed[at : at + draw.choice((1, 4, 100))]
        elif kind == 5:
            other = draw.randrange(len(changed))
            changed[at : at + 16] = changed[other : other + 16]
        else:
            del changed[at + 1 :]
    return bytes(changed)


def fuzz(
    target: Target,
    seed: int,
    *,
    inputs: int | None = None,
    seconds: float | None = None,
    keep: Path | None = None,
) -> Result:
    """Run a target on so many inputs, or for so long and at least on one; findings are kept in a
    folder."""
    draw = random.Random(f"{target.name} {seed}")
    result, begun, spent = Result(), time.monotonic(), processor_seconds()
    seeds = list(target.seeds())
    for content in seeds:
        target.run(content)  # an input to begin with that is refused would show nothing
    while (inputs is None or result.inputs < inputs) and (
        seconds is None or not result.inputs or time.monotonic() - begun < seconds
    ):
        content = draw.choice(seeds)
        if target.change is not None and draw.random() < 0.7:
            content = target.change(content, draw)
        if target.change is None or draw.random() < 0.4:
            content = change_bytes(content, draw)
        started = processor_seconds()
        try:
            outcome = target.run(content)
        except KwsError:
            outcome = "refused"
        except Exception:
            outcome = "refused"
            _found(result, f"{target.name}-{seed:08x}", content, traceback.format_exc(), keep)
        if processor_seconds() - started > SLOW:
            slow = f"took more than {SLOW} s of the processor"
            _found(result, f"{target.name}-{seed:08x}", content, slow, keep)
        result.inputs += 1
        result.outcomes[outcome] += 1
    result.seconds, result.processor = time.monotonic() - begun, processor_seconds() - spent
    return result


def _found(result: Result, run: str, content: bytes, what: str, keep: Path | None) -> None:
    result.findings.append(what)
    if keep is not None:
        with contextlib.suppress(OSError):
            keep.mkdir(parents=True, exist_ok=True)
            name = f"{run}-{len(result.findings)}"
            (keep / f"{name}.input").write_bytes(content)
            (keep / f"{name}.txt").write_text(what, encoding="utf-8")
