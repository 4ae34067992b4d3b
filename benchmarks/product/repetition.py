"""`python -m benchmarks.product.repetition`: the same word four times in a row, ever faster.

Validation clips, so many of each keyword, are cut to the word, said once, and repeated. Each of the
four counts as detected where a detection of its own belongs to it. What is missed when it is said
once is a miss however fast it comes: the rest is what a promise of the time can be about.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.program import keep, program
from kws.evaluation.streameval import Evaluator, choose_clips
from kws.model.load import load_model
from kws.operating_point import OperatingPoint
from kws.recordings.data import corpus_root, find_corpus

CLIPS = 60  # of each keyword


def measure(root: Path, model_name: str | None, most: int) -> dict[str, Any]:
    """Shares in [0, 1] that are detected, by word and by the time from onset to onset."""
    model = load_model(model_name)
    point = OperatingPoint.of(model)
    corpus = find_corpus(corpus_root(root))
    clips = choose_clips(corpus, "validation", point.keywords, most, seed=0)
    return by_word(Evaluator(model, point).repetition(clips)) | {
        "model": model.manifest.name,
        "artefact": model.artefact,
        "clips_of_each_word": most,
    }


def by_word(figures: dict[str, Any]) -> dict[str, Any]:
    """What `kws.evaluation.repetition.figures` gives, with a row for each word."""
    once, distances = figures["once"], figures["distances"]
    detected = {"all": {"said_once": once["detected"]}}
    again: dict[str, dict[str, Any]] = {"all": {}}
    for name, share in once["words"].items():
        detected[name], again[name] = {"said_once": share}, {}
    for distance, row in distances.items():
        for name, shares in ({"all": row} | row["words"]).items():
            detected[name][distance] = shares["detected"]
            again[name][distance] = shares["again"]
    for name, seconds in ({"all": figures["shortest_s"]} | figures["shortest_of_each_s"]).items():
        again[name]["90_%_from_s"] = seconds
    return {
        "times_in_a_row": figures["times"],
        "detected_by_time_from_onset_to_onset": detected,
        "of_words_detected_when_said_once": again,
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = program("product.repetition", __doc__)
    parser.add_argument("--model", help="default: the packaged one")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"of each keyword ({CLIPS})")
    return keep(parser, arguments, lambda given: measure(given.data, given.model, given.clips))


if __name__ == "__main__":
    sys.exit(main())
