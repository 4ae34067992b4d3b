"""`python -m benchmarks.product.listening`: what the whole program takes while it listens.

`kws listen`, without and with its live view, and pymicro-wakeword in the same kind of loop record
from one virtual microphone at the same time, which is silent and talks in turn, the same in each
round. Their processor time, all threads, is a share of one core; each stands beside its ratio to
the plain program, and its difference from that, both paired by round. Start-up is the time from
the start of the process to the first block of audio, beside that of the barest program that
records. Of two reactions the longest counts: until a loop ends that another thread closes, and
until a microphone that was plugged in again is recorded from.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from benchmarks.environments import EnvironmentFailed, environment
from benchmarks.product.peers import speech_stream
from benchmarks.program import keep, program
from benchmarks.results import ROOT
from benchmarks.sound_server import RATE, SoundServer, Written, missing, sound_server
from benchmarks.timed import FEWEST, add_rounds, timed, timed_difference, timed_ratio, timed_text
from kws.audio.capture import BLOCK_MS
from kws.config import SAMPLE_RATE
from kws.errors import KwsError

OURS = "kws listen"
VIEW = "kws listen with live view"
PEER = "pymicro-wakeword, one wake word"
PEER_PACKAGES = ("pymicro-wakeword==2.5.0", "sounddevice>=0.5")
WARM_UP = 8.0  # s

# The same kind of loop around one wake word: blocks of 80 ms from PortAudio's callback.
PEER_LOOP = """
import queue, sounddevice
from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model
word, features = MicroWakeWord.from_builtin(Model.OKAY_NABU), MicroWakeWordFeatures()
blocks = queue.Queue()
with sounddevice.RawInputStream(
    samplerate=16000, blocksize=1280, channels=1, dtype="int16",
    callback=lambda data, *_: blocks.put(bytes(data)),
):
    while True:
        for each in features.process_streaming(blocks.get()):
            if word.process_streaming(each):
                print("okay nabu", flush=True)
"""

# The barest program: what Python, PortAudio and the sound server need until audio comes.
BAREST = """
import threading, sounddevice
came = threading.Event()
with sounddevice.RawInputStream(callback=lambda *_: came.set()):
    came.wait()
"""


# How long loops go on that another thread closes, each at another moment of a block.
CLOSED = """
import json, sys, threading, time
from kws.audio import Microphone
took, rounds = [], int(sys.argv[1])
for number in range(rounds):
    microphone = Microphone()
    blocks = iter(microphone)
    next(blocks)
    def close():
        time.sleep(0.1 + 0.08 * number / rounds)
        took.append(-time.monotonic())
        microphone.close()
    thread = threading.Thread(target=close)
    thread.start()
    for _ in blocks:
        pass
    took[-1] += time.monotonic()
    thread.join()
print(json.dumps(took))
"""


def processor_seconds(pid: int) -> float:
    """Processor time of all threads of a process so far, exact to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


@contextmanager
def running(command: list[str], sound: SoundServer, terminal: bool) -> Iterator[int]:
    """A program, by its process number, whose output is read and thrown away."""
    reading, writing = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        command,
        env={**sound.environment, "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    os.close(writing)
    threading.Thread(target=_drain, args=(reading,), daemon=True).start()
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:  # the terminal's other end was closed
        pass
    os.close(descriptor)


def processor_time(
    sound: SoundServer, talk: Callable[[float], None], rounds: int, seconds: float
) -> dict[str, Any]:
    """Each program's share of a core, in silence and in talk."""
    listen = [sys.executable, "-m", "kws", "listen"]
    programs = {OURS: ([*listen, "--json"], False), VIEW: (listen, True)}
    not_run = {}
    try:
        python = environment("pymicro-wakeword-microphone", PEER_PACKAGES)
        programs[PEER] = ([str(python), "-c", PEER_LOOP], False)
    except EnvironmentFailed as error:
        not_run[PEER] = str(error)
    shares: dict[str, dict[str, list[float]]] = {
        name: {"silence": [], "talk": []} for name in programs
    }
    with ExitStack() as stack:
        pids = {
            name: stack.enter_context(running(command, sound, terminal))
            for name, (command, terminal) in programs.items()
        }
        time.sleep(WARM_UP)
        for _ in range(rounds):
            for kind in ("silence", "talk"):
                if kind == "talk":
                    talk(seconds + 1.0)
                time.sleep(0.5)
                before = {name: processor_seconds(pid) for name, pid in pids.items()}
                begin = time.monotonic()
                time.sleep(seconds)
                for name, pid in pids.items():
                    taken = processor_seconds(pid) - before[name]
                    shares[name][kind].append(taken / (time.monotonic() - begin))
                if kind == "talk":
                    time.sleep(1.5)  # until it has ended, and the gate has closed
    rows = {
        name: {kind: _beside(values, shares[OURS][kind]) for kind, values in kinds.items()}
        for name, kinds in shares.items()
    }
    return {"paired_processor_time": rows, "not_run": not_run}


def _beside(values: list[float], ours: list[float]) -> dict[str, Any]:
    """A program's shares of a core, round by round, beside those of the plain program."""
    row = {"share_of_a_core": timed(values), "relative_processor_time": timed_ratio(values, ours)}
    if values is not ours:
        row["difference"] = timed_difference(values, ours)
    return row


def start_up(sound: SoundServer, starts: int) -> dict[str, Any]:
    """Seconds from the start of a process to its first block of audio.

    Of one start more, the first, which compiles modules and fills the disk's cache.
    """
    ours, barest = [], []
    for _ in range(starts + 1):
        begin = time.monotonic()
        process = sound.start_program("-m", "kws", "listen", "--json")
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr:
            event = json.loads(process.stdout.readline())["event"]
            ours.append(time.monotonic() - begin)
            process.terminate()
            process.wait()
        if event != "ready":
            raise KwsError(f"kws listen began with {event!r}; expected 'ready'")
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", BAREST], env=sound.environment, check=True)
        barest.append(time.monotonic() - begin)
    ours, barest = ours[1:], barest[1:]
    return {
        "kws listen": timed(ours),
        "the barest program": timed(barest),
        "difference": timed_difference(ours, barest),
    }


def reactions(sound: SoundServer, rounds: int) -> dict[str, Any]:
    """Seconds until a loop ends that is closed, and until a microphone is back."""
    closed = json.loads(sound.run(sys.executable, "-c", CLOSED, str(rounds)))
    back = []
    with sound.plugged_in("plugged", "Plugged"):
        process = sound.start_program("-m", "kws", "listen", "--json", "--device", "Plugged")
        _until(process, "ready")
    for _ in range(FEWEST):
        _until(process, "gone")
        time.sleep(1.0)
        begin = time.monotonic()
        with sound.plugged_in("plugged", "Plugged"):
            _until(process, "back")
            back.append(time.monotonic() - begin)
    process.terminate()
    process.communicate()
    return {"a loop ends that is closed": _longest(closed), "a microphone is back": _longest(back)}


def _until(process: subprocess.Popen[str], event: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == event:
            return
    raise KwsError(f"kws listen ended; expected {event!r}")


def _longest(values: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(values),
        "longest": max(values),
        "rounds": len(values),
    }


def speaker(microphone: Written, data: Path) -> Callable[[float], None]:
    """Plays so many seconds of talk without any of the words, each time from its beginning."""
    audio = speech_stream(data, 10.0).audio.astype(np.float32) / 32768
    talk = np.rint(soxr.resample(audio, SAMPLE_RATE, RATE) * 32000).astype(np.int16)
    return lambda seconds: microphone.play(talk[: round(seconds * RATE)])


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.listening", __doc__)
    add_rounds(parser, 21)
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="of silence and of talk a round (default: 8)"
    )
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    if missing():
        raise KwsError(missing())
    with (
        tempfile.TemporaryDirectory() as folder,
        sound_server(Path(folder)) as sound,
        sound.plugged_in("talker", "Talker", BLOCK_MS) as microphone,
    ):
        sound.run("pactl", "set-default-source", "talker")
        figures: dict[str, Any] = {"seconds_to_start": start_up(sound, options.rounds)}
        talk = speaker(microphone, options.data)
        figures["seconds_until"] = reactions(sound, options.rounds)
        figures |= processor_time(sound, talk, options.rounds, options.seconds)
    for name, row in figures["paired_processor_time"].items():
        shares = (f"{kind} {timed_text(row[kind]['share_of_a_core'], '{:.2%}')}" for kind in row)
        print(name, *shares, sep="; ")
    for name, row in figures["seconds_to_start"].items():
        print(name, timed_text(row, unit=" s"), sep="; ")
    return figures


if __name__ == "__main__":
    sys.exit(main())
