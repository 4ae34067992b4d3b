"""The real capture path, from the sound system through PortAudio, on microphones of software."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from benchmarks.product import soak
from benchmarks.sound_server import (
    PATIENCE,
    PIPEWIRE,
    RATE,
    UNREAD,
    PipeWire,
    SoundServer,
    Written,
    missing,
    sound_server,
)
from kws import Detector
from kws.audio import AudioFile
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING, SPOKEN

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")

PROGRAM = str(Path(__file__).parent / "microphone_program.py")
CLICK = np.full(RATE // 100, 25_000, np.int16)


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[SoundServer]:
    """A server with the sink `vmic`, whose monitor is the default source."""
    with sound_server(tmp_path) as server:
        yield server


@pytest.fixture(
    params=[
        SoundServer,
        pytest.param(
            PipeWire,
            marks=pytest.mark.skipif(
                bool(missing(PIPEWIRE)), reason=missing(PIPEWIRE) or "all is there"
            ),
        ),
    ],
    ids=["pulseaudio", "pipewire"],
)
def each_sound(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SoundServer]:
    """PulseAudio, and PipeWire in its place, which runs on most desktops."""
    with sound_server(tmp_path, request.param) as server:
        yield server


class Running:
    """A program that prints JSON lines, read by a thread as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], after: int = 0) -> dict[str, Any]:
        """The first line, from number `after` on, that is wanted."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.lines[after:]:
                if wanted(line):
                    return line
            assert self.process.poll() is None, self.end()
            time.sleep(0.05)
        raise AssertionError(f"{self.lines[-5:]} {self.end()}")

    def event(self, kind: str, after: int = 0) -> dict[str, Any]:
        """The first event of that kind."""
        return self.wait_for(lambda line: line.get("event") == kind, after)

    def click(self, number: int) -> dict[str, Any]:
        """That click, counted from 0."""
        return self.wait_for(lambda line: line.get("number") == number)

    def check_clock(
        self, first: float, second: float, sound: SoundServer, microphone: Written
    ) -> None:
        """Two clicks played at these Unix times: the stream's clock against the wall's between
        them, whatever was lost, and the time that is told of the second. Within 50 ms, beside what
        the server delays and a busy machine lets programs wait."""
        busy = microphone.late
        clicks = self.click(0), self.click(1)
        went_by = clicks[1]["click"] - clicks[0]["click"]
        assert went_by == pytest.approx(second - first, abs=sound.steady + busy)
        assert clicks[1]["time"] == pytest.approx(second, abs=sound.late + busy)

    def hears_again(self) -> dict[str, Any]:
        """The second block that comes from now on."""
        first = self.wait_for(lambda line: "samples" in line, len(self.lines))
        return self.wait_for(lambda line: line.get("samples", 0) > first["samples"])

    @property
    def events(self) -> list[str]:
        """The kinds of all events so far, the level's left out."""
        ours = ("ready", "lost", "gone", "waiting", "back")
        return [line["event"] for line in self.lines if line.get("event") in ours]

    def end(self) -> str:
        """Stop it; returns what it printed on standard error."""
        self.process.terminate()
        try:
            self.process.wait(timeout=PATIENCE)
        finally:
            self.process.kill()
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process.stdout, self.process.stderr:
            return self.process.stderr.read()


@contextmanager
def stalled(listeners: Sequence[Running], seconds: float) -> Iterator[None]:
    """They stand still for so long, and are waited for until they listen again."""
    over = time.monotonic() + seconds
    for listener in listeners:
        listener.process.send_signal(signal.SIGSTOP)
    yield
    time.sleep(max(0.0, over - time.monotonic()))
    for listener in listeners:
        listener.process.send_signal(signal.SIGCONT)
    for listener in listeners:
        listener.hears_again()


def test_a_microphone_that_is_emptied_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its writer would throw away, a server may take first; it goes on writing."""
    os.mkfifo(tmp_path / "microphone")
    monkeypatch.setattr(Written, "_waiting_bytes", lambda _: 100)
    microphone = Written(tmp_path / "microphone", RATE // 50)
    server = os.open(tmp_path / "microphone", os.O_RDONLY)
    for _ in range(2 * round(UNREAD * 50)):
        os.read(server, 1 << 20)
    take = iter(lambda: os.read(server, 1 << 20), b"")
    taking = threading.Thread(target=lambda: list(take), daemon=True)
    taking.start()
    before = time.time()
    assert microphone.play(CLICK) == pytest.approx(before, abs=PATIENCE)
    microphone.close()
    taking.join()
    os.close(server)


def test_what_is_played_is_spotted(sound: SoundServer, tmp_path: Path) -> None:
    """The beginning of the demonstration, played aloud, gives its commands; Ctrl-C ends with 0."""
    spoken = [e for e in json.loads(SPOKEN.read_text(encoding="utf-8")) if e["end"] < 8.0]
    audio = np.concatenate(list(AudioFile(RECORDING)))[: 9 * SAMPLE_RATE]
    soundfile.write(tmp_path / "demo.wav", audio, SAMPLE_RATE)
    process = sound.start_program("-m", "kws", "listen", "--json")
    assert process.stdout is not None
    assert "ready" in process.stdout.readline()
    sound.run("paplay", "--device=vmic", str(tmp_path / "demo.wav"))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Traceback" not in errors
    events = [json.loads(line) for line in output.splitlines()]
    detected = [event["keyword"] for event in events if event["event"] == "detection"]
    expected = [entry["word"] for entry in spoken]
    once = list(dict.fromkeys(detected))  # how often a word fires is not a matter of the capture
    assert len(once) >= 3
    assert once == [word for word in expected if word in once], output


def test_ten_stalls(sound: SoundServer) -> None:
    """Standing still for 3, 5 and 8 s kills no listener; its clock is right and it goes on."""
    with sound.plugged_in("usb", "Büro USB Mic") as microphone:
        listeners = [Running(sound.start_program(PROGRAM, "büro")) for _ in range(6)]
        for listener in listeners:
            listener.event("ready")
            listener.hears_again()
        before = microphone.play(CLICK)
        for listener in listeners:
            listener.click(0)
        with stalled(listeners[:2], 8.0):  # two of 8 s, while the others have two each
            for seconds in (3.0, 5.0):
                with stalled(listeners[2:], seconds):
                    pass
        begin = microphone.play(CLICK)
        for listener in listeners:
            listener.check_clock(before, begin, sound, microphone)
            assert listener.end() == ""
            assert set(listener.events) == {"ready", "lost"}
            assert sum(line.get("gap", 0) for line in listener.lines) > 4 * SAMPLE_RATE


def test_unplugged_and_plugged_in(each_sound: SoundServer) -> None:
    """A named microphone that goes is waited for; it never becomes another one meanwhile."""
    sound = each_sound
    with sound.plugged_in("usb", "Büro USB Mic") as microphone:
        listener = Running(sound.start_program(PROGRAM, "usb mic"))
        listener.event("ready")
        listener.hears_again()
        played = microphone.play(CLICK)
        listener.click(0)
    gone = listener.event("gone")
    assert "Büro USB Mic was unplugged" in gone["message"]
    listener.event("waiting")
    time.sleep(2.0)
    before = len(listener.lines)
    with sound.plugged_in("usb", "Büro USB Mic") as microphone:
        back = listener.event("back")
        assert not any("samples" in line for line in listener.lines[before:-1])
        time.sleep(1.0)
        begin = microphone.play(CLICK)
        listener.check_clock(played, begin, sound, microphone)
        assert back["seconds"] > 2.0
        assert listener.end() == ""
    assert listener.events[:4] == ["ready", "gone", "waiting", "back"]


def test_sound_server_killed_and_restarted(sound: SoundServer) -> None:
    """The default microphone comes back with the server; nothing of PortAudio's is printed."""
    listener = Running(sound.start_program(PROGRAM))
    listener.event("ready")
    listener.hears_again()
    sound.kill()
    listener.event("gone")
    assert "the sound server does not respond" in listener.event("waiting")["message"]
    time.sleep(2.0)
    sound.start()
    listener.event("back")
    listener.hears_again()
    assert listener.end() == ""
    assert listener.events == ["ready", "gone", "waiting", "back"]


def test_the_clock_after_a_restart(each_sound: SoundServer) -> None:
    """What is played once the sound server is back stands where the wall's clock says."""
    sound = each_sound
    with sound.plugged_in("usb", "Büro USB Mic") as microphone:
        listener = Running(sound.start_program(PROGRAM, "usb mic"))
        listener.event("ready")
        listener.hears_again()
        played = microphone.play(CLICK)
        listener.click(0)
        sound.kill()
        listener.event("gone")
    time.sleep(2.0)
    sound.start()
    with sound.plugged_in("usb", "Büro USB Mic") as microphone:
        listener.event("back")
        time.sleep(1.0)
        begin = microphone.play(CLICK)
        listener.check_clock(played, begin, sound, microphone)
        assert listener.end() == ""


def test_a_handler_of_nine_seconds(sound: SoundServer) -> None:
    """What was said meanwhile does not fire; what comes afterwards does, with the right times."""
    audio = np.concatenate(list(AudioFile(RECORDING)))[: 19 * SAMPLE_RATE]
    offline = list(Detector().listen([audio]))
    played = np.rint(soxr.resample(audio.astype(np.float32), SAMPLE_RATE, RATE)).astype(np.int16)
    with sound.plugged_in("usb", "Büro USB Mic") as microphone:
        listener = Running(sound.start_program(PROGRAM, "büro", "keywords"))
        listener.event("ready")
        begin = microphone.play(played)
        listener.wait_for(lambda line: line.get("keyword") == offline[-1].keyword, 2)
        assert listener.end() == ""
    found = [line for line in listener.lines if "keyword" in line]
    times = [each.end for each in offline]
    first, rest = found[0], found[1:]
    assert len(rest) >= 3
    for each in (first, *rest):
        nearest = min(times, key=lambda end: abs(begin + end - each["time"]))
        assert each["time"] - begin == pytest.approx(nearest, abs=0.25)
    # None of them is older than a second and what the decision takes.
    assert rest[0]["time"] > first["now"] + 9.0 - 1.3


def test_two_listeners_and_another_thread(each_sound: SoundServer) -> None:
    """Two programs share a microphone; a loop that waits ends when another thread closes it."""
    sound = each_sound
    with sound.plugged_in("usb", "Büro USB Mic") as microphone:
        listeners = [Running(sound.start_program(PROGRAM, "büro")) for _ in range(2)]
        for listener in listeners:
            listener.event("ready")
            listener.hears_again()
        begin = microphone.play(CLICK)
        for listener in listeners:
            assert listener.click(0)["time"] == pytest.approx(
                begin, abs=sound.late + microphone.late
            )
            assert listener.end() == ""
            assert listener.process.returncode == 0


def test_muted_and_turned_up(each_sound: SoundServer) -> None:
    """Muting in the sound settings is reported, and so is its end."""
    sound = each_sound
    with sound.plugged_in("usb", "Büro USB Mic"):
        listener = Running(sound.start_program(PROGRAM, "büro"))
        listener.event("ready")
        sound.run("pactl", "set-source-mute", "usb", "1")
        assert "muted" in listener.event("muted")["message"]
        sound.run("pactl", "set-source-mute", "usb", "0")
        listener.event("unmuted")
        assert listener.end() == ""


def test_devices(each_sound: SoundServer) -> None:
    """`kws devices` lists the microphones as the desktop shows them and marks the default."""
    with each_sound.plugged_in("usb", "Büro USB Mic"):
        listed = each_sound.run(sys.executable, "-m", "kws", "devices")
    lines = listed.splitlines()
    assert any("Büro USB Mic  (sound server usb, 1 ch, 48000 Hz)" in line for line in lines)
    (default,) = [line for line in lines if line.startswith("*")]
    assert default.startswith("* Monitor of ")
    assert "(sound server vmic.monitor, 2 ch, " in default
    assert default.endswith(" Hz, what a loudspeaker plays)")


RESCAN = """
from kws.audio import Microphone
from kws.audio.errors import DeviceError
from kws.audio.portaudio import rescan
microphone = Microphone()
print(rescan())
next(iter(microphone))
microphone.close()
try:
    Microphone(channel=9)
except DeviceError as error:
    print(error.problem)
print(rescan())
Microphone().close()
"""

OWN = """
import signal, sys
from kws.audio import Microphone
microphone = Microphone()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
try:
    for _ in microphone:
        print("listens")
finally:
    {closes}
"""

LATER = """
import signal
signal.signal(signal.SIGUSR1, lambda *_: None)
import sounddevice
from kws.audio import Microphone
print(len(sounddevice.query_devices()))
signal.pause()
microphone = Microphone(on_event=lambda event: print(event.message))
next(iter(microphone))
microphone.close()
"""


def test_devices_are_listed_anew_only_without_streams(sound: SoundServer) -> None:
    """Initialising PortAudio again would end the streams that are open."""
    assert sound.run(sys.executable, "-c", RESCAN).split() == ["False", "refused", "True"]


def test_a_server_that_hangs(sound: SoundServer) -> None:
    """A sound server that replies to nobody does not keep the program from ending."""
    process = sound.start_program("-m", "kws", "listen", "--json")
    assert process.stdout is not None
    assert "ready" in process.stdout.readline()
    sound.hang()
    process.send_signal(signal.SIGTERM)
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert (0, "") == (process.returncode, errors)
    assert '"reason": "signal"' in output


@pytest.mark.parametrize("closes", ["microphone.close()", "pass"])
def test_a_program_that_ends_while_the_server_hangs(sound: SoundServer, closes: str) -> None:
    """One of somebody's own, which never calls `kws`, ends too, with its own exit code."""
    process = sound.start_program("-c", OWN.format(closes=closes))
    assert process.stdout is not None
    assert "listens" in process.stdout.readline()
    sound.hang()
    process.send_signal(signal.SIGTERM)
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert (7, "") == (process.returncode, errors)


def test_a_server_that_starts_later(sound: SoundServer) -> None:
    """A microphone can be opened although PortAudio looked for devices before there was one."""
    sound.kill()
    process = sound.start_program("-u", "-c", LATER)
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    sound.start()
    process.send_signal(signal.SIGUSR1)
    output, errors = process.communicate(timeout=PATIENCE)
    assert output.startswith("listening")
    assert errors == ""


def test_no_server_at_all(sound: SoundServer) -> None:
    """The message says that it is the sound server, on one line, and nothing else is printed."""
    sound.kill()
    process = sound.start_program("-m", "kws", "listen", "--quiet")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "the sound server does not respond" in errors
    assert len(errors.splitlines()) == 1


def test_the_beginning_of_a_soak(sound: SoundServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make soak` does for half an hour, with one stall and one restart of the server."""
    monkeypatch.setattr(soak, "EVERY", 6.0)
    assert soak.run(sound, 26.0) == ""


def test_a_soak_that_fails(sound: SoundServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends, or that detects nothing, does not pass."""
    monkeypatch.setattr(soak, "QUIET", 0.0)
    assert "nothing was detected" in soak.run(sound, 20.0)
    monkeypatch.undo()
    sound.kill()
    assert "it ended with 1" in soak.run(sound, 60.0)
