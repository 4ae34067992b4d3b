"""Own words from 10, 30 and 100 recordings each: how much starting from our weights is worth.

`python -m benchmarks.studies.finetune` teaches five words to the shipped model, with all of it
free and with its trunk frozen, and to a network of the same size from nothing; then it measures
all three on recordings that none was trained on. Four of the words were held out of the shipped
model's training; the fifth, snowboy, was in it only as speech that is no command. A seed takes up
to ten minutes of one core; `--quick` shows in one or two that everything runs, and its figures
mean nothing."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.options import parse
from benchmarks.results import FOLDER, write_result
from kws.config import UNKNOWN
from kws.errors import KwsError
from kws.recordings.data import (
    Clip,
    Int16Array,
    corpus_root,
    find_corpus,
    find_recordings,
    fit_length,
    read_clips,
    read_recordings,
)
from kws.train.features import LogMel
from kws.train.finetune import Base, TuneConfig, load_base, tune
from kws.train.fit import posteriors
from kws.train.graphs import replace_classifier
from kws.train.network import Network
from kws.train.own_words import OwnWords, load_own_words

WORDS = ("cat", "marvin")  # in speech_commands
PHRASES = ("jarvis", "snowboy", "view_glass")  # in other_words
CLIPS = (10, 30, 100)
HEARD_LATER = 100  # recordings of each word to measure on
EQUAL_FALSE_ACCEPTS = 0.02  # share of the other words
OTHERS = 30  # clips of each other word to measure on
SPEECH = "speech/librispeech"
METHODS = {
    "from our weights": TuneConfig(),
    "from our weights, trunk frozen": TuneConfig(frozen=True),
    # What learns everything needs more time for it.
    "from nothing": TuneConfig(epochs=15),
}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.finetune", description=__doc__
    )
    parser.add_argument("--model", help="the model to start from (default: ours)")
    parser.add_argument("--seeds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="one seed, little training")
    options = parse(parser, arguments, FOLDER / "finetune.json")
    try:
        base, data = load_base(options.model), options.data
        if options.quick:
            methods = {method: replace(config, epochs=1) for method, config in METHODS.items()}
            figures = measure(base, data, 1, CLIPS[:1], methods)
        else:
            figures = measure(base, data, options.seeds, CLIPS, METHODS)
    except KwsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    chosen = "--quick" if options.quick else f"--seeds {options.seeds}"
    write_result(options.out, f"python -m benchmarks.studies.finetune {chosen}", figures)
    _draw(figures, options.out.with_suffix(".png"))
    print(f"written: {options.out}")
    return 0


def measure(
    base: Base, data: Path, seeds: int, numbers: Sequence[int], methods: Mapping[str, TuneConfig]
) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, for each method and number of recordings."""
    runs: dict[tuple[int, str], list[dict[str, float]]] = {}
    for seed in range(seeds):
        for clips in numbers:
            with tempfile.TemporaryDirectory() as folder:
                later = _record(data, Path(folder), clips, seed)
                words = load_own_words(Path(folder), speech=data / SPEECH)
            recordings = _recorded(data, later, words.labels)
            for method, config in methods.items():
                found = _run(base, words, replace(config, seed=seed), recordings, method)
                runs.setdefault((clips, method), []).append(found)
                shares = ", ".join(f"{key} {100 * share:.1f} %" for key, share in found.items())
                print(f"seed {seed}, {clips} recordings, {method}: {shares}", flush=True)
    return {
        "model": base.manifest.name,
        "words": [*WORDS, *PHRASES],
        "other_speech": SPEECH,
        "equal_false_accepts": EQUAL_FALSE_ACCEPTS,
        "seeds": seeds,
        "epochs": {method: config.epochs for method, config in methods.items()},
        "methods": {
            f"{clips} recordings, {method}": {"recordings": clips, **_summary(found)}
            for (clips, method), found in runs.items()
        },
    }


def _summary(found: list[dict[str, float]]) -> dict[str, float]:
    summary = {}
    for key in found[0]:
        values = [run[key] for run in found]
        summary[key] = statistics.mean(values)
        if len(values) > 1:
            summary[f"{key}_deviation"] = statistics.stdev(values)
    return summary


def _draw(figures: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for method in figures["epochs"]:
        rows = [row for name, row in figures["methods"].items() if name.endswith(f", {method}")]
        axes.errorbar(
            [row["recordings"] for row in rows],
            [100 * row["recall_at_equal_false_accepts"] for row in rows],
            [100 * row.get("recall_at_equal_false_accepts_deviation", 0.0) for row in rows],
            marker="o",
            capsize=3,
            label=method,
        )
    axes.set_xscale("log")
    axes.set_xticks(CLIPS, list(map(str, CLIPS)))
    axes.set(xlabel="recordings of each of five words", ylabel="recall (%)")
    axes.set_title(f"{100 * EQUAL_FALSE_ACCEPTS:g} % of other words taken for one of the five")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)


def _run(
    base: Base,
    words: OwnWords,
    config: TuneConfig,
    recordings: tuple[Int16Array, NDArray[np.int64]],
    method: str,
) -> dict[str, float]:
    from_nothing = method == "from nothing"
    torch.manual_seed(config.seed)
    if from_nothing:
        network = Network(replace(base.network.config, labels=len(words.labels)))
    else:
        network = replace_classifier(base.network, base.manifest.labels, words.labels)
    front_end = LogMel(base.manifest.features)
    tune(network, words.material, words.labels, front_end, config, from_nothing=from_nothing)
    audio, targets = recordings
    rows = posteriors(network, front_end, audio).numpy()
    predicted = rows.argmax(axis=1)
    spoken = targets != words.labels.index(UNKNOWN)
    sure = rows.max(axis=1) >= base.manifest.decision.threshold
    is_word = predicted < len(words.labels) - 2
    taken = sure & is_word
    # One model may be surer of everything than another: at equal false accepts they compare.
    score = np.where(is_word, rows.max(axis=1), 0.0)
    limit = np.quantile(score[~spoken], 1.0 - EQUAL_FALSE_ACCEPTS)
    right = (predicted == targets) & (score > limit)
    return {
        "recall": float((predicted == targets)[spoken].mean()),
        "recall_at_equal_false_accepts": float(right[spoken].mean()),
        "recall_at_threshold": float((sure & (predicted == targets))[spoken].mean()),
        "false_accepts_at_threshold": float(taken[~spoken].mean()),
    }


def _record(data: Path, folder: Path, clips: int, seed: int) -> dict[str, list[Path]]:
    """Copy so many recordings of each word; returns those to measure on, by other speakers."""
    generator = np.random.default_rng(seed)
    later = {}
    for word in (*WORDS, *PHRASES):
        if word in WORDS:
            corpus = find_corpus(corpus_root(data))
            own = [clip for clip in corpus.clips if clip.word == word]
            learn = [clip.path for clip in own if clip.split == "training"]
            keep = [clip.path for clip in own if clip.split == "validation"]
        else:
            # Nothing tells their speakers; each phrase has over fifty.
            paths = find_recordings(data / "other_words" / word)
            learn, keep = paths[: len(paths) * 2 // 3], paths[len(paths) * 2 // 3 :]
        (folder / word).mkdir()
        for index in generator.permutation(len(learn))[:clips]:
            shutil.copy(learn[index], folder / word)
        later[word] = [keep[index] for index in generator.permutation(len(keep))[:HEARD_LATER]]
    return later


def _recorded(
    data: Path, later: dict[str, list[Path]], labels: tuple[str, ...]
) -> tuple[Int16Array, NDArray[np.int64]]:
    """Audio and targets of the kept recordings, and of other words by validation speakers."""
    audio, targets = [], []
    for word, paths in later.items():
        recordings, _, _ = read_recordings(paths)
        audio += [fit_length(recording) for recording in recordings]
        targets += [labels.index(word)] * len(recordings)
    others: dict[str, list[Clip]] = {}
    for clip in find_corpus(corpus_root(data)).split("validation"):
        if clip.word not in WORDS:
            others.setdefault(clip.word, []).append(clip)
    clips, used, _ = read_clips([clip for own in others.values() for clip in own[:OTHERS]])
    targets += [labels.index(UNKNOWN)] * len(used)
    return np.concatenate((np.stack(audio), clips)), np.array(targets)


if __name__ == "__main__":
    sys.exit(main())
