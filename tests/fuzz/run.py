"""`make fuzz MINUTES=60`: every target for so long, the counts into a file, findings beside it."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from fuzzing import Target, fuzz  # noqa: E402

from benchmarks.results import write_result  # noqa: E402


def targets() -> dict[str, Target]:
    """All of them, by name, from the files beside this one."""
    found = sorted(Path(__file__).parent.glob("targets_*.py"))
    modules = [importlib.import_module(path.stem) for path in found]
    return {target.name: target for module in modules for target in module.TARGETS}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="targets (default: all)")
    parser.add_argument("--minutes", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "fuzz.json")
    parser.add_argument("--findings", type=Path, default=ROOT / "build" / "fuzz")
    options = parser.parse_args(arguments)
    known = targets()
    if unknown := set(options.names) - set(known):
        parser.error(f"the targets are {', '.join(known)}, not {', '.join(unknown)}")
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    found = False
    for name in options.names or known:
        result = fuzz(known[name], seed, seconds=60 * options.minutes, keep=options.findings)
        figures = read_figures(options.out)
        figures["targets"][name] = {
            "inputs": result.inputs,
            **result.outcomes,
            "findings": len(result.findings),
            "minutes": round(result.seconds / 60, 1),
            "seed": f"{seed:08x}",
        }
        write_result(options.out, f"make fuzz MINUTES={options.minutes:g}", figures)
        print(f"{name}: {result.inputs} inputs, {result.outcomes}, {len(result.findings)} findings")
        for finding in result.findings[:3]:
            print(finding)
        found |= bool(result.findings)
    return int(found)


def read_figures(path: Path) -> dict[str, Any]:
    """What is kept of the targets that were run before."""
    if not path.exists():
        return {"targets": {}}
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return figures


if __name__ == "__main__":
    sys.exit(main())
