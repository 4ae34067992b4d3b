"""`python -m benchmarks.product.soak`: the microphone loop for half an hour of real time.

`kws listen` records from a virtual microphone, which plays the demonstration over and over. Every
few minutes something happens to it: it stands still, its sound server is killed and restarted. It
fails, with exit code 1, where the program ends, stops detecting, or where its memory grows.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.sound_server import SoundServer, missing, sound_server
from kws.audio import AudioFile
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING

KINDS = 2  # of disturbances; once each has come, memory has to be flat
GROWTH = 0.03  # share of the most memory until then that it may grow by
QUIET = 120.0  # s without a detection, though words are played, mean that it has failed
EVERY = 120.0  # s between two disturbances


def resident_bytes(pid: int) -> int:
    """Memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class Soak:
    """The program under test and what it has printed."""

    def __init__(self, sound: SoundServer) -> None:
        self.sound = sound
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kws", "listen", "--json"],
            env=sound.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.counts: dict[str, int] = {}
        self.last_detection = time.monotonic()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._read, self._play)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                event = json.loads(line)["event"]
                self.counts[event] = self.counts.get(event, 0) + 1
                if event == "detection":
                    self.last_detection = time.monotonic()

    def _play(self) -> None:
        path = self.sound.folder / "demonstration.wav"
        soundfile.write(path, np.concatenate(list(AudioFile(RECORDING))), SAMPLE_RATE)
        while not self._over.wait(1.0):  # the server may be away
            with subprocess.Popen(
                ["paplay", "--device=vmic", str(path)],
                env=self.sound.environment,
                stderr=subprocess.DEVNULL,
            ) as player:
                while player.poll() is None and not self._over.wait(0.2):
                    pass
                player.kill()

    def disturb(self, number: int) -> str:
        """Do one of the things that happen to a microphone; returns which."""
        if number % 2:
            self.sound.kill()
            time.sleep(3.0)
            self.sound.start()
            return "sound server restarted"
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(5.0)
        self.process.send_signal(signal.SIGCONT)
        return "stood still for 5 s"

    def end(self) -> int:
        """Stop everything; returns the program's exit code."""
        self._over.set()
        self.process.terminate()
        try:
            return self.process.wait(timeout=30)
        finally:
            self.process.kill()
            for thread in self._threads:
                thread.join()


def run(sound: SoundServer, seconds: float) -> str:
    """Listen for so long; returns what went wrong, or nothing."""
    soak = Soak(sound)
    try:
        problem = _watch(soak, seconds)
    finally:
        code = soak.end()
    print(f"{seconds:5.0f} s  {soak.counts}")
    if problem or code == 0:
        return problem
    return f"it ended with exit code {code} on SIGTERM"


def _watch(soak: Soak, seconds: float) -> str:
    begin = time.monotonic()
    settled = 0  # bytes
    disturbed = 0
    while (passed := time.monotonic() - begin) < seconds:
        time.sleep(1.0)
        if soak.process.poll() is not None:
            return f"it ended with {soak.process.returncode} after {passed:.0f} s"
        if time.monotonic() - soak.last_detection > QUIET:
            return f"nothing was detected for {QUIET:.0f} s"
        if passed > (disturbed + 1) * EVERY and "ready" in soak.counts:
            resident = resident_bytes(soak.process.pid)
            print(f"{passed:5.0f} s  {resident / 1e6:.1f} MB  {soak.counts}", end="  ", flush=True)
            if disturbed <= KINDS:
                settled = max(settled, resident)
            elif resident > settled * (1 + GROWTH):
                return f"its memory grew from {settled / 1e6:.1f} to {resident / 1e6:.1f} MB"
            disturbed += 1
            print(soak.disturb(disturbed), flush=True)
    return ""


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    if missing():
        parser.error(missing())
    with tempfile.TemporaryDirectory() as folder, sound_server(Path(folder)) as sound:
        problem = run(sound, 60 * options.minutes)
    print(problem or "nothing went wrong")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
