"""Sources: whatever comes in, int16 mono 16 kHz comes out, or one line says why not."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from kws.audio import (
    AudioFile,
    AudioPipe,
    Converter,
    paced,
)
from kws.config import SAMPLE_RATE
from kws.errors import AudioError


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 440.0) -> np.ndarray:
    """A sine at half of full scale, float32."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def read_all(source: Any) -> np.ndarray:
    """Everything that a source delivers."""
    blocks = list(source)
    assert all(block.dtype == np.int16 and block.ndim == 1 and len(block) for block in blocks)
    return np.concatenate(blocks) if blocks else np.empty(0, np.int16)


class TestFile:
    def test_int16_at_16_khz_is_passed_on_bit_for_bit(self, tmp_path: Path) -> None:
        """The two conversions through float change nothing."""
        samples = np.arange(-32768, 32768, dtype=np.int16)
        soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE)
        np.testing.assert_array_equal(samples, read_all(AudioFile(tmp_path / "a.wav")))

    @pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
    @pytest.mark.parametrize("channels", [1, 2, 6])
    def test_any_rate_and_channels(self, tmp_path: Path, rate: int, channels: int) -> None:
        """A tone keeps its length, level and pitch."""
        samples = np.repeat(tone(1.0, rate)[:, None], channels, axis=1)
        soundfile.write(tmp_path / "a.wav", samples, rate, subtype="PCM_24")
        output = read_all(AudioFile(tmp_path / "a.wav"))
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
        assert np.abs(read_all(AudioFile(tmp_path / "a.wav")) - expected).max() <= 1

    @pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.opus", "a.mp3", "ä b.wav", "a.aiff"])
    def test_formats_and_names(self, tmp_path: Path, name: str) -> None:
        """What libsndfile reads is read, under names with spaces and umlauts too."""
        kind = {"opus": {"format": "OGG", "subtype": "OPUS"}}.get(name.split(".")[1], {})
        soundfile.write(tmp_path / name, tone(1.0), SAMPLE_RATE, **kind)
        assert abs(len(read_all(AudioFile(tmp_path / name))) - SAMPLE_RATE) < 2500

    def test_not_numbers_are_silence(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """NaN and infinity become zeros, harm no neighbour and are counted in a warning."""
        samples = tone(0.5)
        samples[100], samples[200], samples[300] = np.nan, np.inf, -np.inf
        soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
        output = read_all(AudioFile(tmp_path / "a.wav"))
        assert [0, 0, 0] == [output[i] for i in (100, 200, 300)]
        assert output[101] == np.rint(tone(0.5)[101] * 32768)
        assert "3 samples that are not numbers" in caplog.text

    def test_floats_beyond_full_scale_are_clipped(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Floats in units of int16 saturate instead of wrapping around, and it is said."""
        samples = tone(0.5) * 32768
        soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
        output = read_all(AudioFile(tmp_path / "a.wav"))
        assert np.all(np.sign(output[5:12]) == np.sign(samples[5:12]))
        assert {-32768, 32767} <= set(output.tolist())
        assert "times full scale" in caplog.text

    def test_cut_off_wav(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A WAV that ends before its header says is read as far as it goes."""
        soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLE_RATE)
        content = (tmp_path / "a.wav").read_bytes()
        (tmp_path / "a.wav").write_bytes(content[: 44 + 16_001])
        assert len(read_all(AudioFile(tmp_path / "a.wav"))) == 8_000
        assert "is cut off: reading the 0.5 s" in caplog.text

    def test_wav_of_unknown_length(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A WAV written into a pipe states the largest length; all is read, with a warning."""
        soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLE_RATE)
        content = bytearray((tmp_path / "a.wav").read_bytes())
        content[4:8] = content[40:44] = b"\xff" * 4
        (tmp_path / "a.wav").write_bytes(content)
        assert len(read_all(AudioFile(tmp_path / "a.wav"))) == SAMPLE_RATE
        assert "does not state its length; reading the 1.0 s up to its end" in caplog.text

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
        np.testing.assert_array_equal(samples, read_all(AudioPipe(io.BytesIO(samples.tobytes()))))

    def test_chunks_of_odd_size(self, caplog: pytest.LogCaptureFixture) -> None:
        """A sample that is split between two reads is put together again."""
        samples = np.arange(1000, dtype="<i2")
        chunks = [samples.tobytes()[i : i + 7] for i in range(0, 2000, 7)]
        pipe = SimpleNamespace(
            read1=lambda _size: chunks.pop(0) if chunks else b"", read=None, isatty=lambda: False
        )
        np.testing.assert_array_equal(samples, read_all(AudioPipe(pipe)))
        assert caplog.text == ""

    def test_odd_byte_at_the_end(self, caplog: pytest.LogCaptureFixture) -> None:
        """Half a sample at the end is dropped and reported."""
        assert read_all(AudioPipe(io.BytesIO(b"\x01\x00\x02"))).tolist() == [1]
        assert "one odd byte was ignored" in caplog.text

    def test_nothing(self) -> None:
        """An empty pipe is an error, not a silent success."""
        with pytest.raises(AudioError, match="ended before any audio came"):
            read_all(AudioPipe(io.BytesIO()))

    def test_terminal_and_closed_stdin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nothing is piped in, the message shows how to."""
        terminal = SimpleNamespace(isatty=lambda: True)
        with pytest.raises(AudioError, match="arecord"):
            AudioPipe(terminal)  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(AudioError, match="arecord"):
            AudioPipe()


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
