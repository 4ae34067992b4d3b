"""Headers that lie in either direction: all that is there is read, with a warning."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from kws.audio import AudioFile, Int16Array
from kws.audio.header import mend
from kws.audio.sound import MOST_VALUES, Sound, open_sound
from kws.config import SAMPLE_RATE
from kws.errors import AudioError, DataError
from kws.recordings import data

SPEECH = np.random.default_rng(3).normal(0, 3000, 2 * SAMPLE_RATE).astype(np.int16)
TOLD = {  # format: where its header states the length of the samples, and how
    "WAV": (lambda content: content.index(b"data") + 4, "<I"),
    "RF64": (lambda content: content.index(b"ds64") + 16, "<Q"),
    "AIFF": (lambda content: content.index(b"SSND") + 4, ">I"),
    "AU": (lambda content: 8, ">I"),
    "CAF": (lambda content: content.index(b"data") + 4, ">Q"),
}


def recording(kind: str, subtype: str | None = None, endian: str | None = None) -> bytearray:
    """Two seconds of int16 at 16 kHz."""
    file = io.BytesIO()
    soundfile.write(file, SPEECH, SAMPLE_RATE, format=kind, subtype=subtype, endian=endian)
    return bytearray(file.getvalue())


def read_all(path: Path) -> Int16Array:
    """All that the file delivers."""
    with AudioFile(path) as file:
        return np.concatenate(list(file))


@pytest.mark.parametrize("stated", [0, 1000, 10**6, 2**31, 2**32 - 1], ids=hex)
@pytest.mark.parametrize("kind", TOLD)
def test_any_stated_length(
    kind: str, stated: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Zero, too small, too large and placeholders: all samples, bit for bit, and a warning."""
    content = recording(kind)
    place, form = TOLD[kind][0](content), TOLD[kind][1]
    content[place : place + struct.calcsize(form)] = struct.pack(form, stated)
    (tmp_path / "a").write_bytes(content)
    found = read_all(tmp_path / "a")
    assert np.array_equal(SPEECH, found[: len(SPEECH)])
    assert len(found) - len(SPEECH) in (0, 2, 4)  # AIFF and CAF begin with a few bytes of their own
    if (kind, stated) != ("AU", 2**32 - 1):  # which AU says of every stream
        (record,) = caplog.records
        assert record.getMessage().startswith(f"{tmp_path / 'a'} ")
        assert logging.WARNING == record.levelno


@pytest.mark.parametrize("kind", [*TOLD, "W64", "FLAC"])
def test_an_honest_header_is_believed(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No warning, and no sample more or less."""
    (tmp_path / "a").write_bytes(recording(kind))
    assert np.array_equal(SPEECH, read_all(tmp_path / "a"))
    assert "" == caplog.text


@pytest.mark.parametrize("stated", [0, 100, 10**6, 2**36 - 1])
def test_flac_of_another_length(
    stated: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ffmpeg writes 0 into a pipe; a lie is told of, an unknown length is not."""
    content = recording("FLAC")
    (numbers,) = struct.unpack_from(">Q", content, 18)
    struct.pack_into(">Q", content, 18, numbers >> 36 << 36 | stated)
    (tmp_path / "a").write_bytes(content)
    assert np.array_equal(SPEECH, read_all(tmp_path / "a"))
    assert bool(stated) == ("all of it was read" in caplog.text)


@pytest.mark.parametrize("frames", [0, 2, 10**6])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 2), (48_000, 1)])
def test_mp3_of_another_length(frames: int, rate: int, channels: int, tmp_path: Path) -> None:
    """A Xing header that counts other frames than there are, or none, does not end it early."""
    file = io.BytesIO()
    soundfile.write(file, np.stack([SPEECH] * channels, axis=1), rate, format="MP3")
    content = bytearray(file.getvalue())
    expected = len(SPEECH) * SAMPLE_RATE / rate
    place = content.index(b"Xing")
    struct.pack_into(">II", content, place + 8, frames, frames * 50)
    (tmp_path / "lies.mp3").write_bytes(content)
    content[place : place + 4] = bytes(4)
    (tmp_path / "none.mp3").write_bytes(b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + content)
    for name in ("lies.mp3", "none.mp3"):
        assert expected == pytest.approx(len(read_all(tmp_path / name)), abs=5000)


@pytest.mark.parametrize("tail", [b"LIST\x04\0\0\0abcd", b"TAG" + b"x" * 125, b"\0\0\0"])
def test_what_follows_the_samples(
    tail: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Chunks and tags behind the samples are no samples."""
    (tmp_path / "a").write_bytes(recording("WAV") + tail)
    assert np.array_equal(SPEECH, read_all(tmp_path / "a"))
    assert "" == caplog.text


@pytest.mark.parametrize(
    ("subtype", "endian"),
    [("PCM_U8", None), ("PCM_24", None), ("PCM_32", "BIG"), ("FLOAT", None), ("ULAW", None),
     ("ALAW", None), ("IMA_ADPCM", None), ("MS_ADPCM", None)],
)  # fmt: skip
def test_every_encoding_of_wav(subtype: str, endian: str | None, tmp_path: Path) -> None:
    """A length of zero is mended whatever the samples are, in either byte order."""
    content = recording("WAV", subtype, endian)
    (tmp_path / "honest").write_bytes(content)
    place = content.index(b"data") + 4
    content[place : place + 4] = bytes(4)
    (tmp_path / "zero").write_bytes(content)
    honest = read_all(tmp_path / "honest")
    assert np.array_equal(honest, read_all(tmp_path / "zero")[: len(honest)])


def test_more_than_32_bits_can_state(tmp_path: Path) -> None:
    """A WAV of more than 4 GB, whose length has wrapped around, is read beyond it."""
    content = recording("WAV")
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(content[:44])
        file.seek((1 << 32) + 1044)
        file.write(SPEECH.tobytes())
        file.seek(40)
        file.write(struct.pack("<I", 1000 + len(SPEECH) * 2))
    if path.stat().st_blocks * 512 > 1 << 30:
        pytest.skip("this file system has no sparse files")
    with path.open("rb") as file:
        mended = mend(file)
    assert mended is not None
    assert mended.header.startswith(b"RF64")
    with closing(open_sound(path)) as sound:
        assert 16_000 == sound.rate
        assert not sound.read(1000).any()


def test_cut_off_says_how_much_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of two seconds, one."""
    (tmp_path / "a.wav").write_bytes(recording("WAV")[: 44 + 2 * SAMPLE_RATE])
    assert np.array_equal(SPEECH[:SAMPLE_RATE], read_all(tmp_path / "a.wav"))
    assert "is cut off: reading the 1.0 s that are there" in caplog.text


def wav_header(rate: int, channels: int, length: int) -> bytes:
    """Of int16 samples."""
    form = struct.pack(
        "<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2 & 0xFFFF, 16
    )
    return (
        b"RIFF" + struct.pack("<I", length + 36 & 0xFFFFFFFF) + b"WAVEfmt "
        + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", length & 0xFFFFFFFF)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "channels", "says"),
    [(768_000, 1024, "1024 channels"), (3, 1, "3 Hz"), (10**9, 1, "1000000000 Hz")],
)
def test_no_recording_is_like_that(rate: int, channels: int, says: str, tmp_path: Path) -> None:
    """Rates and channel counts have bounds."""
    (tmp_path / "a.wav").write_bytes(wav_header(rate, channels, 10_000) + bytes(10_000))
    with pytest.raises(AudioError, match=says):
        AudioFile(tmp_path / "a.wav")


def test_a_block_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file that states the most of everything gives small blocks."""
    channels, rate = 256, 768_000
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(wav_header(rate, channels, 2 * channels * rate))
        file.truncate(44 + 2 * channels * rate)
    requested = []

    def read(sound: Sound, frames: int) -> NDArray[np.float32]:
        requested.append(frames * sound.channels)
        return np.zeros((frames if len(requested) < 5 else 0, sound.channels), np.float32)

    monkeypatch.setattr(Sound, "read", read)
    with closing(open_sound(tmp_path / "a.wav")) as sound:
        list(sound.blocks(960))
    assert max(requested) <= MOST_VALUES


def test_a_recording_in_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours are the most that training takes in one piece."""
    (tmp_path / "a.wav").write_bytes(recording("WAV"))
    assert np.array_equal(SPEECH, data.read_recording(tmp_path / "a.wav"))
    monkeypatch.setattr(data, "LONGEST_HOURS", 1 / 3600)
    with pytest.raises(DataError, match="cut it into pieces"):
        data.read_recording(tmp_path / "a.wav")


def test_float_clips_are_scaled(tmp_path: Path) -> None:
    """libsndfile truncates float samples to integers, which would make silence of them."""
    soundfile.write(tmp_path / "a.wav", SPEECH / 32768, SAMPLE_RATE, subtype="FLOAT")
    assert np.array_equal(SPEECH, data.read_recording(tmp_path / "a.wav"))


@pytest.mark.parametrize("change", [lambda c: c[:20], lambda c: c[:44], lambda c: b"RIFF" * 1000])
def test_no_samples(change: Callable[[bytearray], bytes], tmp_path: Path) -> None:
    """A header alone is one line."""
    (tmp_path / "a.wav").write_bytes(change(recording("WAV")))
    with pytest.raises(AudioError, match=r"holds no samples|not audio"):
        AudioFile(tmp_path / "a.wav")
