"""`python -m benchmarks.studies.mislabelled`: how many planted label errors `kws data check` finds.

Up to 700 training clips of each word get, three times of a hundred, another word's label. What is
listed beyond the planted ones counts as a false alarm, though some of it is truly mislabelled.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import keep, program
from kws.recordings.data import Clip, corpus_root, find_corpus, read_clips
from kws.recordings.mislabelled import FEWEST, find_mislabelled, sketch

CLIPS = 700  # of each word, at most
PLANTED = 0.03  # share of the clips


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("studies.mislabelled", __doc__)
    return keep(parser, arguments, _measure)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    figures = measure(options.data)
    print(
        f"{figures['found']:.1%} of {figures['planted']} planted errors found, "
        f"{figures['precision']:.1%} of what was listed"
    )
    return figures


def measure(data: Path) -> dict[str, Any]:
    """Plant and look; shares in [0, 1]."""
    generator = np.random.default_rng(0)
    by_word: dict[str, list[Clip]] = {}
    for clip in find_corpus(corpus_root(data)).split("training"):
        by_word.setdefault(clip.word, []).append(clip)
    known = sorted(word for word, clips in by_word.items() if len(clips) >= 2 * FEWEST)
    sketches, words, speakers = [], [], []
    for word in known:
        order = generator.permutation(len(by_word[word]))[:CLIPS]
        audio, used, _ = read_clips([by_word[word][index] for index in order])
        sketches += [sketch(clip) for clip in audio]
        words += [word] * len(used)
        speakers += [clip.speaker for clip in used]
    planted = generator.random(len(words)) < PLANTED
    labels = [
        known[(known.index(word) + int(generator.integers(1, len(known)))) % len(known)]
        if is_planted
        else word
        for word, is_planted in zip(words, planted, strict=True)
    ]
    listed = find_mislabelled(np.stack(sketches), labels, speakers)
    hits = [index for index, _, _ in listed if planted[index]]
    right = [index for index, suggested, _ in listed if suggested == words[index]]
    return {
        "clips": len(words),
        "words": len(known),
        "planted": int(planted.sum()),
        "listed": len(listed),
        "found": len(hits) / max(1, int(planted.sum())),
        "precision": len(hits) / max(1, len(listed)),
        "right_word_suggested": len(set(hits) & set(right)) / max(1, len(hits)),
    }


if __name__ == "__main__":
    sys.exit(main())
