"""Networks that begin with published weights: the clips to fit a front end on, the checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kws.config import LABELS, FeatureConfig
from kws.recordings.data import Int16Array, corpus_root, find_corpus, read_clips
from kws.train import checkpoint
from kws.train.architectures import AnyNetwork

CLIPS = 1500  # that our bands are fitted to theirs on


def training_clips(data: Path) -> Int16Array:
    """About CLIPS clips (n, 16000) of the training split; raises DataError where there are none."""
    training = find_corpus(corpus_root(data)).split("training")
    return read_clips(training[:: max(1, len(training) // CLIPS)])[0]


def save_start(path: Path, network: AnyNetwork, features: FeatureConfig, published: bytes) -> None:
    """Write a checkpoint that training can begin with (`--start`), whose head knows nothing yet.

    `published` is the content of the file that the weights come from.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(
        path,
        {
            **checkpoint.describe(network, features, LABELS),
            "average": network.state_dict(),
            "epoch": 0,
            "options": {"published": hashlib.sha256(published).hexdigest()},
        },
    )
