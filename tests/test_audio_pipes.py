"""Whatever comes through a pipe, however its bytes come."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from kws.audio import AudioFile, AudioPipe
from kws.audio import pipe as pipe_module
from kws.audio.samples import RawFormat
from kws.cli import main
from kws.config import SAMPLE_RATE
from kws.errors import AudioError

RAW_ENCODINGS = ("s16le", "s32le", "f32le", "mulaw")  # what --raw-format takes
SPEECH = (np.sin(np.arange(2 * SAMPLE_RATE) * 0.1) * 8000).astype(np.int16)
FORMATS = [
    ("WAV", "PCM_16", None), ("WAV", "PCM_U8", None), ("WAV", "PCM_24", None),
    ("WAV", "PCM_32", None), ("WAV", "FLOAT", None), ("WAV", "DOUBLE", None),
    ("WAV", "ULAW", None), ("WAV", "ALAW", None), ("WAV", "IMA_ADPCM", None),
    ("WAV", "PCM_16", "BIG"), ("WAV", "PCM_24", "BIG"), ("WAVEX", "PCM_16", None),
    ("RF64", "PCM_16", None), ("W64", "PCM_16", None), ("AIFF", "PCM_16", None),
    ("AU", "PCM_16", None), ("AU", "PCM_16", "LITTLE"), ("CAF", "PCM_16", None),
    ("FLAC", "PCM_16", None), ("OGG", "VORBIS", None), ("OGG", "OPUS", None),
    ("MP3", "MPEG_LAYER_III", None),
]  # fmt: skip


def recording(
    kind: str, subtype: str | None = None, endian: str | None = None, rate: int = SAMPLE_RATE
) -> bytes:
    """The tone as a file."""
    file = io.BytesIO()
    audio = SPEECH / 32768 if subtype in ("FLOAT", "DOUBLE") else SPEECH
    soundfile.write(file, audio, rate, format=kind, subtype=subtype, endian=endian)
    return file.getvalue()


def read_all(source: AudioPipe | AudioFile) -> NDArray[np.int16]:
    """Everything that comes."""
    with source:
        return np.concatenate([np.zeros(0, np.int16), *source])


@pytest.fixture
def pipes() -> Iterator[list[BinaryIO]]:
    """Ends of pipes, closed afterwards."""
    opened: list[BinaryIO] = []
    yield opened
    for end in opened:
        end.close()


def feed(content: bytes, sizes: tuple[int, ...], pipes: list[BinaryIO], pause: float = 0.0) -> int:
    """A descriptor that delivers the content in writes of these sizes, then of 4096."""
    reading, writing = os.pipe()
    pipes.append(os.fdopen(reading, "rb"))

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as out:
            place = 0
            for size in (*sizes, *[4096] * (len(content) // 4096 + 1)):
                out.write(content[place : place + size])
                place += size
                time.sleep(pause if size < 100 else 0.0)

    threading.Thread(target=write, daemon=True).start()
    return reading


@pytest.mark.parametrize(("kind", "subtype", "endian"), FORMATS)
@pytest.mark.parametrize("sizes", [(), (2, 3)], ids=["at once", "two bytes first"])
def test_every_format_is_known_by_its_content(
    kind: str, subtype: str, endian: str | None, sizes: tuple[int, ...], pipes: list[BinaryIO]
) -> None:
    """However many bytes the first read returns, the same as from the file."""
    content = recording(kind, subtype, endian)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    feed(content, sizes, pipes, pause=0.02)
    found = read_all(AudioPipe(pipes[0])) / 32768
    assert len(expected) == len(found)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_wav_at_its_own_rate_and_channels(rate: int, pipes: list[BinaryIO]) -> None:
    """Stereo of another rate has its true length."""
    file = io.BytesIO()
    soundfile.write(file, np.stack([SPEECH, SPEECH], 1), rate, format="WAV")
    feed(file.getvalue(), (), pipes)
    assert len(SPEECH) * SAMPLE_RATE / rate == pytest.approx(
        len(read_all(AudioPipe(pipes[0]))), abs=2
    )


@pytest.mark.parametrize("length", [0, 1000, 10**7, 2**31, 2**32 - 1], ids=hex)
def test_wav_of_any_stated_length(
    length: int, pipes: list[BinaryIO], caplog: pytest.LogCaptureFixture
) -> None:
    """A recorder into a pipe states 0 or a placeholder: all is read; a lie is reported."""
    content = bytearray(recording("WAV"))
    content[40:44] = length.to_bytes(4, "little")
    feed(bytes(content), (), pipes)
    assert np.array_equal(SPEECH, read_all(AudioPipe(pipes[0])))
    assert (length in (1000, 10**7)) == bool(caplog.records)


def test_chunks_behind_the_samples(pipes: list[BinaryIO]) -> None:
    """They are no samples."""
    feed(recording("WAV") + b"LIST\x04\0\0\0abcd", (), pipes)
    assert np.array_equal(SPEECH, read_all(AudioPipe(pipes[0])))


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_g711_as_libsndfile_decodes_it(subtype: str) -> None:
    """All 256 codes."""
    codes = bytes(range(256))
    expected, _ = soundfile.read(
        io.BytesIO(codes), format="RAW", subtype=subtype, samplerate=8000, channels=1
    )
    found = RawFormat("mulaw" if subtype == "ULAW" else "alaw").decode(codes)[:, 0]
    assert np.array_equal(expected, found)


@pytest.mark.parametrize("encoding", RAW_ENCODINGS)
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
def test_raw_of_any_kind(
    encoding: str, rate: int, channels: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As arecord and ffmpeg give it, at the stated rate and channel count."""
    audio = np.repeat(SPEECH[:, None], channels, axis=1) / 32768
    kinds = {"s16le": "PCM_16", "s32le": "PCM_32", "f32le": "FLOAT", "mulaw": "ULAW"}
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format="RAW", subtype=kinds[encoding], endian="LITTLE")
    source = AudioPipe(io.BytesIO(file.getvalue()), RawFormat(encoding, rate, channels))
    found = read_all(source)
    assert len(SPEECH) * SAMPLE_RATE // rate == pytest.approx(len(found), abs=2)
    assert 8000 == pytest.approx(int(found[1000:].max()), abs=300)
    assert "" == caplog.text


@pytest.mark.parametrize(
    ("encoding", "taken_for"),
    [("f32le", "s16le"), ("mulaw", "s16le"), ("s32le", "s16le"), ("s16be", "s16le"),
     ("s16le", "f32le"), ("s16le", "mulaw"), ("compressed", "s16le")],
)  # fmt: skip
def test_what_cannot_be_speech_is_warned_of(
    recordings: Path, encoding: str, taken_for: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Real speech taken for samples of another kind; taken for what it is, nothing is said."""
    speech = np.concatenate(
        [soundfile.read(path, dtype="int16")[0] for path in sorted(recordings.glob("yes/*"))[:6]]
    )
    wide = speech.astype("<i4") << 16
    content = {
        "f32le": (speech / 32768).astype("<f4").tobytes(),
        "mulaw": _mulaw(speech),
        "s32le": wide.tobytes(),
        "s16le": speech.astype("<i2").tobytes(),
        "s16be": speech.astype(">i2").tobytes(),
        "compressed": sorted(recordings.glob("yes/*"))[0].read_bytes()[1000:] * 60,
    }[encoding]
    read_all(AudioPipe(io.BytesIO(content[: len(content) // 8 * 8]), RawFormat(taken_for)))
    assert "sounds like loud noise, not like speech" in caplog.text
    caplog.clear()
    if encoding in RAW_ENCODINGS:
        read_all(AudioPipe(io.BytesIO(content), RawFormat(encoding)))
        assert "" == caplog.text


def _mulaw(audio: NDArray[np.int16]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio, SAMPLE_RATE, format="RAW", subtype="ULAW")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "ended before any audio came"),
        (b"\0\0\0\x20ftypM4A " + bytes(99), "MP4 or M4A, which is not read here"),
        (b"\x1a\x45\xdf\xa3" + bytes(99), "WebM or Matroska"),
        (gzip.compress(b"x" * 100, mtime=0), "gzip"),  # the same name in each process
        (b"RIFF\0\0\0\0WAVE", "header ends before its samples"),
        (b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 5000, "header ends before its samples"),
        (recording("WAV")[:44], "holds no samples"),
        (recording("FLAC")[:50], "not audio|no samples|damaged"),
        (b"OggS" + bytes(1000), "not audio"),
    ],
)
def test_what_cannot_be_heard_is_one_line(content: bytes, says: str) -> None:
    """Never listened to as though it were samples."""
    with pytest.raises(AudioError, match=says) as caught:
        read_all(AudioPipe(io.BytesIO(content)))
    assert "\n" not in str(caught.value)


def test_samples_that_begin_like_mp3(caplog: pytest.LogCaptureFixture) -> None:
    """A sample of -1025 is no MP3 frame, since none follows it."""
    samples = np.concatenate([np.array([-1025, -28_000], np.int16), SPEECH])
    assert np.array_equal(samples, read_all(AudioPipe(io.BytesIO(samples.tobytes()))))


def test_stated_raw_is_taken_as_stated(caplog: pytest.LogCaptureFixture) -> None:
    """A header is then samples too, and it is said."""
    content = recording("WAV")
    assert len(content) // 2 == len(read_all(AudioPipe(io.BytesIO(content), RawFormat())))
    assert "begins like WAV and is taken for raw samples" in caplog.text


def test_nothing_there_yet_is_not_the_end(pipes: list[BinaryIO]) -> None:
    """A descriptor that somebody has made non-blocking is waited for, in the middle too."""
    handle = feed(SPEECH.tobytes(), (10, 1, 99, 7), pipes, pause=0.1)
    os.set_blocking(handle, False)
    assert np.array_equal(SPEECH, read_all(AudioPipe(pipes[0])))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
class TestFifo:
    @pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3"])
    def test_is_read_once(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        """One that nobody writes into yet is waited for, and it is said."""
        monkeypatch.setattr(pipe_module, "PATIENCE_SECONDS", 0.2)
        os.mkfifo(tmp_path / "pipe")
        content = recording(kind)

        def write() -> None:
            time.sleep(1.0)
            (tmp_path / "pipe").write_bytes(content)

        thread = threading.Thread(target=write)
        thread.start()
        found = read_all(AudioFile(tmp_path / "pipe"))
        thread.join()
        assert len(SPEECH) == pytest.approx(len(found), abs=3000)
        assert "nothing has come yet; still waiting" in caplog.text

    def test_raw_needs_to_be_said(self, tmp_path: Path) -> None:
        """A name does not tell what samples without a header are."""
        os.mkfifo(tmp_path / "pipe")
        for raw in (None, RawFormat()):
            thread = threading.Thread(
                target=(tmp_path / "pipe").write_bytes, args=(SPEECH.tobytes(),)
            )
            thread.start()
            with AudioPipe.open(str(tmp_path / "pipe"), raw) as source:
                if raw:
                    assert np.array_equal(SPEECH, np.concatenate(list(source)))
                else:
                    with pytest.raises(AudioError, match="--raw-format"):
                        list(source)
            thread.join()

    @pytest.mark.parametrize("place", ["/dev/stdin", "<(cat a.flac)"])
    def test_names_of_the_shell(self, place: str, tmp_path: Path) -> None:
        """Standard input by its name, and process substitution."""
        (tmp_path / "a.flac").write_bytes(recording("FLAC"))
        program = "import sys; from kws.audio import AudioFile; "
        program += "print(sum(map(len, AudioFile(sys.argv[1]))))"
        done = subprocess.run(
            ["bash", "-c", f'cat a.flac | "$0" -c "$1" {place}', sys.executable, program],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
        assert (f"{len(SPEECH)}\n", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize(("rate", "channels"), [(7, 1), (10**7, 1), (16_000, 0), (16_000, 999)])
def test_bounds(rate: int, channels: int) -> None:
    """Rates and channel counts that no recording has."""
    with pytest.raises(AudioError, match="expected"):
        AudioPipe(io.BytesIO(b"xx"), RawFormat("s16le", rate, channels))


def test_raw_options_need_an_input(tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They say what --input is; without one they say nothing. A bad one is wrong usage."""
    assert 1 == main(["listen", "--demo", "--model", str(tones), "--raw-rate", "8000"])
    assert "--raw-rate" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["listen", "--input", "-", "--raw-format", "mp3"])


def test_a_file_of_raw_samples(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its format stated it is read; without, one line says what to do."""
    (tmp_path / "a.raw").write_bytes(np.repeat(SPEECH, 3).astype("<i2").tobytes())
    command = ["listen", "--model", str(tones), "--input", str(tmp_path / "a.raw")]
    assert 1 == main(command)
    assert "is called raw samples" in capsys.readouterr().err
    assert 0 == main([*command, "--raw-rate", "48000"])
    assert "2.0 s of audio" in capsys.readouterr().err


def test_noise_in_a_wav_is_no_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """What its samples are, a header tells."""
    noise = np.random.default_rng(0).integers(-32768, 32767, 4 * SAMPLE_RATE).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, noise, SAMPLE_RATE, format="WAV")
    assert np.array_equal(noise, read_all(AudioPipe(io.BytesIO(file.getvalue()))))
    assert "" == caplog.text
    read_all(AudioPipe(io.BytesIO(noise.tobytes())))
    assert "sounds like loud noise" in caplog.text


def test_a_full_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named in one line, with what to do."""

    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipe_module.tempfile, "TemporaryFile", Full)
    with pytest.raises(AudioError, match=r"No space left on device.*TMPDIR"):
        read_all(AudioPipe(io.BytesIO(recording("FLAC"))))
