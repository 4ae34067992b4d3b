"""`python -m benchmarks.product.peers`: kws beside what one would otherwise install, on the same
streams.

Every peer runs in an environment of its own, made on first use. Processor time is measured in
rounds in which all take turns every few seconds of audio, so that all meet the same machine; each
figure stands beside its ratio to ours, paired by round. Misses and false accepts are counted on one
stream of held-out clips with noise around them and one of speech without keywords. What a threshold
trades between the two is swept where a peer has one, and its fewest misses at no more false accepts
than ours stand by themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import EnvironmentFailed, environment
from benchmarks.product.spotting import PAUSE, choose, surround
from benchmarks.program import keep, program
from benchmarks.results import ROOT
from benchmarks.timed import add_rounds, timed, timed_ratio
from kws.bench.timing import alternate
from kws.config import KEYWORDS, SAMPLE_RATE
from kws.errors import DataError
from kws.model.manifest import find_manifest, read_manifest
from kws.recordings.data import (
    Int16Array,
    corpus_root,
    find_corpus,
    find_recordings,
    read_clips,
    read_recordings,
    split_noise,
)

RUNNER = Path(__file__).parent / "peer_runner.py"
PART = 5 * 2 * SAMPLE_RATE  # bytes that one of them processes before it is the next one's turn
GRACE = SAMPLE_RATE  # a keyword may be decided so long after its clip ends
SEED = 0


@dataclass(frozen=True)
class Peer:
    """One spotter with one setting."""

    name: str
    spotter: str  # of peer_runner
    setting: str = ""
    packages: tuple[str, ...] = ()  # none: it runs in this environment
    root: Path = ROOT  # of the kws that runs where there are no packages
    spots: bool = True  # the ten words, so that its misses can be counted
    compared: bool = True  # processor time; one setting of each spotter is enough


def ours() -> list[Peer]:
    """The float files of our default model, and the first one without the verifier."""
    keys = read_manifest(find_manifest()).artefacts
    files = [key for key in ("stream.onnx", "window.onnx") if key in keys]
    small = Peer(f"kws {files[0]} without verifier", "kws without verifier", files[0], spots=False)
    return [*(Peer(f"kws {key}", "kws", key) for key in files), small]


POCKETSPHINX = ("pocketsphinx==5.1.1",)
THRESHOLDS = ("1e-2", "1e5", "1e10", "1e15", "1e18", "1e20")  # the same for all words
PEERS = (
    Peer("pymicro-wakeword", "pymicro-wakeword", "", ("pymicro-wakeword==2.5.0",), spots=False),
    Peer("pyopen-wakeword", "pyopen-wakeword", "", ("pyopen-wakeword==1.1.0",), spots=False),
    *(
        Peer(f"pocketsphinx {each}", "pocketsphinx", each, POCKETSPHINX, compared=each == "1e-2")
        for each in THRESHOLDS
    ),
    Peer("pocketsphinx grammar", "pocketsphinx-grammar", "", POCKETSPHINX),
    Peer("webrtcvad alone", "webrtcvad", "2", ("webrtcvad-wheels==2.0.14.post1",), spots=False),
)


class Running:
    """A spotter in its own process, asleep between files."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        python = environment(peer.spotter, peer.packages) if peer.packages else sys.executable
        self._process = subprocess.Popen(
            [str(python), str(RUNNER), peer.spotter, peer.setting],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "" if peer.packages else str(peer.root)},
        )
        try:
            self._reply()
        except EnvironmentFailed:
            self.close()
            raise

    def process(self, path: Path, part: tuple[int, int] | None = None) -> dict[str, Any]:
        """What the runner returns for a raw file, or these bytes of it; see peer_runner."""
        assert self._process.stdin
        self._process.stdin.write("\t".join(map(str, (path, *(part or ())))) + "\n")
        self._process.stdin.flush()
        reply: dict[str, Any] = json.loads(self._reply())
        return reply

    def _reply(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise EnvironmentFailed(f"{self.peer.name} ended; its message is above")
        return line

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass(frozen=True)
class Stream:
    """Audio and what is spoken in it."""

    audio: Int16Array
    words: tuple[tuple[str, int, int], ...]  # word, first and last sample of its clip


def word_stream(data: Path, clips_per_word: int) -> Stream:
    """Held-out clips of every word in random order, half a second of noise around each."""
    corpus = find_corpus(corpus_root(data))
    noise, _, _ = read_recordings(corpus.noise)
    held_out = [part for part in (split_noise(each)[1] for each in noise) if len(part) > 2 * PAUSE]
    if not held_out:
        raise DataError(f"{corpus.root} has no noise recordings to put around the clips")
    audio, clips, _ = read_clips(choose(corpus.split("validation"), clips_per_word))
    generator = np.random.default_rng(SEED)
    pieces, words, position = [], [], 0
    for index in generator.permutation(len(clips)):
        background = held_out[generator.integers(len(held_out))]
        piece = surround(audio[index], background, generator)
        words.append((clips[index].word, position + PAUSE, position + len(piece) - PAUSE))
        pieces.append(piece)
        position += len(piece)
    return Stream(np.concatenate(pieces), tuple(words))


def speech_stream(data: Path, minutes: float) -> Stream:
    """Spoken orders, in whose vocabulary none of the keywords is."""
    return Stream(speech_of(data, "orders")[: round(minutes * 60 * SAMPLE_RATE)], ())


def speech_of(data: Path, source: str, files: int | None = None) -> Int16Array:
    """So many recordings of one source of speech, all by default, one after the other."""
    recordings, _, _ = read_recordings(find_recordings(data / "speech" / source)[:files])
    if not recordings:
        raise DataError(f"{data / 'speech' / source} holds no recordings of speech")
    return np.concatenate(recordings)


def score(found: Sequence[Sequence[Any]], stream: Stream) -> dict[str, Any]:
    """Misses, and false accepts, per hour and over the clips of other words."""
    taken = [False] * len(found)
    keywords = hits = 0
    for word, first, last in stream.words:
        if word not in KEYWORDS:
            continue
        keywords += 1
        for index, (name, when) in enumerate(found):
            inside = first <= when * SAMPLE_RATE <= last + GRACE
            if inside and name == word and not taken[index]:
                taken[index] = True
                hits += 1
                break
    false = [when for (_, when), used in zip(found, taken, strict=True) if not used]
    figures = {
        "false_accepts": len(false),
        "false_accepts_per_hour": len(false) / (len(stream.audio) / SAMPLE_RATE / 3600),
    }
    if keywords:
        figures |= {"miss_rate": 1.0 - hits / keywords}
    return {"seconds": len(stream.audio) / SAMPLE_RATE, "keywords": keywords, **figures}


def measure(
    data: Path, peers: Sequence[Peer], clips_per_word: int, minutes: float, rounds: int
) -> dict[str, Any]:
    """Processor time and mistakes of every peer, ours first; the first one is what others are
    compared with."""
    words, speech = word_stream(data, clips_per_word), speech_stream(data, minutes)
    figures: dict[str, Any] = {"paired_processor_time": {}, "mistakes": {}}
    figures |= {"at_our_false_accepts": {}, "not_run": {}}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        files = write_raw(Path(folder), {"words": words.audio, "orders": speech.audio})
        running = []
        for peer in peers:
            try:
                running.append(stack.enter_context(closing(Running(peer))))
            except EnvironmentFailed as error:
                figures["not_run"][peer.name] = str(error)
        timed = [each for each in running if each.peer.compared]
        figures["paired_processor_time"] = processor_time(
            timed, write_raw(Path(folder), timed_audio(data)), rounds
        )
        for each in running:
            if each.peer.spots:
                print(f"{each.peer.name}: counting mistakes")
                figures["mistakes"][each.peer.name] = {
                    "words": score(each.process(files["words"])["found"], words),
                    "speech_without_keywords": score(
                        each.process(files["orders"])["found"], speech
                    ),
                }
    spotters = {each.peer.name: each.peer.spotter for each in running}
    figures["at_our_false_accepts"] = at_our_false_accepts(figures["mistakes"], spotters)
    return figures


def at_our_false_accepts(
    mistakes: Mapping[str, Mapping[str, Any]], spotters: Mapping[str, str]
) -> dict[str, Any]:
    """The fewest misses of each spotter among its settings with no more false accepts than ours.

    Both are by name of the peer, ours first; those of both streams count together.
    """

    def false(name: str) -> int:
        return sum(stream["false_accepts"] for stream in mistakes[name].values())

    budget = false(next(iter(mistakes)))
    best: dict[str, Any] = {}
    for name, streams in mistakes.items():
        spotter, miss_rate = spotters[name], streams["words"]["miss_rate"]
        best.setdefault(spotter, {"setting": "none", "miss_rate": None, "false_accepts": None})
        known = best[spotter]["miss_rate"]
        if false(name) <= budget and (known is None or miss_rate < known):
            best[spotter] = {"setting": name, "miss_rate": miss_rate, "false_accepts": false(name)}
    return best


def timed_audio(data: Path, seconds: float = 20.0) -> dict[str, Int16Array]:
    """What processor time is measured on: spoken orders with their pauses, read speech, which is
    dense, digital silence, faint noise, and a room in which somebody speaks for a tenth of the
    time."""
    samples = round(seconds * SAMPLE_RATE)
    speech = speech_of(data, "orders")[:samples]
    quiet_room = np.random.default_rng(SEED).normal(0, 3, len(speech)).astype(np.int16)
    spoken = len(speech) // 10
    return {
        "speech": speech,
        "read_speech": speech_of(data, "librispeech", files=20)[:samples],
        "silence": np.zeros(len(speech), np.int16),
        "faint_noise": quiet_room,
        "a_tenth_speech": np.concatenate((quiet_room[spoken:], speech[:spoken])),
    }


def write_raw(folder: Path, audio: Mapping[str, Int16Array]) -> dict[str, Path]:
    """Files that a spotter reads, by name."""
    paths = {name: folder / f"{name}.raw" for name in audio}
    for name, samples in audio.items():
        paths[name].write_bytes(samples.tobytes())
    return paths


def processor_time(
    running: Sequence[Running], files: Mapping[str, Path], rounds: int
) -> dict[str, Any]:
    """Milliseconds per second of each file, and the ratio to the first one, by peer.

    In a round each processes the whole file, but all take turns after every PART of it: what slows
    the machine down for longer than that does so for all, and leaves their ratios as they are.
    """
    figures: dict[str, Any] = {each.peer.name: {} for each in running}
    for kind, path in files.items():
        size = path.stat().st_size
        parts = [(begin, min(begin + PART, size)) for begin in range(0, size, PART)]
        turns = {each.peer.name: _turns(each, path, parts) for each in running}
        found = alternate(turns, (rounds + 1) * len(parts))
        values = {}
        for name, taken in found.items():
            by_round = np.reshape(taken, (rounds + 1, len(parts))).sum(axis=1)
            values[name] = (by_round[1:] * 1e3 * 2 * SAMPLE_RATE / size).tolist()  # 0 warms up
        first = values[running[0].peer.name]
        for name, each in values.items():
            figures[name][kind] = {
                "ms_per_second": timed(each),
                "relative_processor_time": timed_ratio(each, first),
            }
    return figures


def _turns(running: Running, path: Path, parts: Sequence[tuple[int, int]]) -> Callable[[], float]:
    """Processes the next part of a file at each call, round and round; the seconds it took."""
    following = cycle(parts)
    return lambda: float(running.process(path, next(following))["cpu_s"])


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.peers", __doc__)
    parser.add_argument("--clips", type=int, default=20, help="at most, of each word")
    parser.add_argument("--minutes", type=float, default=15.0, help="of speech without keywords")
    add_rounds(parser, 15)
    return keep(
        parser,
        arguments,
        lambda given: measure(
            given.data, [*ours(), *PEERS], given.clips, given.minutes, given.rounds
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
