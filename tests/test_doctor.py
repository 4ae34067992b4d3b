"""`kws doctor` on machines that are well and on some that are not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import kws.app.doctor
from benchmarks.sound_server import SoundServer, missing, sound_server
from kws.app.doctor import examine
from kws.audio import AudioFile
from kws.audio.errors import DeviceError
from kws.cli import main
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.errors import BackendUnavailable


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SoundServer]:
    """A sound server of the test's own."""
    with sound_server(tmp_path) as running:
        yield running


def examined(
    environment: dict[str, str], *arguments: str
) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Exit code, findings by check, and standard error of `kws doctor --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "kws", "doctor", "--json", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    content = json.loads(done.stdout)
    assert (1, done.returncode == 0) == (content["v"], content["ok"])
    assert "Traceback" not in done.stderr
    findings = {finding["check"]: finding for finding in content["findings"]}
    for finding in findings.values():
        if finding["status"] in ("failed", "warning"):
            assert finding["advice"], finding["check"]
    return done.returncode, findings, done.stderr


@contextmanager
def plugged_in(server: SoundServer, name: str, gain: float) -> Iterator[None]:
    """A microphone at 48 kHz in a room with a little noise and, by its gain, the demonstration."""
    with AudioFile(RECORDING) as source:
        audio = np.concatenate(list(source)).astype(np.float32) * gain
    room = np.tile(audio, 4) + np.random.default_rng(1).normal(0.0, 20.0, 4 * len(audio))
    path = server.folder / f"{name}.wav"
    soundfile.write(path, np.clip(room, -32_767, 32_767).astype(np.int16), SAMPLE_RATE)
    escaped = name.replace(" ", r"\ ")
    server.run(
        *("pactl", "load-module", "module-remap-source", "source_name=usb"),
        *("master=vmic.monitor", "rate=48000", "channels=1"),
        f'source_properties=device.description="{escaped}"',
    )
    player = subprocess.Popen(["paplay", "--device=vmic", str(path)], env=server.environment)
    try:
        server.wait_for("paplay", "pactl", "list", "sink-inputs")
        yield
    finally:
        player.kill()
        player.wait()


class TestSetUps:
    pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")

    def test_all_is_well(self, server: SoundServer) -> None:
        """A microphone that runs at 48 kHz only, by its name; words are detected; exit code 0."""
        with plugged_in(server, "Größeres Mikrofon", 0.5):
            code, findings, errors = examined(server.environment, "--device", "größeres")
        assert 0 == code, findings
        assert {"ok"} == {
            findings[check]["status"]
            for check in ("model", "runtime", "voice activity", "speed", "PortAudio", "devices")
        }
        assert findings["sound server"]["values"]["names"] == ["Größeres Mikrofon"]
        assert findings["microphone"]["values"] == {"name": "Größeres Mikrofon", "rate": 48_000}
        assert findings["level"]["status"] == "ok"
        assert findings["noise floor"]["values"]["noise_floor_dbfs"] < -45.0
        assert findings["speech"]["values"]["snr_db"] > 15.0
        assert findings["speech"]["values"]["detected"]
        assert "Be quiet" in errors
        assert "say some of the words" in errors

    def test_muted(self, server: SoundServer) -> None:
        """Only zeros: a failure, and nothing is said about noise or speech."""
        code, findings, _ = examined(server.environment)
        assert 1 == code, findings
        assert "failed" == findings["level"]["status"]
        assert ["muted"] == findings["level"]["values"]["troubles"]
        assert "muted" in findings["level"]["advice"]
        assert {"skipped"} == {findings[check]["status"] for check in ("noise floor", "speech")}
        assert "no microphone" in findings["sound server"]["text"]

    def test_clipped(self, server: SoundServer) -> None:
        """Cut off at full scale: a failure, with what to turn."""
        with plugged_in(server, "Loud microphone", 30.0):
            code, findings, _ = examined(server.environment, "--device", "loud")
        assert 1 == code, findings
        assert "failed" == findings["level"]["status"]
        assert "clipping" in findings["level"]["values"]["troubles"]
        assert "turn its level down" in findings["level"]["advice"]

    def test_nobody_speaks(self, server: SoundServer) -> None:
        """A quiet room is no failure."""
        with plugged_in(server, "USB microphone", 0.0):
            code, findings, _ = examined(server.environment, "--device", "usb")
        assert 0 == code, findings
        assert "skipped" == findings["speech"]["status"]
        assert "nobody spoke" in findings["speech"]["text"]

    def test_no_server(self, server: SoundServer) -> None:
        """A sound server that is not there, with what starts it."""
        server.kill()
        code, findings, _ = examined(server.environment)
        assert 1 == code, findings
        assert "failed" == findings["sound server"]["status"]
        assert "pipewire-pulse" in findings["sound server"]["advice"]
        server.start()  # so that the fixture can end it

    def test_no_device(self, server: SoundServer) -> None:
        """No sound server and no card: nothing to record from, with what to do."""
        bare = server.folder / "bare.conf"
        bare.write_text("pcm.!default { type hw card 7 }\nctl.!default { type hw card 7 }\n")
        environment = {"ALSA_CONFIG_PATH": str(bare), "PATH": str(server.folder)}
        code, findings, _ = examined({**server.environment, **environment})
        assert 1 == code, findings
        assert "skipped" == findings["sound server"]["status"]
        assert "failed" == findings["devices"]["status"]
        assert "connect one" in findings["devices"]["advice"]
        assert "microphone" not in findings

    def test_a_name_that_nobody_has(self, server: SoundServer) -> None:
        """It is the microphone's failure, and `kws devices` the way out."""
        code, findings, _ = examined(server.environment, "--device", "nothing like it")
        assert 1 == code, findings
        assert "failed" == findings["microphone"]["status"]
        assert "kws devices" in findings["microphone"]["advice"]


@pytest.fixture
def without_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without PortAudio."""

    def missing() -> None:
        raise DeviceError("no_portaudio", "run: sudo apt-get install libportaudio2")

    monkeypatch.setattr(kws.app.doctor, "load_sounddevice", missing)


@pytest.mark.usefixtures("without_sound")
class TestBefore:
    def test_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A line per check, the advice below it, and exit code 1 for a failure."""
        assert 1 == main(["doctor"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("ok    program")
        assert "sha256" in next(line for line in lines if "model  " in line)
        assert lines[-2].startswith("FAIL  PortAudio")
        assert lines[-1].strip() == "-> run: sudo apt-get install libportaudio2"

    def test_a_model_that_is_not_there(self) -> None:
        """The rest is checked all the same."""
        findings = {finding.check: finding for finding in examine(model="nothing")}
        assert "failed" == findings["model"].status
        assert "there is no model 'nothing'" in findings["model"].advice
        assert "skipped" == findings["speed"].status
        assert "ok" == findings["voice activity"].status

    @pytest.mark.skipif(sys.platform != "linux", reason="Linux shows its sound cards as files")
    def test_permissions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A card that this user may not open is named, with the group that may."""
        monkeypatch.setattr(
            kws.app.doctor.Path, "glob", lambda *_: iter([Path("/dev/snd/pcmC0D0c")])
        )
        monkeypatch.setattr(kws.app.doctor.os, "access", lambda *_: False)
        finding = kws.app.doctor._permissions()
        assert ("permissions", "warning") == (finding.check, finding.status)
        assert "pcmC0D0c" in finding.text
        assert "usermod -aG audio" in finding.advice
        monkeypatch.undo()
        monkeypatch.setattr(kws.app.doctor.Path, "glob", lambda *_: iter([Path("/dev/null")]))
        assert "ok" == kws.app.doctor._permissions().status

    def test_no_voice_activity_detector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is a failure of its own."""

        def missing() -> None:
            raise BackendUnavailable("pip install webrtcvad-wheels")

        monkeypatch.setattr(kws.app.doctor, "SpeechGate", missing)
        findings = {finding.check: finding for finding in examine()}
        assert ("failed", "pip install webrtcvad-wheels") == (
            findings["voice activity"].status,
            findings["voice activity"].advice,
        )
        assert "skipped" == findings["speed"].status

    def test_a_machine_that_is_too_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Below twice real time is a failure."""
        ticks = iter([0.0, 20.0])
        monkeypatch.setattr(kws.app.doctor.time, "perf_counter", lambda: next(ticks))
        findings = {finding.check: finding for finding in examine()}
        assert "failed" == findings["speed"].status
        assert findings["speed"].values["times_real_time"] == pytest.approx(1.1, abs=0.05)
