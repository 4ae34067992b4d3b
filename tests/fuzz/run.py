"""`make fuzz MINUTES=60`: every target for so long, the counts into a file, findings beside it.

What a target was fed before is added to, where what it fuzzes has not changed since: hours can be
run in several sittings, each stopped at any time, and at low priority (`nice make fuzz`).
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

import c_library  # noqa: E402
import counts  # noqa: E402
from fuzzing import Result, Target, fuzz  # noqa: E402

from kws import native  # noqa: E402

SLICE = 45.0  # seconds after which the counts are written
LONG_SLICE = 600.0  # ... of libFuzzer, which runs all of its corpus at the start of each


def targets() -> dict[str, Target]:
    """Those in Python, by name, from the files beside this one."""
    found = sorted(Path(__file__).parent.glob("targets_*.py"))
    modules = [importlib.import_module(path.stem) for path in found]
    return {target.name: target for module in modules for target in module.TARGETS}


def code() -> dict[str, str]:
    """The digest of what each target fuzzes, by name."""
    digests = {
        name: counts.digest(target.modules, target.files) for name, target in targets().items()
    }
    return digests | {c_library.NAME: counts.digest((), c_library.FILES)}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 1 where something was found."""
    known = [*targets(), c_library.NAME]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="targets (default: all)")
    parser.add_argument("--minutes", type=float, default=60.0, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="so many targets at a time")
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "fuzz.json")
    parser.add_argument("--findings", type=Path, default=ROOT / "build" / "fuzz")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(known):
        parser.error(f"the targets are {', '.join(known)}, not {', '.join(unknown)}")
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    sitting = Sitting(60 * options.minutes, options.out, options.findings, seed)
    with ThreadPoolExecutor(max_workers=max(1, options.jobs)) as pool:
        try:
            return int(not all(pool.map(partial(_in_process, sitting), options.names or known)))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            return 130


@dataclass(frozen=True)
class Sitting:
    """How long each target runs, and where what comes of it goes."""

    seconds: float
    out: Path
    findings: Path
    seed: int
    code: dict[str, str] = field(default_factory=code)
    parent: int = field(default_factory=os.getpid)


def _in_process(sitting: Sitting, name: str) -> bool:
    """Whether a target had no finding; it runs in a process of its own, whose death is one."""
    child = multiprocessing.get_context("spawn").Process(target=_sit, args=(sitting, name))
    child.start()
    child.join()
    if child.exitcode not in (0, 1):
        died = f"the process of the target ended with {child.exitcode}"
        print(f"{name}: {died}")
        counts.add(sitting.out, name, Result(findings=[died]), sitting.code)
    return child.exitcode == 0


def _sit(sitting: Sitting, name: str) -> None:
    """Fuzz one target as long as the parent lives, and write the counts slice by slice."""
    try:
        run = _runner(name, sitting.findings)
    except c_library.NoFuzzer as error:
        print(f"{name}: left out: {error}")
        return
    draw, begun, inputs, found = Random(f"{name} {sitting.seed}"), time.monotonic(), 0, 0
    most = LONG_SLICE if name == c_library.NAME else SLICE
    with suppress(KeyboardInterrupt):
        while (left := sitting.seconds - (time.monotonic() - begun)) > 0:
            if os.getppid() != sitting.parent:
                break
            seed = draw.getrandbits(32)
            result = run(seed=seed, seconds=min(left, most), keep=sitting.findings)
            counts.add(sitting.out, name, result, sitting.code)
            inputs, found = inputs + result.inputs, found + len(result.findings)
            for finding in result.findings[:3]:
                print(f"{name}: {finding}")
    print(f"{name}: {inputs} inputs, {found} findings", flush=True)
    sys.exit(bool(found))


def _runner(name: str, findings: Path) -> Callable[..., Result]:
    """What fuzzes a target."""
    if name == c_library.NAME:
        return partial(c_library.fuzz_c_library, c_library.build(findings))
    if name == "onnx" and native.library() is None:  # half of it would count as fuzzed
        raise c_library.NoFuzzer("expected the native kernel: python -m kws.native.build_backend")
    return partial(fuzz, targets()[name])


if __name__ == "__main__":
    sys.exit(main())
