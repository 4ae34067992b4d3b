"""The real capture path, from the sound system through PortAudio, on a microphone made of software.

A PulseAudio server of our own, apart from any that runs here, has one loudspeaker that leads
nowhere; what is played to it comes from the default microphone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.audio import AudioFile
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING, SPOKEN

PROGRAMS = ("pulseaudio", "pactl", "paplay")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
PLUGIN = "alsa-lib/libasound_module_pcm_pulse.so"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="PulseAudio stands in on Linux only"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(
        not list(Path("/usr/lib").glob(f"*/{PLUGIN}")), reason="no libasound2-plugins"
    ),
]


@dataclass
class Sound:
    """A sound server and the environment that leads to it."""

    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """Run a program against the server and return what it printed."""
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def wait_for(self, text: str, *command: str) -> None:
        """Until the program prints the text."""
        for _ in range(200):
            try:
                if text in self.run(*command):
                    return
            except subprocess.CalledProcessError:
                pass  # the server is not up yet
            time.sleep(0.05)
        pytest.fail(f"{' '.join(command)} never printed {text!r}")

    def listen(self) -> subprocess.Popen[str]:
        """`kws listen --json-plain` on the default microphone, once it records."""
        process = subprocess.Popen(
            [sys.executable, "-m", "kws", "listen", "--json-plain"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.wait_for("Source Output", "pactl", "list", "source-outputs")
        except BaseException:
            process.kill()
            sys.stderr.write(process.communicate()[1])
            raise
        return process


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[Sound]:
    """A server with the sink `vmic`, whose monitor is the default source."""
    (tmp_path / "asound.conf").write_text(
        "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n"
    )
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PULSE")},
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "PULSE_SERVER": f"unix:{tmp_path}/native",
        "ALSA_CONFIG_PATH": str(tmp_path / "asound.conf"),
    }
    server = subprocess.Popen(
        [
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
            *("-L", f"module-native-protocol-unix auth-anonymous=1 socket={tmp_path}/native"),
            *("-L", "module-null-sink sink_name=vmic"),
        ],
        env={key: value for key, value in environment.items() if key != "PULSE_SERVER"},
        stderr=subprocess.DEVNULL,
    )
    try:
        sound = Sound(environment)
        sound.wait_for("vmic.monitor", "pactl", "list", "short", "sources")
        sound.run("pactl", "set-default-source", "vmic.monitor")
        yield sound
    finally:
        server.terminate()
        server.wait(timeout=10)


def test_what_is_played_is_spotted(sound: Sound, tmp_path: Path) -> None:
    """The beginning of the demonstration, played aloud, gives its commands; Ctrl-C ends with 0."""
    spoken = [e for e in json.loads(SPOKEN.read_text(encoding="utf-8")) if e["end"] < 8.0]
    audio = np.concatenate(list(AudioFile(RECORDING)))[: 9 * SAMPLE_RATE]
    soundfile.write(tmp_path / "demo.wav", audio, SAMPLE_RATE)
    process = sound.listen()
    sound.run("paplay", "--device=vmic", str(tmp_path / "demo.wav"))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors
    detected = [json.loads(line)["keyword"] for line in output.splitlines()]
    expected = [entry["word"] for entry in spoken]
    assert len(detected) >= 3
    assert detected == [word for word in expected if word in detected]


def test_muted_then_unplugged(sound: Sound) -> None:
    """A silent device is called muted; one that goes away is an error with the next step."""
    process = sound.listen()
    assert process.stderr is not None
    assert "delivers only zeros" in process.stderr.readline()
    sound.run("pactl", "unload-module", "module-null-sink")
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == ""
    assert "has stopped delivering audio" in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_devices(sound: Sound) -> None:
    """`kws devices` lists the microphone and marks it as the default."""
    listed = sound.run(sys.executable, "-m", "kws", "devices")
    assert any(line.startswith("*") and "default" in line for line in listed.splitlines())
