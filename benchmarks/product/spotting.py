"""`python -m benchmarks.product.spotting`: how many spoken keywords a stream detector spots.

Validation clips, up to 200 of each word, each with half a second of noise before and after it, are
streamed through `Detector` in blocks of 20 ms. A keyword counts as spotted where the right word
fires; a clip of any other word should let nothing fire.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.program import keep, program
from kws import Detector
from kws.config import SAMPLE_RATE
from kws.errors import DataError
from kws.recordings.data import (
    Clip,
    Int16Array,
    corpus_root,
    find_corpus,
    read_clips,
    read_recordings,
    split_noise,
)
from kws.recordings.mix import level

CLIPS_PER_WORD = 200
PAUSE = SAMPLE_RATE // 2  # samples before and after a clip
NOISE_BELOW_DB = 20.0  # of the noise around a clip, below the clip
BLOCK = 320  # samples, 20 ms
SEED = 0


@dataclass(frozen=True)
class Outcome:
    """What fired while one clip was streamed."""

    word: str
    fired: tuple[str, ...]


def surround(clip: Int16Array, noise: Int16Array, generator: np.random.Generator) -> Int16Array:
    """The clip with half a second of noise on both sides; the clip itself is left as it is."""
    start = generator.integers(len(noise) - 2 * PAUSE + 1)
    cut = noise[start : start + 2 * PAUSE].astype(np.float64)
    # A clip of digital silence would need silence around it, which tells nothing.
    loudness = max(level(clip), 1.0) * 10.0 ** (-NOISE_BELOW_DB / 20.0)
    scaled = cut * loudness / max(float(np.sqrt(np.mean(cut**2))), 1.0)
    around = np.clip(np.round(scaled), -32768, 32767).astype(np.int16)
    return np.concatenate((around[:PAUSE], clip, around[PAUSE:]))


def stream(detector: Detector, audio: Int16Array) -> tuple[str, ...]:
    """The keywords that fire, in order."""
    blocks = (audio[start : start + BLOCK] for start in range(0, len(audio), BLOCK))
    return tuple(detection.keyword for detection in detector.listen(blocks))


def choose(clips: Sequence[Clip], most: int) -> list[Clip]:
    """At most so many clips of each word, drawn with a fixed seed."""
    by_word: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_word[clip.word].append(clip)
    chosen = []
    for word in sorted(by_word):
        found = by_word[word]
        chosen += found if len(found) <= most else random.Random(SEED).sample(found, most)
    return chosen


def figures(outcomes: Sequence[Outcome], keywords: Sequence[str]) -> dict[str, Any]:
    """Shares in [0, 1] over the clips, in all and per word."""
    per_word = {}
    for word in sorted({outcome.word for outcome in outcomes}, key=_keywords_first(keywords)):
        fired = [outcome.fired for outcome in outcomes if outcome.word == word]
        row: dict[str, Any] = {"clips": len(fired)}
        if word in keywords:
            row["spotted"] = _share(word in each for each in fired)
            row["spotted_once_and_nothing_else"] = _share(each == (word,) for each in fired)
            row["wrong_word"] = _share(bool(set(each) - {word}) for each in fired)
        else:
            row["fired"] = _share(bool(each) for each in fired)
        per_word[word] = row
    spoken = [outcome for outcome in outcomes if outcome.word in keywords]
    others = [outcome for outcome in outcomes if outcome.word not in keywords]
    return {
        "keyword_clips": len(spoken),
        "spotted": _share(o.word in o.fired for o in spoken),
        "spotted_once_and_nothing_else": _share(o.fired == (o.word,) for o in spoken),
        "wrong_word": _share(bool(set(o.fired) - {o.word}) for o in spoken),
        "unknown_clips": len(others),
        "unknown_fired": _share(bool(o.fired) for o in others),
        "words": per_word,
    }


def _keywords_first(keywords: Sequence[str]) -> Any:
    return lambda word: (word not in keywords, word)


def _share(outcomes: Any) -> float:
    values = list(outcomes)
    return round(sum(values) / len(values), 4) if values else 0.0


def measure(root: Path, model: str | None, most: int) -> dict[str, Any]:
    """Stream the validation clips below `root`; returns the figures."""
    corpus = find_corpus(corpus_root(root))
    noise, _, _ = read_recordings(corpus.noise)
    held_out = [part for part in (split_noise(n)[1] for n in noise) if len(part) >= 2 * PAUSE]
    if not held_out:
        raise DataError(f"{corpus.root} has no noise recordings to put around the clips")
    audio, used, problems = read_clips(choose(corpus.split("validation"), most))
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    generator = np.random.default_rng(SEED)
    outcomes = []
    with Detector(model) as detector:
        for clip, samples in track(
            list(zip(used, audio, strict=True)), "streaming", disable=not sys.stdout.isatty()
        ):
            background = held_out[generator.integers(len(held_out))]
            fired = stream(detector, surround(samples, background, generator))
            outcomes.append(Outcome(clip.word, fired))
        used_model = detector.model
        artefact = used_model.manifest.artefacts[used_model.artefact]
        return {
            "model": used_model.manifest.name,
            "artefact": used_model.artefact,
            "sha256": artefact.sha256,
            **figures(outcomes, used_model.manifest.keywords),
        }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.spotting", __doc__)
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument("--clips", type=int, default=CLIPS_PER_WORD, help="at most, of each word")
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    measured = measure(options.data, options.model, options.clips)
    print(
        f"{measured['spotted']:.1%} of {measured['keyword_clips']} keywords spotted, "
        f"{measured['unknown_fired']:.1%} of {measured['unknown_clips']} other words fired"
    )
    return measured


if __name__ == "__main__":
    sys.exit(main())
