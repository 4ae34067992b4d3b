"""Training clips of Speech Commands that are labelled wrongly, found twice over.

`python -m kws.train.mend --data DIR --models CHECKPOINT... --out FILE` writes a table for
`python -m kws.train --mended FILE`. In it are the training clips whose label a cross-validated
classifier contradicts (`kws.recordings.mislabelled`) and each of some trained networks too: with
the label of the command, where all name the same one, and without a label, where all find none of
the commands. A clip on which they differ keeps its label; validation and test clips are never read.

The networks have learnt from the labels that they judge, and contradict few of them, which is why
cross-validation need not be sure of itself here.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

try:
    import torch
except ModuleNotFoundError:
    sys.exit("error: training needs torch; pip install 'kws[train]'")

from kws.config import KEYWORDS, LABELS, SILENCE
from kws.errors import DataError, KwsError, ModelError, writing
from kws.recordings.data import Corpus, corpus_root, find_corpus, label_of, read_clips
from kws.recordings.mislabelled import find_mislabelled, sketch
from kws.train.architectures import AnyNetwork
from kws.train.checkpoint import load_network
from kws.train.features import LogMel
from kws.train.fit import posteriors
from kws.train.mended_labels import COLUMNS, DROPPED, file_of


class Mended(NamedTuple):
    """A clip whose label is contradicted twice."""

    file: str  # its path below the corpus
    label: str  # a command or DROPPED
    sounds_like: str  # the word that cross-validation names
    margin: float  # by which it is surer of that than of the clip's own word
    posterior: float  # of the network that is least sure


def find_wrong_labels(corpus: Corpus, models: Sequence[Path]) -> list[Mended]:
    """The training clips whose label cross-validation and all checkpoints' networks contradict.

    Surest of cross-validation first. Raises ModelError where one of `models` is no checkpoint of a
    network with the labels of training.
    """
    networks = [_load(path) for path in models]
    training = [
        clip
        for clip in corpus.split("training")
        # A tab or a byte that is no text cannot stand in the table.
        if label_of(clip.word) != SILENCE and file_of(clip, corpus).isprintable()
    ]
    audio, clips, _ = read_clips(training)
    if not clips:
        raise DataError(f"{corpus.root} has no training clips that can be read")
    words = [clip.word for clip in clips]
    sketches = np.stack([sketch(clip) for clip in audio])
    found = [
        (index, word, margin)
        for index, word, margin in find_mislabelled(
            sketches, words, [clip.speaker for clip in clips], least=0.0
        )
        if label_of(word) != label_of(words[index])
    ]
    if not found:
        return []
    contradicted = audio[[index for index, _, _ in found]]
    scores = torch.stack([posteriors(*each, contradicted) for each in networks])
    surest, best = scores.max(dim=2)  # (networks, clips)
    mended = []
    for place, (index, word, margin) in enumerate(found):
        named = {_command_or_none(LABELS[label]) for label in best[:, place]}
        label = _command_or_none(label_of(word))
        if named == {label}:
            file, posterior = file_of(clips[index], corpus), float(surest[:, place].min())
            mended.append(Mended(file, label, word, margin, posterior))
    return mended


def _command_or_none(label: str) -> str:
    """A command, or DROPPED for what is none."""
    return label if label in KEYWORDS else DROPPED


def _load(path: Path) -> tuple[AnyNetwork, LogMel]:
    network, features, labels, _ = load_network(path)
    if labels != LABELS:
        raise ModelError(
            f"{path} has other labels than training: expected {', '.join(LABELS)}, "
            f"got {', '.join(labels)}"
        )
    return network, LogMel(features)


def write_table(mended: list[Mended], path: Path) -> None:
    """Write what `kws.train.mended_labels` reads, and beside it why each clip is listed."""
    lines = ["\t".join((*COLUMNS, *Mended._fields[len(COLUMNS) :]))]
    lines += [
        f"{each.file}\t{each.label}\t{each.sounds_like}\t{each.margin:.2f}\t{each.posterior:.2f}"
        for each in mended
    ]
    with writing(path):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kws.train.mend", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("KWS_DATA"), metavar="DIR")
    parser.add_argument(
        "--models",
        type=Path,
        nargs="+",
        required=True,
        metavar="CHECKPOINT",
        help="networks that must all contradict a label",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="table to write")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("name the recordings with --data DIR or the environment variable KWS_DATA")
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        corpus = find_corpus(corpus_root(Path(options.data)))
        mended = find_wrong_labels(corpus, options.models)
        if not mended:
            raise DataError(f"{corpus.root}: no label is contradicted twice; nothing is written")
        write_table(mended, options.out)
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    counts = Counter(each.label for each in mended)
    dropped = counts.pop(DROPPED, 0)
    told = ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))
    print(f"{options.out}: {counts.total()} clips have another label ({told}), {dropped} have none")
    return 0


if __name__ == "__main__":
    sys.exit(main())
