"""`python -m benchmarks.product.container`: build the container, try it, weigh it.

It needs docker or podman. The words are detected without a network and by a user without rights.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.environments import EnvironmentFailed
from benchmarks.program import keep, program
from benchmarks.results import ROOT
from kws.config import KEYWORDS
from kws.demo import SPOKEN

BUILDERS = ("docker", "podman")
FILE = ROOT / "docs" / "service" / "Containerfile"
IMAGE = "kws-measured"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.container", __doc__, recordings=False)
    parser.add_argument("--debian", help="the image to build on (default: the file's)")
    return keep(parser, arguments, lambda given: measure(given.debian))


def measure(debian: str | None) -> dict[str, Any]:
    """The image's size and the words it detects; raises EnvironmentFailed where it cannot."""
    builder = next((name for name in BUILDERS if shutil.which(name)), None)
    if builder is None:
        raise EnvironmentFailed(f"none of {', '.join(BUILDERS)} is installed")
    base = ["--build-arg", f"DEBIAN={debian}"] if debian else []
    run([builder, "build", *base, "--file", str(FILE), "--tag", IMAGE, str(ROOT)])
    inside = [builder, "run", "--rm", "--network", "none"]
    identity = run([*inside, "--entrypoint", "id", IMAGE]).strip()
    said = run([*inside, IMAGE, "listen", "--demo", "--json-plain"])
    found = [json.loads(line)["keyword"] for line in said.splitlines()]
    spoken = [each["word"] for each in json.loads(SPOKEN.read_text(encoding="utf-8"))]
    if found != [word for word in spoken if word in KEYWORDS]:
        raise EnvironmentFailed(f"the container detects {found} in the demonstration")
    size = run([builder, "image", "inspect", "--format", "{{.Size}}", IMAGE])
    return {"image_bytes": int(size), "detected": found, "user": identity}


def run(command: Sequence[str]) -> str:
    """What a command prints; raises EnvironmentFailed with its last line."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise EnvironmentFailed(f"{' '.join(command[:2])}: {last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
