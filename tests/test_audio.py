"""Sources: whatever comes in, int16 mono 16 kHz comes out, or one line says why not."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from kws.audio import (
    BLOCK_MS,
    AudioFile,
    AudioPipe,
    Converter,
    Device,
    Microphone,
    input_devices,
    paced,
)
from kws.audio.microphone import QUEUE_SECONDS
from kws.config import SAMPLE_RATE
from kws.errors import AudioError


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 440.0) -> np.ndarray:
    """A sine at half of full scale, float32."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def heard(source: Any) -> np.ndarray:
    """Everything that a source delivers."""
    blocks = list(source)
    assert all(block.dtype == np.int16 and block.ndim == 1 and len(block) for block in blocks)
    return np.concatenate(blocks) if blocks else np.empty(0, np.int16)


class TestFile:
    def test_int16_at_16_khz_is_passed_on_bit_for_bit(self, tmp_path: Path) -> None:
        """The two conversions through float change nothing."""
        samples = np.arange(-32768, 32768, dtype=np.int16)
        soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE)
        np.testing.assert_array_equal(samples, heard(AudioFile(tmp_path / "a.wav")))

    @pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
    @pytest.mark.parametrize("channels", [1, 2, 6])
    def test_any_rate_and_channels(self, tmp_path: Path, rate: int, channels: int) -> None:
        """A tone keeps its length, level and pitch."""
        samples = np.repeat(tone(1.0, rate)[:, None], channels, axis=1)
        soundfile.write(tmp_path / "a.wav", samples, rate, subtype="PCM_24")
        output = heard(AudioFile(tmp_path / "a.wav"))
        assert abs(len(output) - SAMPLE_RATE) <= 1
        middle = output[2000:14000] / 32768
        np.testing.assert_allclose(middle, tone(1.0)[2000:14000], atol=2e-3)

    def test_blocks_join_without_a_seam(self, tmp_path: Path) -> None:
        """Resampling in blocks equals resampling at once."""
        import soxr

        samples = tone(1.5, 44_100)
        soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
        whole = soxr.resample(samples, 44_100, SAMPLE_RATE)
        expected = np.rint(whole * 32768)
        assert np.abs(heard(AudioFile(tmp_path / "a.wav")) - expected).max() <= 1

    @pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.opus", "a.mp3", "ä b.wav", "a.aiff"])
    def test_formats_and_names(self, tmp_path: Path, name: str) -> None:
        """What libsndfile reads is read, under names with spaces and umlauts too."""
        kind = {"opus": {"format": "OGG", "subtype": "OPUS"}}.get(name.split(".")[1], {})
        soundfile.write(tmp_path / name, tone(1.0), SAMPLE_RATE, **kind)
        assert abs(len(heard(AudioFile(tmp_path / name))) - SAMPLE_RATE) < 2500

    def test_not_numbers_are_silence(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """NaN and infinity become zeros, harm no neighbour and are counted in a warning."""
        samples = tone(0.5)
        samples[100], samples[200], samples[300] = np.nan, np.inf, -np.inf
        soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
        output = heard(AudioFile(tmp_path / "a.wav"))
        assert [0, 0, 0] == [output[i] for i in (100, 200, 300)]
        assert output[101] == np.rint(tone(0.5)[101] * 32768)
        assert "3 samples that are not numbers" in caplog.text

    def test_floats_beyond_full_scale_are_clipped(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Floats in units of int16 saturate instead of wrapping around, and it is said."""
        samples = tone(0.5) * 32768
        soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
        output = heard(AudioFile(tmp_path / "a.wav"))
        assert np.all(np.sign(output[5:12]) == np.sign(samples[5:12]))
        assert {-32768, 32767} <= set(output.tolist())
        assert "times full scale" in caplog.text

    def test_cut_off_wav(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A WAV that ends before its header says is heard as far as it goes."""
        soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLE_RATE)
        content = (tmp_path / "a.wav").read_bytes()
        (tmp_path / "a.wav").write_bytes(content[: 44 + 16_001])
        assert len(heard(AudioFile(tmp_path / "a.wav"))) == 8_000
        assert "is cut off: hearing the 0.5 s" in caplog.text

    def test_wav_of_unknown_length(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A WAV written into a pipe states the largest length; all is heard, and it is said."""
        soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLE_RATE)
        content = bytearray((tmp_path / "a.wav").read_bytes())
        content[4:8] = content[40:44] = b"\xff" * 4
        (tmp_path / "a.wav").write_bytes(content)
        assert len(heard(AudioFile(tmp_path / "a.wav"))) == SAMPLE_RATE
        assert "does not state its length; hearing the 1.0 s up to its end" in caplog.text

    def test_damage_inside(self, tmp_path: Path) -> None:
        """A FLAC file that breaks in the middle delivers its beginning and then says so."""
        soundfile.write(tmp_path / "a.flac", tone(3.0) + 0.1, SAMPLE_RATE)
        content = bytearray((tmp_path / "a.flac").read_bytes())
        half = len(content) // 2
        content[half:] = bytes(len(content) - half)
        (tmp_path / "a.flac").write_bytes(content)
        received: list[np.ndarray] = []
        with pytest.raises(AudioError, match="is damaged after"):
            received.extend(AudioFile(tmp_path / "a.flac"))
        assert len(np.concatenate(received)) > SAMPLE_RATE // 2

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty"),
            (b"RIFF", "not audio that can be read"),
            (b"just some text, saved under the wrong name\n", "not audio that can be read"),
            (bytes(range(256)) * 100, "not audio that can be read"),
        ],
        ids=["empty", "header cut", "text", "binary"],
    )
    def test_not_audio(self, tmp_path: Path, content: bytes, says: str) -> None:
        """Content that is no audio is refused in one line that names the file."""
        path = tmp_path / "a.wav"
        path.write_bytes(content)
        with pytest.raises(AudioError, match=says) as caught:
            AudioFile(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_header_without_samples(self, tmp_path: Path) -> None:
        """A valid header that nothing follows is refused."""
        soundfile.write(tmp_path / "a.wav", tone(0), SAMPLE_RATE)
        with pytest.raises(AudioError, match="holds no samples"):
            AudioFile(tmp_path / "a.wav")

    def test_impossible_rate(self, tmp_path: Path) -> None:
        """A rate of 7 Hz would make hours of audio out of nothing."""
        soundfile.write(tmp_path / "a.wav", tone(0.1), 7)
        with pytest.raises(AudioError, match="says that it is at 7 Hz"):
            AudioFile(tmp_path / "a.wav")

    def test_missing_and_folder(self, tmp_path: Path) -> None:
        """A path that is not there, or no file, is named."""
        with pytest.raises(AudioError, match=r"nowhere\.wav: No such file"):
            AudioFile(tmp_path / "nowhere.wav")
        with pytest.raises(AudioError, match="is a folder"):
            AudioFile(tmp_path)


class TestAudioPipe:
    def test_samples_come_as_they_are(self) -> None:
        """Little-endian int16, whatever the pipe's chunks."""
        samples = np.arange(-5000, 5000, dtype="<i2")
        np.testing.assert_array_equal(samples, heard(AudioPipe(io.BytesIO(samples.tobytes()))))

    def test_chunks_of_odd_size(self, caplog: pytest.LogCaptureFixture) -> None:
        """A sample that is split between two reads is put together again."""
        samples = np.arange(1000, dtype="<i2")
        chunks = [samples.tobytes()[i : i + 7] for i in range(0, 2000, 7)]
        pipe = SimpleNamespace(
            read1=lambda _size: chunks.pop(0) if chunks else b"", read=None, isatty=lambda: False
        )
        np.testing.assert_array_equal(samples, heard(AudioPipe(pipe)))
        assert caplog.text == ""

    def test_odd_byte_at_the_end(self, caplog: pytest.LogCaptureFixture) -> None:
        """Half a sample at the end is dropped and reported."""
        assert heard(AudioPipe(io.BytesIO(b"\x01\x00\x02"))).tolist() == [1]
        assert "one odd byte was ignored" in caplog.text

    def test_nothing(self) -> None:
        """An empty pipe is an error, not a silent success."""
        with pytest.raises(AudioError, match="ended before any audio came"):
            heard(AudioPipe(io.BytesIO()))

    def test_terminal_and_closed_stdin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nothing is piped in, the message shows how to."""
        terminal = SimpleNamespace(isatty=lambda: True)
        with pytest.raises(AudioError, match="arecord"):
            AudioPipe(terminal)  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(AudioError, match="arecord"):
            AudioPipe()


class FakePortAudio:
    """The part of sounddevice that Microphone uses, with a device that refuses what it is told to.

    `script` is what the device then delivers, each block with its overflow flag.
    """

    class PortAudioError(Exception):
        pass

    def __init__(self, refuses: dict[tuple[int, int], int] | None = None) -> None:
        self.refuses = refuses or {}
        self.script: list[tuple[np.ndarray, bool]] = []
        self.opened: tuple[int, int] | None = None
        self.info = {
            "name": "Fake Mic",
            "max_input_channels": 2,
            "default_samplerate": 44_100.0,
            "hostapi": 0,
        }
        self.default = SimpleNamespace(device={"input": 0})

    def query_hostapis(self) -> list[dict[str, str]]:
        return [{"name": "Fake"}]

    def query_devices(self, device: Any = None, kind: str | None = None) -> Any:
        if kind is None:
            return [self.info, {**self.info, "name": "Speaker", "max_input_channels": 0}]
        if device == "nothing":
            raise ValueError("No input device matching 'nothing'")
        if device == 99:
            raise self.PortAudioError("Error querying device 99")
        return self.info

    def InputStream(self, **settings: Any) -> Any:  # noqa: N802, sounddevice's name
        key = (settings["samplerate"], settings["channels"])
        if key in self.refuses:
            raise self.PortAudioError(f"refused {key}", self.refuses[key])
        self.opened = key
        stream = SimpleNamespace(closed=False)

        def start() -> None:
            for block, overflow in self.script:
                status = SimpleNamespace(input_overflow=overflow)
                settings["callback"](block, len(block), None, status)

        def close(ignore_errors: bool = True) -> None:
            stream.closed = True

        stream.start, stream.close = start, close
        return stream


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> FakePortAudio:
    """Microphone and input_devices talk to this one."""
    fake = FakePortAudio()
    monkeypatch.setattr("kws.audio.devices.load_sounddevice", lambda: fake)
    monkeypatch.setattr("kws.audio.microphone.load_sounddevice", lambda: fake)
    monkeypatch.setattr("kws.audio.microphone.STALL_SECONDS", 0.05)
    monkeypatch.setattr("kws.audio.microphone.START_SECONDS", 0.5)
    return fake


def take(iterator: Iterator[np.ndarray], count: int) -> list[np.ndarray]:
    """The next blocks of a source that has no end."""
    return [next(iterator) for _ in range(count)]


class TestMicrophone:
    def test_plain(self, portaudio: FakePortAudio) -> None:
        """A device that takes 16 kHz delivers its samples unchanged."""
        portaudio.script = [(np.full((320, 1), 0.25, "f4"), False)] * 3
        with Microphone() as microphone:
            blocks = take(iter(microphone), 3)
        assert portaudio.opened == (16_000, 1)
        assert np.concatenate(blocks).tolist() == [8192] * 960

    @pytest.mark.parametrize(
        ("refuses", "opened"),
        [
            ({(16_000, 1): -9997}, (44_100, 1)),
            ({(16_000, 1): -9998, (44_100, 1): -9998}, (44_100, 2)),
        ],
    )
    def test_device_that_refuses_16_khz(
        self, portaudio: FakePortAudio, refuses: dict[tuple[int, int], int], opened: tuple[int, int]
    ) -> None:
        """Its own rate and channels are taken, resampled and averaged."""
        portaudio.refuses = refuses
        signal = np.repeat(tone(1.0, 44_100)[:, None], opened[1], axis=1)
        portaudio.script = [(block, False) for block in np.split(signal, 50)] * 2
        with Microphone() as microphone:
            output = np.concatenate(take(iter(microphone), 45))
        assert portaudio.opened == opened
        np.testing.assert_allclose(output[2000:12000] / 32768, tone(1.0)[2000:12000], atol=2e-3)

    def test_busy_device(self, portaudio: FakePortAudio) -> None:
        """A device in use is not asked again at another rate; the message says what to do."""
        portaudio.refuses = {(16_000, 1): -9985}
        with pytest.raises(AudioError, match="close the program that uses it"):
            Microphone()
        portaudio.refuses = {(16_000, 1): -9997, (44_100, 1): -9997, (44_100, 2): -9997}
        with pytest.raises(AudioError, match="cannot record from Fake Mic"):
            Microphone()

    def test_unknown_device(self, portaudio: FakePortAudio) -> None:
        """A name or number that no device has points to `kws devices`."""
        for device in ("nothing", 99):
            with pytest.raises(AudioError, match="kws devices"):
                Microphone(device)

    def test_unplugged(self, portaudio: FakePortAudio) -> None:
        """A device that delivers no more ends in an error, not in a hang."""
        portaudio.script = [(np.full((320, 1), 0.25, "f4"), False)]
        received = []
        with (
            Microphone() as microphone,
            pytest.raises(AudioError, match="has stopped delivering audio"),
        ):
            received.extend(microphone)
        assert len(received) == 1

    def test_closed(self, portaudio: FakePortAudio) -> None:
        """Closing ends the iteration, and closing twice is fine."""
        microphone = Microphone()
        microphone.close()
        microphone.close()
        assert list(microphone) == []

    def test_overflow_is_counted_and_said(
        self, portaudio: FakePortAudio, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Audio lost in the sound system or in a full queue is counted; the queue stays bounded."""
        capacity = int(QUEUE_SECONDS * 1000 / BLOCK_MS)
        block = np.full((320, 1), 0.25, "f4")
        portaudio.script = [(block, True)] + [(block, False)] * (capacity + 9)
        with Microphone() as microphone:
            assert microphone.lost == 11 * 320
            assert len(take(iter(microphone), capacity)) == capacity
        assert "220 ms of audio were lost" in caplog.text

    def test_callback_keeps_a_copy(self, portaudio: FakePortAudio) -> None:
        """PortAudio reuses its buffer after the callback returns."""
        block = np.full((320, 1), 0.25, "f4")
        portaudio.script = [(block, False)]
        with Microphone() as microphone:
            block[:] = 0.0
            assert take(iter(microphone), 1)[0].tolist() == [8192] * 320

    def test_muted(self, portaudio: FakePortAudio, caplog: pytest.LogCaptureFixture) -> None:
        """Five seconds of exact zeros are a mute switch, said once; quiet noise is not."""
        zeros, quiet = np.zeros((320, 1), "f4"), np.full((320, 1), 1 / 32768, "f4")
        portaudio.script = [(quiet, False)] + [(zeros, False)] * 249
        with Microphone() as microphone:
            blocks = iter(microphone)
            take(blocks, 250)
            assert caplog.text == ""
            for block in [zeros, zeros, zeros, quiet]:
                microphone._enqueue(block, 320, None, SimpleNamespace(input_overflow=False))
            take(blocks, 4)
        assert caplog.text.count("delivers only zeros") == 1

    def test_no_portaudio(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the system library the message names the package to install."""

        class Missing:
            def find_spec(self, name: str, *_: object) -> None:
                if name == "sounddevice":
                    raise OSError("PortAudio library not found")

        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
        for attempt in (Microphone, input_devices):
            with pytest.raises(AudioError, match="libportaudio2"):
                attempt()


class TestInputDevices:
    def test_only_those_that_record(self, portaudio: FakePortAudio) -> None:
        """Loudspeakers are left out."""
        expected = Device(0, "Fake Mic", "Fake", 2, 44_100.0, True)
        assert [expected] == input_devices()

    def test_none(self, portaudio: FakePortAudio) -> None:
        """A machine without a microphone gets the ways to go on."""
        portaudio.info["max_input_channels"] = 0
        with pytest.raises(AudioError, match="kws listen --demo"):
            input_devices()


def test_converter_of_an_empty_block() -> None:
    """No frames in, no samples out, and no warning from NumPy."""
    assert len(Converter(SAMPLE_RATE).convert(np.empty((0, 2), "f4"))) == 0
    assert len(Converter(44_100).convert(np.empty((0, 1), "f4"), last=True)) == 0


def test_paced_does_not_run_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block waits until it would have been spoken, on a clock that only sleeping moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    times = [now[0] - 100.0 for _ in paced(np.zeros(320, np.int16) for _ in range(3))]
    assert times == pytest.approx([0.02, 0.04, 0.06])
