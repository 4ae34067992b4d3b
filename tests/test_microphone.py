"""A microphone on a PortAudio of our own: what is opened, what is delivered, how it ends."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import numpy as np
import pytest
from fake_portaudio import FakePortAudio
from interrupted import ends, interrupt, tear

from kws.audio import Device, Gap, Microphone, SourceEvent, input_devices
from kws.audio.desktop import DesktopSource, Server, parse_sources
from kws.audio.devices import find
from kws.audio.errors import DeviceError
from kws.audio.wakeup import Wakeup
from kws.cli import main
from kws.config import SAMPLE_RATE


def tone(rate: int, channels: int = 1, hertz: float = 440.0) -> np.ndarray:
    """One second of a sine at half of full scale, which can be repeated; (frames, channels)."""
    sine = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    return np.repeat(sine[:, None], channels, axis=1).astype("f4")


def strength(audio: np.ndarray, hertz: float = 440.0) -> float:
    """The amplitude of that frequency in int16 audio at 16 kHz, as a share of full scale."""
    phase = np.exp(-2j * np.pi * hertz * np.arange(len(audio)) / SAMPLE_RATE)
    return float(2 * abs(np.mean(audio / 32768 * phase)))


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    """What kws takes for PortAudio, on a machine without a sound server."""
    fake = FakePortAudio()
    monkeypatch.setattr("kws.audio.devices.load_sounddevice", lambda: fake)
    monkeypatch.setattr("kws.audio.capture.load_sounddevice", lambda: fake)
    monkeypatch.setattr("kws.audio.microphone.rescan", lambda: False)
    for module in ("devices", "capture", "microphone"):
        monkeypatch.setattr(f"kws.audio.{module}.query_server", lambda: None)
    monkeypatch.setattr("kws.audio.microphone.TICK", 0.2)
    monkeypatch.setattr("kws.audio.microphone.STALL_SECONDS", 1.0)
    return fake


def take(stream: Iterator[np.ndarray | Gap], count: int) -> np.ndarray:
    """The audio of the next blocks."""
    blocks = [next(stream) for _ in range(count)]
    return np.concatenate([block for block in blocks if isinstance(block, np.ndarray)])


class TestOpening:
    def test_own_rate_first_and_all_channels(self, portaudio: FakePortAudio) -> None:
        """The device's own rate and channels are taken and become 16 kHz mono."""
        portaudio.signal = tone(44_100, 2)
        with Microphone() as microphone:
            audio = take(iter(microphone), 12)
        assert portaudio.opened == [(None, 44_100, 2)]
        assert microphone.rate == 44_100
        assert audio.dtype == np.int16
        assert strength(audio[3200:9600]) == pytest.approx(0.5, abs=0.02)

    @pytest.mark.parametrize(
        ("refuses", "opened"),
        [
            ({(44_100, 2): -9997}, (None, 48_000, 2)),
            ({(44_100, 2): -9997, (48_000, 2): -9997}, (None, 32_000, 2)),
            ({(rate, 2): -9997 for rate in (44_100, 48_000, 32_000)}, (None, 16_000, 2)),
            ({(44_100, 2): -9998}, (None, 44_100, 1)),
        ],
    )
    def test_other_rates_and_channels(
        self,
        portaudio: FakePortAudio,
        refuses: dict[tuple[int, int], int],
        opened: tuple[None, int, int],
    ) -> None:
        """A refused rate leads to the next one, a refused number of channels to fewer."""
        portaudio.refuses = refuses
        portaudio.signal = tone(opened[1], 2)
        with Microphone() as microphone:
            audio = take(iter(microphone), 12)
        assert portaudio.opened == [opened]
        assert strength(audio[3200:9600]) == pytest.approx(0.5, abs=0.02)

    def test_16_khz_is_passed_on_bit_for_bit(self, portaudio: FakePortAudio) -> None:
        """Nothing happens to samples that are what the detector wants."""
        portaudio.infos = [portaudio.info("Fake Mic", 1, 16_000.0)]
        portaudio.signal = (np.arange(1280, dtype="f4") / 32768)[:, None]
        with Microphone() as microphone:
            assert take(iter(microphone), 2).tolist() == [*range(1280), *range(1280)]

    def test_busy(self, portaudio: FakePortAudio) -> None:
        """A device in use is not tried at other rates; the message says what to do."""
        portaudio.refuses = {(44_100, 2): -9985}
        with pytest.raises(DeviceError, match="close the program that uses it") as caught:
            Microphone()
        assert caught.value.problem == "busy"

    def test_a_machine_that_is_too_busy(
        self, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PortAudio's thread, which has one second to begin, is given several; then it is said."""
        monkeypatch.setattr("kws.audio.devices.Path.glob", lambda *_: iter(()))
        portaudio.signal, portaudio.late_starts = tone(44_100, 2), 2
        with Microphone() as microphone:
            assert 3 == len(portaudio.opened)
            assert [True, True, False] == [stream.closed for stream in portaudio.streams]
            assert len(take(iter(microphone), 2))
        portaudio.late_starts = 99
        with pytest.raises(DeviceError, match="the machine is too busy; try again") as caught:
            Microphone()
        assert caught.value.problem == "busy"

    def test_no_rate_at_all(self, portaudio: FakePortAudio) -> None:
        """A device that refuses everything is named, with the way out."""
        portaudio.refuses = {
            (rate, n): -9997 for rate in (44_100, 48_000, 32_000, 16_000) for n in (1, 2)
        }
        with pytest.raises(
            DeviceError, match=r"cannot record from Fake Mic.*kws devices"
        ) as caught:
            Microphone()
        assert caught.value.problem == "refused"

    def test_unknown_device(self, portaudio: FakePortAudio) -> None:
        """A name or number that no device has points to `kws devices`."""
        for device in ("nothing", 99):
            with pytest.raises(DeviceError, match="kws devices") as caught:
                Microphone(device)
            assert caught.value.problem == "no_device"

    def test_channel(self, portaudio: FakePortAudio) -> None:
        """The one that is named is taken; by default the one with the signal."""
        portaudio.signal = np.concatenate([np.zeros((44_100, 1), "f4"), tone(44_100)], axis=1)
        with Microphone() as microphone:
            assert strength(take(iter(microphone), 8)[3200:]) == pytest.approx(0.5, abs=0.02)
            assert microphone.channel == 2
        with Microphone(channel=1) as microphone:
            assert strength(take(iter(microphone), 8)) < 0.01
        with pytest.raises(DeviceError, match="has 2 channel"):
            Microphone(channel=3)

    @pytest.mark.parametrize("command", ["listen", "doctor"])
    def test_channel_of_a_command(
        self,
        command: str,
        portaudio: FakePortAudio,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """The commands that record take it too, and say where there is none such."""
        monkeypatch.setitem(sys.modules, "sounddevice", portaudio)
        monkeypatch.setattr("kws.app.doctor.load_sounddevice", lambda: portaudio)
        monkeypatch.setattr("kws.app.doctor.query_server", lambda: None)
        assert 1 == main([command, "--channel", "3"])
        printed = "".join(capsys.readouterr())
        assert "has 2 channel(s), and channel 3 was requested; see: kws devices" in printed

    @pytest.mark.parametrize("source", [["--demo"], ["--input", "x.wav"]])
    def test_no_channel_of_a_recording(
        self, source: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A recording has no microphone's channel."""
        assert 2 == main(["listen", *source, "--channel", "2"])
        message = capsys.readouterr().err
        assert "the microphone, which is not recorded from; leave it out" in message
        assert 1 == message.count("\n")

    @pytest.mark.parametrize("settings", [{"channel": 0}, {"max_age": 0.0}, {"max_age": 61.0}])
    def test_impossible_settings(
        self, portaudio: FakePortAudio, settings: dict[str, float]
    ) -> None:
        """They are refused before anything is opened."""
        with pytest.raises(ValueError, match="expected"):
            Microphone(**settings)  # type: ignore[arg-type]
        assert portaudio.opened == []

    def test_no_portaudio(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the system library the message names the package to install."""

        class Missing:
            def find_spec(self, name: str, *_: object) -> None:
                if name == "sounddevice":
                    raise OSError("PortAudio library not found")

        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
        for attempt in (Microphone, input_devices):
            with pytest.raises(DeviceError, match="libportaudio2") as caught:
                attempt()
            assert caught.value.problem == "no_portaudio"


@pytest.mark.parametrize(
    ("waits", "ended"),
    [
        (None, 50.0),  # this sound system tells nothing
        (-0.02, 50.0),  # no block comes before its last sample was recorded
        (0.06, 49.94),
        (3.0, 50.0),  # a guess
    ],
)
def test_when_a_block_was_recorded(
    portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch, waits: float | None, ended: float
) -> None:
    """What the sound system says that it waited is taken off its arrival, up to its own length."""
    portaudio.waits = waits
    with Microphone() as microphone:
        capture = microphone._capture
        monkeypatch.setattr("kws.audio.capture.clock.now", lambda: 50.0)
        portaudio.deliver(portaudio.streams[0], np.zeros((3528, 2), np.int16))
        assert 50.0 == capture.block(0).arrival
        assert ended == pytest.approx(capture.block(0).end)
        monkeypatch.undo()


def test_the_callback_only_copies(
    portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 80 ms; nobody looks at one in PortAudio's thread, which may use it again."""

    def look(*_: Any) -> Any:
        raise AssertionError("in PortAudio's thread")

    for place in ("reader.Reader.read", "level.LevelWatch.add", "level.LoudestChannel.choose"):
        monkeypatch.setattr(f"kws.audio.{place}", look)
    with Microphone() as microphone:
        capture, stream = microphone._capture, portaudio.streams[0]
        assert 0.08 * 44_100 == stream.settings["blocksize"]
        block = np.full((3528, 2), 7, np.int16)
        portaudio.deliver(stream, block)
        block[:] = 0
        assert {7} == set(np.frombuffer(capture.block(0).samples, np.int16).tolist())


class TestListening:
    def test_ready_comes_first(self, portaudio: FakePortAudio) -> None:
        """That it listens is said with the first block, once, in the loop's thread."""
        portaudio.signal = tone(44_100, 2)
        events: list[tuple[str, int]] = []

        def note(event: SourceEvent) -> None:
            events.append((event.kind, threading.get_ident()))

        with Microphone(on_event=note) as microphone:
            assert events == []
            for _ in range(2):
                take(iter(microphone), 2)
        assert events == [("ready", threading.get_ident())]

    def test_a_new_loop_is_a_new_stream(self, portaudio: FakePortAudio) -> None:
        """What was recorded between two loops is not delivered, and the clock starts at 0."""
        portaudio.signal = tone(44_100, 2)
        with Microphone(max_age=None) as microphone:
            take(iter(microphone), 2)
            time.sleep(1.0)
            again = time.time()
            blocks = iter(microphone)
            assert isinstance(next(blocks), np.ndarray)
            assert microphone.unix_time(0.0) >= again - 0.2
            assert microphone.lost_seconds == 0.0

    def test_a_second_loop_ends_the_first(self, portaudio: FakePortAudio) -> None:
        """Two loops would share the blocks; the older one ends instead."""
        portaudio.signal = tone(44_100, 2)
        with Microphone() as microphone:
            first, second = iter(microphone), iter(microphone)
            next(first)
            next(second)
            assert list(first) == []

    def test_pause(self, portaudio: FakePortAudio) -> None:
        """While it is paused nothing comes; the gap is in the stream and not counted as lost."""
        portaudio.signal = tone(44_100, 2)
        with Microphone() as microphone:
            blocks = iter(microphone)
            take(blocks, 3)
            microphone.pause()
            threading.Timer(1.0, microphone.resume).start()
            gap = next(item for item in blocks if isinstance(item, Gap))
            assert gap.samples >= 0.8 * SAMPLE_RATE
            assert isinstance(next(blocks), np.ndarray)
            assert microphone.lost_seconds == 0.0

    def test_flush(self, portaudio: FakePortAudio) -> None:
        """What waits is left out, the stream's clock goes on."""
        portaudio.signal = tone(44_100, 2)
        with Microphone(max_age=None) as microphone:
            blocks = iter(microphone)
            next(blocks)
            time.sleep(0.6)
            microphone.flush()
            assert any(isinstance(next(blocks), Gap) for _ in range(2))
            assert microphone.lost_seconds == 0.0

    def test_closed_from_another_thread(self, portaudio: FakePortAudio) -> None:
        """The loop is woken, although no audio comes: it does not end only when it looks again.

        Closing again is fine."""
        waits = threading.Event()

        class LongWait(Wakeup):
            def wait(self, _: float = -1.0) -> bool:
                waits.set()
                return super().wait(60.0)

        def close() -> None:
            waits.wait()
            microphone.close()

        microphone = Microphone()
        microphone._wake = LongWait()
        begin = time.monotonic()
        threading.Thread(target=close).start()
        assert list(microphone) == []
        assert time.monotonic() - begin < 30.0
        microphone.close()
        assert list(microphone) == []
        assert all(stream.closed for stream in portaudio.streams)

    def test_portaudio_s_thread_is_not_cancelled(
        self, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As long as blocks come, for Python's global lock may be lost with it; else it has to."""
        monkeypatch.setattr("kws.audio.capture.LAST_BLOCK", 60.0)
        portaudio.signal = tone(44_100, 2)
        with Microphone() as microphone:
            take(iter(microphone), 2)
        assert 0 == portaudio.cancelled
        monkeypatch.setattr("kws.audio.capture.LAST_BLOCK", 0.1)
        portaudio.signal = None
        Microphone().close()
        assert 1 == portaudio.cancelled

    @pytest.mark.parametrize("raises", [True, False])
    def test_a_signal_anywhere(
        self, raises: bool, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever in the loop its handler raises or closes the microphone, nothing hangs."""
        monkeypatch.setattr("kws.audio.capture.LAST_BLOCK", 0.0)
        block = np.zeros((3528, 2), np.int16)
        at, reached = 0, True
        while reached:
            at += 1
            microphone = Microphone()
            stream = portaudio.streams[-1]

            def run(microphone: Microphone = microphone) -> None:
                with closing(iter(microphone)) as blocks:  # type: ignore[type-var]
                    for _ in range(2):
                        next(blocks, None)

            def deliver(stream: Any = stream) -> None:
                with suppress(FakePortAudio.CallbackAbort):
                    while True:
                        time.sleep(0.01)
                        portaudio.deliver(stream, block)

            delivery = threading.Thread(target=deliver, daemon=True)
            delivery.start()
            reached = interrupt(run, tear if raises else microphone.close, at)
            assert ends(microphone.close), f"it cannot be closed after place {at}"
            assert ends(delivery.join), f"PortAudio's thread hangs after place {at}"
        assert at > 10

    def test_closed_while_a_block_is_read(
        self, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By a signal, say: what converts the rate is released all the same."""
        portaudio.signal = tone(44_100, 2)
        microphone = Microphone()
        measured = microphone._reader.levels.add

        def close(*block: Any) -> Iterator[Any]:
            microphone.close()
            return measured(*block)

        monkeypatch.setattr(microphone._reader.levels, "add", close)
        assert list(microphone)
        assert microphone._reader._resampler is None

    def test_gone_without_reconnect(self, portaudio: FakePortAudio) -> None:
        """A device that goes is an error; what came before is delivered."""
        portaudio.signal = tone(44_100, 2)
        with Microphone(reconnect=False) as microphone:
            blocks = iter(microphone)
            next(blocks)
            portaudio.streams[0].end()
            with pytest.raises(DeviceError, match="Fake Mic has gone; plug it in") as caught:
                list(blocks)
        assert caught.value.problem == "gone"

    def test_silent_device_has_gone(self, portaudio: FakePortAudio) -> None:
        """A device that delivers nothing any more is given up after a while."""
        portaudio.signal = tone(44_100, 2)
        with Microphone(reconnect=False) as microphone:
            blocks = iter(microphone)
            next(blocks)
            portaudio.signal = None
            with pytest.raises(DeviceError, match="has stopped delivering"):
                list(blocks)

    def test_back_again(self, portaudio: FakePortAudio) -> None:
        """A device that goes and refuses for a while is opened again; the gap has its length."""
        portaudio.signal = tone(44_100, 2)
        events: list[SourceEvent] = []
        with Microphone(on_event=events.append) as microphone:
            blocks = iter(microphone)
            begin = time.monotonic()
            samples = len(next(blocks))
            portaudio.refuses = {(44_100, 2): -9985}
            portaudio.streams[0].end()
            threading.Timer(1.0, portaudio.refuses.clear).start()
            for item in blocks:
                samples += item.samples if isinstance(item, Gap) else len(item)
                if isinstance(item, Gap):
                    break
            assert item.samples > 0.8 * SAMPLE_RATE
            assert samples / SAMPLE_RATE <= time.monotonic() - begin + 0.2
            assert isinstance(next(blocks), np.ndarray)
        assert [event.kind for event in events] == ["ready", "gone", "waiting", "back"]
        assert "close the program" in events[2].message
        assert events[3].seconds > 0.8
        # In the stream: moments while nothing comes, then the time away.
        ready, gone, waiting, back = events
        assert 0.0 == ready.start == ready.end
        assert 0.0 < gone.start == gone.end == waiting.start == waiting.end == back.start
        assert back.seconds == pytest.approx(back.end - back.start)
        assert microphone.lost_seconds == pytest.approx(item.samples / SAMPLE_RATE)

    def test_what_was_recorded_before_an_outage_is_released(self, portaudio: FakePortAudio) -> None:
        """At once, though sounddevice's stream, and so its callbacks, live on until some later."""
        portaudio.signal = tone(44_100, 2)
        with Microphone() as microphone:
            blocks = iter(microphone)
            next(blocks)
            before = weakref.ref(microphone._capture)
            portaudio.streams[0].end()
            while not isinstance(next(blocks), Gap):
                pass
            take(blocks, 2)
            assert before() is None
            assert len(portaudio.streams) == 2

    def test_the_attempts_become_rarer(
        self, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A device that is gone is looked for at once, and then less and less often."""
        portaudio.signal = tone(44_100, 2)
        delays: list[float] = []

        class NoWait(Wakeup):
            def wait(self, seconds: float = -1.0) -> bool:
                delays.append(seconds)
                if len(delays) == 8:
                    time.sleep(0.2)  # so much is missing
                    portaudio.refuses = {}
                return False

        with Microphone() as microphone:
            blocks = iter(microphone)
            next(blocks)
            portaudio.refuses = {(44_100, 2): -9985}
            microphone._attention = NoWait()
            portaudio.streams[0].end()
            while not isinstance(next(blocks), Gap):
                pass
        assert [0.25, 0.5, 1.0, 2.0, 4.0, 4.0] == delays[:6]

    def test_a_number_stays_the_device(self, portaudio: FakePortAudio) -> None:
        """Numbers change when devices come and go; the device that was meant comes back."""
        portaudio.signal = tone(44_100, 2)
        with Microphone(0) as microphone:
            blocks = iter(microphone)
            next(blocks)
            portaudio.infos.insert(0, portaudio.info("Another"))
            portaudio.streams[0].end()
            while not isinstance(next(blocks), Gap):
                pass
        assert [device for device, _, _ in portaudio.opened] == [0, 1]

    def test_the_keeper_fails(
        self, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fault in the thread that holds the device open ends the loop, it does not hang."""
        portaudio.signal = tone(44_100, 2)
        with Microphone() as microphone:
            blocks = iter(microphone)
            next(blocks)
            monkeypatch.setattr("kws.audio.devices._candidates", None)
            monkeypatch.setattr("kws.audio.devices._default_target", None)
            portaudio.streams[0].end()
            with pytest.raises(DeviceError, match="Fake Mic is lost"):
                list(blocks)

    def test_unheard_events_are_logged(
        self, portaudio: FakePortAudio, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Without a callback nothing goes by in silence."""
        portaudio.signal = tone(44_100, 2)
        with Microphone(reconnect=True) as microphone:
            blocks = iter(microphone)
            next(blocks)
            portaudio.streams[0].end()
            while not isinstance(next(blocks), Gap):
                pass
        assert "Fake Mic has gone" in caplog.text
        assert "is back" in caplog.text


LISTED = """Source #3
\tState: IDLE
\tName: vmic.monitor
\tDescription: Monitor of Null Output
\tSample Specification: s16le 2ch 48000Hz
\tMute: no
\tMonitor of Sink: vmic
\tProperties:
\t\tdevice.description = "Monitor of Null Output"

Source #12
\tState: RUNNING
\tName: alsa_input.usb-mic
\tDescription: Büro USB Mic
\tSample Specification: s24le 1ch 44100Hz
\tMonitor of Sink: n/a

Source #13
\tName: half of an entry
"""
SOURCES = (
    DesktopSource(3, "vmic.monitor", "Monitor of Null Output", 48_000, 2, True, False),
    DesktopSource(12, "alsa_input.usb-mic", "Büro USB Mic", 44_100, 1, False, True),
)


def test_sources_of_the_sound_server() -> None:
    """What pactl prints is read, names beyond ASCII and incomplete entries included."""
    assert parse_sources(LISTED, "alsa_input.usb-mic") == SOURCES
    assert parse_sources("", "") == ()


class TestDevices:
    @pytest.fixture
    def server(self, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
        """A sound server, which PortAudio reaches through ALSA's plug-in."""
        portaudio.infos = [
            portaudio.info("USB Mic: Audio (hw:1,0)", 1),
            portaudio.info("pulse", 32),
            portaudio.info("default", 32),
        ]
        portaudio.default.device["input"] = 2
        monkeypatch.delenv("PULSE_SOURCE", raising=False)
        monkeypatch.setattr("kws.audio.devices.query_server", lambda: Server("", SOURCES))
        return portaudio

    def test_without_a_server(self, portaudio: FakePortAudio) -> None:
        """PortAudio's devices, loudspeakers left out."""
        assert [Device("Fake Mic", "0", "ALSA", 2, 44_100.0, True)] == input_devices()

    def test_with_a_server(self, server: FakePortAudio) -> None:
        """Its sources come first, under the names that people know; one is the default."""
        listed = input_devices()
        assert [each.name for each in listed] == [
            "Büro USB Mic",
            "Monitor of Null Output",
            "USB Mic: Audio (hw:1,0)",
            "pulse",
            "default",
        ]
        assert [each.default for each in listed] == [True, False, False, False, False]
        assert [each.monitor for each in listed] == [False, True, False, False, False]

    @pytest.mark.parametrize(
        ("wanted", "name", "index"),
        [
            (None, "Büro USB Mic", None),
            ("büro", "Büro USB Mic", 1),
            ("usb mic", "Büro USB Mic", 1),
            ("alsa_input.usb-mic", "Büro USB Mic", 1),
            ("monitor", "Monitor of Null Output", 1),
            ("hw:1,0", "USB Mic: Audio (hw:1,0)", 0),
            ("default", "default", 2),
            (0, "USB Mic: Audio (hw:1,0)", 0),
            ("0", "USB Mic: Audio (hw:1,0)", 0),
        ],
    )
    def test_finding(
        self, server: FakePortAudio, wanted: str | int | None, name: str, index: int | None
    ) -> None:
        """By name, part of a name, the server's name or number, whatever the case."""
        target = find(wanted)
        assert (name, index) == (target.name, target.index)

    def test_rates_and_channels_are_the_sources(self, server: FakePortAudio) -> None:
        """Not those that the plug-in states."""
        assert find("monitor").rates == (48_000, 44_100, 32_000, 16_000)
        assert find("monitor").channels == (2, 1)
        assert find(None).rates == (44_100, 48_000, 32_000, 16_000)
        assert find(None).channels == (1,)
        assert find("default").channels == (1,)

    def test_several_match(self, portaudio: FakePortAudio) -> None:
        """They are listed, and nothing is guessed."""
        portaudio.infos = [portaudio.info("Mic left"), portaudio.info("Mic right")]
        with pytest.raises(DeviceError, match="Mic left, Mic right; give more of the name"):
            find("mic")

    def test_none(self, portaudio: FakePortAudio) -> None:
        """A machine without a microphone gets the ways to go on."""
        portaudio.infos = []
        portaudio.default.device["input"] = -1
        for attempt in (input_devices, lambda: find(None), lambda: find("USB")):
            with pytest.raises(DeviceError, match=r"no microphone was found.*--demo") as caught:
                attempt()
            assert caught.value.problem == "no_device"

    def test_no_server(self, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
        """A sound server that does not respond is named as the reason."""
        portaudio.infos = []
        portaudio.default.device["input"] = -1
        server = Server("Connection failure: Connection refused")
        monkeypatch.setattr("kws.audio.devices.query_server", lambda: server)
        with pytest.raises(DeviceError, match=r"Connection refused.*systemctl --user") as caught:
            find(None)
        assert caught.value.problem == "no_server"

    def test_no_permission(self, portaudio: FakePortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sound devices that this user may not open are a matter of the group."""
        portaudio.infos = []
        portaudio.default.device["input"] = -1
        monkeypatch.setattr("kws.audio.devices.Path.glob", lambda *_: iter(["/dev/snd/pcmC0D0c"]))
        monkeypatch.setattr("kws.audio.devices.os.access", lambda *_: False)
        with pytest.raises(DeviceError, match="usermod -aG audio") as caught:
            find(None)
        assert caught.value.problem == "no_permission"

    def test_still_there(self, server: FakePortAudio) -> None:
        """The source that is plugged in again is another one, and a loudspeaker no microphone."""
        usb, again = SOURCES[1], DesktopSource(14, *list(vars(SOURCES[1]).values())[1:])
        named, default = find("usb mic"), find(None)
        assert named.present(Server("", (usb,)))
        assert not named.present(Server("", (again,)))
        assert default.present(Server("", (again,)))
        speaker = DesktopSource(3, "vmic.monitor", "Monitor", 48_000, 2, True, True)
        assert not default.present(Server("", (speaker,)))
        assert named.present(None)
        assert named.present(Server("it does not respond"))
