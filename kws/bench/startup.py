"""`python -m kws.bench.startup MANIFEST ARTEFACT PROVIDER`: one cold start, as JSON.

A process of its own, because imports are paid once and peak memory never comes down.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kws.errors import KwsError


def cold_start(manifest: Path, artefact: str, provider: str) -> dict[str, Any]:
    """Seconds to import, to load, and to the end of the first second of audio; peak bytes.

    Raises KwsError where the process fails.
    """
    command = [sys.executable, "-m", __name__, str(manifest), artefact, provider]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise KwsError(f"a fresh process could not load {artefact} on {provider}: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak_memory() -> int | None:
    """The most memory that this process has held, in bytes; None where the system hides it."""
    try:
        # Unlike ru_maxrss, this does not begin with what the parent process held.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next(1024 * int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _main() -> None:
    manifest, artefact, provider = sys.argv[1:]
    begin = time.perf_counter()
    import numpy as np

    from kws.detector import Detector
    from kws.model.load import load_model

    imported = time.perf_counter()
    model = load_model(manifest, artefact=artefact, provider=provider)
    loaded = time.perf_counter()
    Detector(model, vad=False).process(np.zeros(16_000, np.int16))
    processed = time.perf_counter()
    found = {
        "import_s": imported - begin,
        "load_s": loaded - imported,
        "first_second_s": processed - loaded,
        "peak_bytes": peak_memory(),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    _main()
