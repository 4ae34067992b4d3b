"""The training loop: one function of its options, resumable after any epoch to the same bits."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional

from kws.config import LABELS, SILENCE, UNKNOWN, FeatureConfig
from kws.errors import ModelError
from kws.train import augment, checkpoint
from kws.train.features import LogMel
from kws.train.materials import Material
from kws.train.network import Network, NetworkConfig
from kws.train.prior import without_prior
from kws.train.sampler import Sampler, SamplerConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitConfig:
    """One training run; two runs of equal options on equal data give equal weights."""

    epochs: int = 60
    seed: int = 0
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warm_up: int = 2  # epochs
    label_smoothing: float = 0.05
    average_decay: float = 0.998  # of the exponential moving average of weights, per step
    peak_weight: float = 0.5  # of the loss on streams without commands
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)


@dataclass(frozen=True)
class Scores:
    """How a network does on the validation clips."""

    loss: float
    accuracy: float
    recall: dict[str, float]
    false_accepts: float  # share of silence and unknown clips taken for a command at 0.8

    @property
    def criterion(self) -> float:
        """What the best checkpoint is chosen by: mean recall less the false accepts."""
        return sum(self.recall.values()) / len(self.recall) - self.false_accepts


def learning_rate(step: int, per_epoch: int, config: FitConfig) -> float:
    """Linear warm-up, then cosine annealing to zero."""
    warm_up, total = config.warm_up * per_epoch, config.epochs * per_epoch
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, total - warm_up)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def peak_loss(logits: Tensor, labels: tuple[str, ...], smoothing: int = 4) -> Tensor:
    """Mean of -ln(1 - peak) over streams without commands; logits (streams, rows, labels).

    A stream's peak is its highest command posterior, averaged over `smoothing` rows as the
    decision stage averages: the false accept it is closest to.
    """
    commands = [i for i, label in enumerate(labels) if label not in (SILENCE, UNKNOWN)]
    posterior = logits.softmax(-1)[..., commands].transpose(1, 2)
    peak = functional.avg_pool1d(posterior, smoothing, stride=1).flatten(1).amax(1)
    return -torch.log1p(-peak.clamp_max(1.0 - 1e-4)).mean()


def slide(network: nn.Module, clips: Tensor, streams: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of clips (clips, labels) and of streams (streams, rows, labels), in one batch.

    Clips (even count, frames, bands) are joined two by two, so that they are as long as a stream:
    the network's first row then is the first clip's and its last row the second's. Apart, each
    kind would be normalised by its own statistics and could be told by them.
    """
    frames = clips.shape[1]
    pairs = clips.reshape(len(clips) // 2, 2 * frames, clips.shape[2])
    logits = network(torch.cat((pairs, streams)))
    ends = logits[: len(pairs), [0, -1]].reshape(len(clips), -1)
    return ends, logits[len(pairs) :]


@torch.no_grad()
def posteriors(network: nn.Module, front_end: LogMel, audio: np.ndarray) -> Tensor:
    """Posteriors (clips, labels) of int16 audio (clips, 16000)."""
    network.eval()
    rows = []
    for start in range(0, len(audio), 256):
        block = torch.from_numpy(audio[start : start + 256].astype(np.float32) / 32768.0)
        rows.append(network(front_end(block))[:, -1].softmax(-1))
    return torch.cat(rows)


def score(
    network: nn.Module, front_end: LogMel, material: Material, labels: tuple[str, ...]
) -> Scores:
    """Measure a network on the validation clips."""
    audio, targets = material.validation
    target = torch.from_numpy(targets)
    probability = posteriors(network, front_end, audio)
    right = probability.argmax(1) == target
    commands = torch.tensor([label not in (SILENCE, UNKNOWN) for label in labels])
    negative = ~commands[target]
    accepted = commands[probability.argmax(1)] & (probability.max(1).values > 0.8)
    return Scores(
        loss=float(functional.nll_loss(probability.clamp_min(1e-9).log(), target)),
        accuracy=float(right.float().mean()),
        recall={
            label: float(right[target == index].float().mean())
            for index, label in enumerate(labels)
            if (target == index).any()
        },
        false_accepts=float(accepted[negative].float().mean()) if negative.any() else 0.0,
    )


def fit(
    material: Material,
    out: Path,
    config: FitConfig,
    *,
    resume: bool = False,
    start: Path | None = None,
) -> Scores:
    """Train, writing `last.pt`, `best.pt` and `log.jsonl` into `out` after every epoch.

    `start` is a checkpoint of the same network whose averaged weights training begins with.

    A run that was stopped goes on from `last.pt` with `resume`, bit for bit as if it had not been
    stopped, given the same machine and number of threads. Raises ModelError where `out` already
    holds a run and `resume` was not asked for, or holds one of other options.
    """
    out.mkdir(parents=True, exist_ok=True)
    labels, features = LABELS, FeatureConfig()
    torch.manual_seed(config.seed)
    network = Network(config.network)
    before: dict[str, Any] = {}
    if start is not None:
        began = checkpoint.load(start)
        network.load_state_dict(began["average"])
        before = {"epochs_done": began["epoch"], **began["options"]}
    average = copy.deepcopy(network)
    front_end = LogMel(features)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )
    sampler = Sampler(material, labels, config.sampler, config.seed)
    stream_sampler = Sampler(material, labels, config.sampler, config.seed + 1)
    options = json.loads(json.dumps(asdict(config)))
    first, best, last_path = 0, -math.inf, out / "last.pt"
    if last_path.exists():
        if not resume:
            raise ModelError(
                f"{out} already holds a run; continue it with --resume or name another"
            )
        state = checkpoint.load(last_path)
        if state["options"] != options:
            raise ModelError(
                f"{last_path} is of a run with other options; repeat them to resume it"
            )
        network.load_state_dict(state["weights"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first, best, before = state["epoch"], state["best"], state["started_from"]
        _truncate_log(out / "log.jsonl", first)

    per_epoch = config.sampler.epoch_size // config.sampler.batch_size
    shares = {"silence": config.sampler.silence, "unknown": config.sampler.unknown}
    scores = score(without_prior(average, labels, **shares), front_end, material, labels)
    for epoch in range(first, config.epochs):
        started = time.monotonic()
        torch.manual_seed(config.seed * 1_000_003 + epoch)  # dropout
        masks = torch.Generator().manual_seed(config.seed * 1_000_033 + epoch)
        network.train()
        loss_sum = peak_sum = right = 0.0
        with _Progress(epoch, config.epochs, per_epoch) as advance:
            batches = zip(sampler.epoch(epoch), stream_sampler.streams(epoch), strict=True)
            for index, ((audio, target), streams) in enumerate(batches):
                step = epoch * per_epoch + index
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, per_epoch, config)
                inputs = augment.mask_features(
                    front_end(audio),
                    config.sampler.masked_frames,
                    config.sampler.masked_bands,
                    masks,
                )
                logits, stream_logits = slide(network, inputs, front_end(streams))
                loss = functional.cross_entropy(
                    logits, target, label_smoothing=config.label_smoothing
                )
                peak = peak_loss(stream_logits, labels)
                loss = loss + config.peak_weight * peak
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
                _update_average(
                    average, network, min(config.average_decay, (1 + step) / (10 + step))
                )
                loss_sum += float(loss.detach())
                peak_sum += float(peak.detach())
                right += float((logits.argmax(1) == target).float().mean())
                advance()
        scores = score(without_prior(average, labels, **shares), front_end, material, labels)
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "loss": loss_sum / per_epoch,
            "peak_loss": peak_sum / per_epoch,
            "accuracy": right / per_epoch,
            "validation_loss": scores.loss,
            "validation_accuracy": scores.accuracy,
            "validation_recall": scores.recall,
            "validation_false_accepts": scores.false_accepts,
            "criterion": scores.criterion,
            "seconds": round(time.monotonic() - started, 1),
        }
        is_best = scores.criterion > best
        best = max(best, scores.criterion)
        state = {
            **checkpoint.describe(network, features, labels),
            "options": options,
            "shares": shares,
            "started_from": before,
            "sources": list(material.sources),
            "weights": network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": epoch + 1,
            "best": best,
            "scores": row,
        }
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        if is_best:
            checkpoint.save(out / "best.pt", state)
        checkpoint.save(last_path, state)
        worst = min(scores.recall, key=scores.recall.__getitem__)
        logger.info(
            "epoch %d: loss %.3f, peak %.3f, validation accuracy %.2f %%, worst recall %s %.1f %%, "
            "false accepts %.1f %%, %.0f s%s",
            *(
                epoch + 1,
                row["loss"],
                row["peak_loss"],
                100 * scores.accuracy,
                worst,
                100 * scores.recall[worst],
            ),
            *(100 * scores.false_accepts, row["seconds"], ", best so far" if is_best else ""),
        )
    return scores


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1.0 - decay)
        else:
            kept.copy_(new)


def _truncate_log(path: Path, epochs: int) -> None:
    """Drop lines of epochs that the last checkpoint does not know: they are run again."""
    lines = path.read_text(encoding="utf-8").splitlines()[:epochs] if path.exists() else []
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


class _Progress:
    """A progress bar over the batches of one epoch, shown on a terminal only."""

    def __init__(self, epoch: int, epochs: int, batches: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            transient=True,
        )
        self._bar.disable = not self._bar.console.is_terminal
        self._task = self._bar.add_task(f"epoch {epoch + 1}/{epochs}", total=batches)

    def __enter__(self) -> Any:
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
