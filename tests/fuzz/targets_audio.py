"""Fuzz targets: recordings, pipes, split lists and the journals of scans."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import random
import struct
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import soundfile
from fuzzing import EDGES, Target
from targets_models import REFUSED, folder, in_child

from kws.audio import AudioFile, AudioPipe
from kws.audio.samples import RawFormat
from kws.errors import DataError, KwsError
from kws.recordings.data import find_corpus, read_recording
from kws.scanning.journal import Journal

RAW_ENCODINGS = ("s16le", "s32le", "f32le", "mulaw")
MEMORY = 1 << 30  # bytes more than there were; no input here has more than some kilobytes
FORMATS = [
    ("WAV", "PCM_16", None), ("WAV", "PCM_U8", None), ("WAV", "PCM_24", "BIG"),
    ("WAV", "FLOAT", None), ("WAV", "ULAW", None), ("WAV", "IMA_ADPCM", None),
    ("WAV", "GSM610", None), ("WAVEX", "PCM_16", None), ("RF64", "PCM_16", None),
    ("W64", "PCM_16", None), ("AIFF", "PCM_16", None), ("AU", "PCM_16", None),
    ("AU", "PCM_16", "LITTLE"), ("CAF", "PCM_16", None), ("FLAC", "PCM_16", None),
    ("OGG", "VORBIS", None), ("OGG", "OPUS", None), ("MP3", "MPEG_LAYER_III", None),
]  # fmt: skip
# What tells a decoder how much there is.
LENGTHS = (b"RIFF", b"data", b"fact", b"ds64", b"fmt ", b"FORM", b"COMM", b"SSND", b"caff", b"desc",
           b"OggS", b"Xing", b"Info", b"fLaC")  # fmt: skip

# Recordings.


@cache
def recordings() -> tuple[bytes, ...]:
    """A third of a second in every format, mono and stereo."""
    logging.getLogger("kws").addHandler(logging.NullHandler())
    found = []
    sound = 8000 * np.sin(np.arange(5_000) * 0.2)
    for number, (kind, subtype, endian) in enumerate(FORMATS):
        audio = np.stack([sound] * (1 + number % 2), axis=1) / 32768
        if subtype == "GSM610":
            audio = audio[:, :1]
        file = io.BytesIO()
        soundfile.write(file, audio, 16_000, format=kind, subtype=subtype, endian=endian)
        found.append(file.getvalue())
    return tuple(found)


def change_header(content: bytes, draw: random.Random) -> bytes:
    """A length, a rate or a count in a header set to where programs err."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3))):
        places = [at for name in LENGTHS if (at := changed.find(name)) >= 0] or [0]
        at = min(len(changed) - 8, draw.choice(places) + draw.randrange(32))
        form = draw.choice("<>") + draw.choice("HIQ")
        struct.pack_into(form, changed, at, draw.choice(EDGES) % (1 << 8 * struct.calcsize(form)))
    return bytes(changed)


def bounded(content: bytes, listen: Any) -> str:
    """Listen in a child of limited memory; that it dies is a finding."""

    def action() -> None:
        with suppress(ImportError):
            import resource

            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        try:
            listen(content)
        except KwsError:
            os._exit(REFUSED)

    outcome = in_child(action)
    assert outcome != "stopped", "the process that listened died"
    if outcome == "refused":
        raise DataError("refused in the child")
    return outcome


def read_all(source: Any) -> None:
    """All that a source delivers is what it promises."""
    with source:
        for block in source:
            assert block.dtype == np.int16
            assert block.ndim == 1
            assert len(block)


def run_recording(content: bytes) -> str:
    """As a file to listen to, and as one to train on."""
    path = folder() / "recording"
    path.write_bytes(content)

    def listen(_: bytes) -> None:
        with suppress(DataError):
            assert read_recording(path).dtype == np.int16
        read_all(AudioFile(path))

    return bounded(content, listen)


# Pipes.


class Chunks(io.RawIOBase):
    """A stream that delivers its bytes in chunks of sizes that they decide themselves."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._draw = random.Random(hashlib.sha1(content, usedforsecurity=False).digest())

    def read1(self, most: int) -> bytes:
        """Some of the next bytes."""
        size = min(most, self._draw.choice((1, 2, 7, 320, 4096, 65536)))
        data, self._content = self._content[:size], self._content[size:]
        return data


def pipes() -> list[bytes]:
    """The same recordings, and samples without a header."""
    sound = (8000 * np.sin(np.arange(5_000) * 0.2)).astype("<i2")
    return [*recordings(), sound.tobytes(), (sound / 32768).astype("<f4").tobytes()]


def run_pipe(content: bytes) -> str:
    """Through a pipe; the last byte says whether, and as what, samples are stated."""
    last = content[-1] if content else 0
    raw = None
    if last % 4 == 0:
        raw = RawFormat(
            RAW_ENCODINGS[last // 4 % 4], (8_000, 16_000, 44_100)[last % 3], 1 + last % 3
        )
    return bounded(content, lambda data: read_all(AudioPipe(cast(BinaryIO, Chunks(data)), raw)))


# Split lists and journals.


def lists() -> list[bytes]:
    """As editors save them."""
    root = folder() / "words"
    for name in ("yes/a_nohash_0.wav", "yes/b_nohash_0.wav", "größer/a_nohash_0.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    text = "yes/a_nohash_0.wav\ngrößer/a_nohash_0.wav\n"
    return [text.encode(), text.replace("/", "\\").encode("utf-8-sig"), text.encode("utf-16")]


def run_list(content: bytes) -> str:
    """Every clip is in one split, or the list is refused."""
    (folder() / "words" / "validation_list.txt").write_bytes(content)
    corpus = find_corpus(folder() / "words")
    assert 3 == len(corpus.split("training")) + len(corpus.split("validation"))
    return "ran"


def journals() -> list[bytes]:
    """With a result, a failure and a detection."""
    detection = {"keyword": "yes", "score": 0.9, "start": 0.1, "end": 0.9, "time": None}
    rows = [
        {"scan": {"model": "m", "threshold": None}},
        {"path": "/a.wav", "seconds": 1.0, "detections": [detection], "error": None},
        {"path": "/b.wav", "seconds": 0.0, "detections": [], "error": "no", "state": [1, 2, 3]},
    ]
    return [b"".join(json.dumps(row).encode() + b"\n" for row in rows)]


def run_journal(content: bytes) -> str:
    """What is refused is left as it is; else nothing goes but an unfinished last line."""
    path = folder() / "scan.jsonl"
    path.write_bytes(content)
    try:
        with closing(Journal(path, {"model": "m", "threshold": None})) as journal:
            kept = dict(journal.done)
        with closing(Journal(path, {"model": "m", "threshold": None})) as journal:
            assert kept == journal.done
    except KwsError:
        assert content == path.read_bytes()
        raise
    whole = content[: content.rfind(b"\n") + 1]
    assert path.read_bytes().startswith(whole)
    return "ran"


TARGETS = [
    Target(
        "recording",
        recordings,
        run_recording,
        change_header,
        modules=("kws.audio.file", "kws.recordings.data"),
    ),
    Target(
        "pipe",
        pipes,
        run_pipe,
        change_header,
        modules=("kws.audio.pipe", "kws.audio.samples"),
    ),
    Target("list", lists, run_list, modules=("kws.recordings.data",)),
    Target("journal", journals, run_journal, modules=("kws.scanning.journal",)),
]
