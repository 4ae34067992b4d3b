"""The first run of a network that did not come with kws: in a process of its own, with limits.

A runtime can crash on a file, run for ever or take all memory, and take the program along. So a
network is first loaded and run in a child process. What it does there is told as a ModelError; a
network that passed is trusted by its hash as long as the program runs. Nothing is kept on the disk.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kws.errors import BackendUnavailable, ModelError, exit_name
from kws.model.files import sha256
from kws.model.runtimes import import_onnxruntime, import_tflite, open_backend
from kws.model.streaming import OnnxStream, OnnxStreamGraph, TfliteStream
from kws.text import printable

logger = logging.getLogger(__name__)

SECONDS = 5  # of processor time for a network of up to a megabyte, and as many more a megabyte
WAIT_SECONDS = 120  # until the process has to be done, however busy the machine is
MEMORY = 1 << 30  # bytes that it may take beside 16 times the file

_tried: set[str] = set()


@dataclass(frozen=True)
class Trial:
    """What is tried of a network: which kind of graph, on features of which shape."""

    graph: str  # "window" or "stream"
    form: str  # "onnx" or "tflite"
    frames: int  # of one second
    width: int  # numbers a frame
    steps: int  # rows that a call of a stream in TFLite gives


def try_first(content: bytes, trial: Trial) -> None:
    """Raise ModelError unless the network runs in a process of its own; once for each content.

    Where the runtime is missing nothing is tried. Nothing can be loaded then either, but by the
    native kernel, which takes networks of one known form only.
    """
    key = sha256(repr(trial).encode() + content)
    if key in _tried:
        return
    if getattr(sys, "frozen", False) or not sys.executable:
        logger.warning(
            "this program holds no Python that could try the network in a process of its own; "
            "load only networks from sources that you trust"
        )
        return
    _check_outcome(*_run_child(content, trial), len(content))
    _tried.add(key)


# The child finds modules where its parent does, and nowhere else: not in the working folder.
_CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from kws.model.trial import main
main()
"""


def _run_child(content: bytes, trial: Trial) -> tuple[int, bytes]:
    """The child's exit code and what it reported."""
    places = json.dumps([os.path.abspath(place) for place in sys.path])
    header = json.dumps([asdict(trial), _seconds(len(content))]).encode() + b"\n"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-B", "-c", _CHILD, places],
            input=header + content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=WAIT_SECONDS,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired:
        raise ModelError(_too_long(WAIT_SECONDS, "of waiting")) from None
    except OSError as error:
        raise ModelError(
            f"cannot start a process to try the network in ({error.strerror}); "
            "end other programs and try again"
        ) from error
    return done.returncode, done.stdout


def _check_outcome(code: int, report: bytes, size: int) -> None:
    try:
        outcome: dict[str, str] = json.loads(report.splitlines()[-1])
    except (ValueError, IndexError):
        outcome = {}
    if "error" in outcome:
        raise ModelError(outcome["error"])
    if outcome:
        return
    name = exit_name(code)
    if name == "SIGXCPU":
        raise ModelError(_too_long(_seconds(size), "of processor time"))
    raise ModelError(
        f"the runtime crashed on it ({name}) in a trial run: the file is damaged or made to do "
        "harm; export it again, or take it from another source"
    )


def _too_long(seconds: int, of_what: str) -> str:
    return (
        f"a second of audio took more than {seconds} s {of_what} in a trial run; "
        "this is no network for real-time use"
    )


def _seconds(size: int) -> int:
    return SECONDS * (1 + (size >> 20))


def main() -> None:
    """The child: read a trial and a network from standard input, report to standard output."""
    report = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what a runtime prints is no report
    header, _, content = sys.stdin.buffer.read().partition(b"\n")
    what, seconds = json.loads(header)
    trial = Trial(**what)
    outcome: dict[str, str] = {"done": "it runs"}
    try:
        import_onnxruntime() if trial.form == "onnx" else import_tflite()
        _limit(len(content), seconds)
        _run(content, trial)
    except BackendUnavailable as error:
        outcome = {"unavailable": str(error)}
    except ModelError as error:
        outcome = {"error": str(error)}
    except MemoryError:
        outcome = {"error": f"it needs more than {MEMORY >> 20} MB of memory in a trial run"}
    except Exception as error:  # whatever a runtime raises
        outcome = {"error": printable(f"it does not run: {error}")[:300]}
    os.write(report, json.dumps(outcome).encode() + b"\n")
    # Without the runtime's own end, which may fail on what is left of the network.
    os._exit(0)


def _limit(size: int, seconds: int) -> None:
    """Leave so many seconds of processor time, some memory and no files, on systems that can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds += int(used.ru_utime + used.ru_stime) + 1
    limits = [(resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)]
    status = Path("/proc/self/statm")
    if status.exists():
        taken = int(status.read_text().split()[0]) * resource.getpagesize()
        limits.append((resource.RLIMIT_AS, taken + MEMORY + 16 * size))
    for what, most in limits:
        _, ceiling = resource.getrlimit(what)
        if ceiling != resource.RLIM_INFINITY:
            most = min(most, ceiling)
        resource.setrlimit(what, (most, ceiling))


def _run(content: bytes, trial: Trial) -> None:
    """Load the network and run it on silence, on noise and on what no microphone delivers."""
    generator = np.random.default_rng(0)
    shape = (trial.frames, trial.width)
    seconds = [
        np.zeros(shape, np.float32),
        generator.uniform(0.0, 15.0, shape).astype(np.float32),
        generator.normal(0.0, 100.0, shape).astype(np.float32),
    ]
    if trial.graph == "window":
        backend = open_backend(trial.form, content)
        for features in seconds:
            backend.run(features[None])
        backend.run(np.stack(seconds))
        return
    stream: Any
    if trial.form == "onnx":
        stream = OnnxStream(OnnxStreamGraph(content, "cpu", trial.frames, trial.width))
    else:
        stream = TfliteStream(content, trial.steps, trial.frames, trial.width)
    for features in seconds:
        for first in range(0, trial.frames - stream.frames + 1, stream.frames):
            stream.posteriors(features[first : first + stream.frames])
