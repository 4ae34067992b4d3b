"""A training run in TensorBoard: each epoch's row, and clips of its batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kws.config import SAMPLE_RATE

SHOWN = 8  # clips of a batch
SCALE = 3  # pixels of a band, and of a frame

logger = logging.getLogger(__name__)


class Board:
    """Writes event files that `tensorboard --logdir` shows; without tensorboard it does nothing."""

    def __init__(self, folder: Path, epochs_done: int = 0) -> None:
        """`epochs_done` of a run that is resumed: what was written of later epochs is void."""
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            logger.warning("no TensorBoard scalars (%s); pip install 'kws[train]'", error)
            self._writer: Any = None
            return
        self._writer = SummaryWriter(folder, purge_step=epochs_done + 1)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def scalars(self, row: Mapping[str, Any]) -> None:
        """Write an epoch's row of log.jsonl, training beside validation in one chart."""
        if self._writer:
            for tag, value in tags(row):
                self._writer.add_scalar(tag, value, row["epoch"])
            self._writer.flush()

    def batch(self, epoch: int, audio: Tensor, features: Tensor, names: list[str]) -> None:
        """Write the first clips of a batch: audio (clips, samples) in [-1, 1), features
        (clips, frames, bands) as the network gets them, and what each clip is called.
        """
        if not self._writer:
            return
        for index, clip in enumerate(audio[:SHOWN]):
            self._writer.add_audio(f"clips/{index}", clip, epoch, SAMPLE_RATE)
        self._writer.add_image("features", pictures(features[:SHOWN]), epoch)
        self._writer.add_text("words", ", ".join(names[:SHOWN]), epoch)
        self._writer.flush()


def tags(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a row of log.jsonl as TensorBoard's tags, `<what>/<whose>`.

    What TensorBoard finds before the slash it shows together, so that loss/training is beside
    loss/validation and loss/teacher validation.
    """
    for key, value in row.items():
        name, whose = key, ""
        for prefix in ("teacher_", "validation_"):
            if name.startswith(prefix):
                name, whose = name.removeprefix(prefix), f"{whose} {prefix[:-1]}"
        tag = f"{name}/{whose.strip() or 'training'}"
        if isinstance(value, Mapping):
            yield from ((f"{tag} {part}", float(number)) for part, number in value.items())
        elif key != "epoch" and isinstance(value, (int, float)):
            yield tag, float(value)


def pictures(features: Tensor) -> Tensor:
    """Features (clips, frames, bands) as one picture (3, height, width) in [0, 1], two in a row.

    Each clip is as bright as its loudest point allows; low bands are at the bottom.
    """
    loudest = features.amax((1, 2), keepdim=True).clamp_min(1e-6)
    scaled = (features / loudest).clamp(0.0, 1.0).transpose(1, 2).flip(1)
    framed = functional.pad(scaled, (0, 2, 0, 2))
    if len(framed) % 2:
        framed = functional.pad(framed, (0, 0, 0, 0, 0, 1))
    rows = torch.cat((framed[0::2], framed[1::2]), dim=2).flatten(0, 1)
    return rows.repeat_interleave(SCALE, 0).repeat_interleave(SCALE, 1).repeat(3, 1, 1)
