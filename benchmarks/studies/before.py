"""`python -m benchmarks.studies.before REVISION`: the detector's processor time beside an earlier
commit's.

Both run the default model of their own tree, each in a process, on the same audio, and take turns
every few seconds of it: the ratios are paired by round. pymicro-wakeword runs in the same rounds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.environments import EnvironmentFailed
from benchmarks.product.peers import PEERS, Peer, Running, processor_time, timed_audio, write_raw
from benchmarks.program import keep, program
from benchmarks.results import ROOT
from benchmarks.timed import add_rounds
from kws.errors import KwsError

ARTEFACT = "stream.onnx"
SPOTTERS = {"with verifier": "kws", "without verifier": "kws without verifier"}


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """A folder with the tree of another commit."""
    with tempfile.TemporaryDirectory() as folder:
        tree = str(Path(folder) / "tree")
        _git("worktree", "add", "--quiet", "--detach", tree, revision)
        try:
            yield Path(tree)
        finally:
            _git("worktree", "remove", "--force", tree)


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise KwsError(done.stderr.strip() or "git failed")


def measure(revision: str, data: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Processor time by kind of audio, with and without verifier; the earlier tree comes first."""
    figures: dict[str, Any] = {"before": revision, "not_run": {}}
    pymicro = next(each for each in PEERS if each.spotter == "pymicro-wakeword")
    with ExitStack() as stack:
        before = stack.enter_context(checked_out(revision))
        files = write_raw(before.parent, timed_audio(data, seconds))
        try:
            others = [stack.enter_context(closing(Running(pymicro)))]
        except EnvironmentFailed as error:
            figures["not_run"][pymicro.name] = str(error)
            others = []
        for name, spotter in SPOTTERS.items():
            ours = [
                Peer("before", spotter, ARTEFACT, root=before),
                Peer("after", spotter, ARTEFACT),
            ]
            running = [stack.enter_context(closing(Running(each))) for each in ours]
            figures[name] = processor_time([*running, *others], files, rounds)
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("studies.before", __doc__)
    parser.add_argument("revision", help="of git, such as v0.1 or HEAD~5")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each kind of audio")
    add_rounds(parser, 41)
    return keep(
        parser,
        arguments,
        lambda given: measure(given.revision, given.data, given.seconds, given.rounds),
    )


if __name__ == "__main__":
    sys.exit(main())
