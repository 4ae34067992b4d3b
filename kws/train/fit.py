"""The training loop: one function of its options, resumable after any epoch to the same bits."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional

from kws.config import LABELS, SILENCE, UNKNOWN, FeatureConfig
from kws.errors import ModelError
from kws.frontend import SparseFilters, frame_count
from kws.model.manifest import find_manifest, read_artefact, read_manifest
from kws.train import augment, checkpoint
from kws.train.architectures import AnyConfig, AnyNetwork, build
from kws.train.board import Board
from kws.train.embedding import EmbeddingNetwork
from kws.train.encoder import EncoderNetwork
from kws.train.exported_encoder import read_encoder
from kws.train.features import LogMel
from kws.train.frozen_teachers import FrozenTeachers, fingerprints
from kws.train.graphs import read_network, restore_batch_norm
from kws.train.joined import ARTEFACT as JOINED
from kws.train.joined import read_embedding
from kws.train.learner import Batch, Learner, LearnerConfig
from kws.train.materials import Material
from kws.train.mining import as_lists, from_lists, mine
from kws.train.network import Network, NetworkConfig
from kws.train.prior import class_shares, log_prior, without_prior
from kws.train.sampler import Sampler, SamplerConfig
from kws.train.targets import row_targets
from kws.train.teacher import Teacher

WINDOW = "window.onnx"  # the artefact of an exported model that training can begin with
PICTURED = 10  # epochs from one whose clips TensorBoard keeps to the next

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitConfig:
    """One training run; two runs of equal options on equal data give equal weights."""

    epochs: int = 60
    seed: int = 0
    learning_rate: float = 3e-3
    warm_up: int = 2  # epochs
    trusted: float = 0.1  # share of the run after which a teacher has its full weight
    mine_every: int = 4  # epochs from one search for hard negatives to the next; 0 for none
    mined: int = 600  # hard negatives at most
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    network: AnyConfig = field(default_factory=NetworkConfig)
    teacher: AnyConfig | None = None
    frozen_teachers: tuple[str, ...] = ()  # their SHA-256; `fit` fills it in
    mended: str = ""  # digest of the table of mended labels; `fit` fills it in


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


def draw_batches(
    clips: Sampler, streams: Sampler | None, front_end: LogMel, epoch: int, stride: int
) -> Iterator[Batch]:
    """The batches of an epoch: clips two by two and, where given, streams without commands.

    Two samplers, because each carries its own random state through the epoch. Clips and streams
    share a batch: apart, each kind would be normalised by its own statistics.
    """
    config = clips.config
    generator = torch.Generator(clips.device).manual_seed(clips.seed * 1_000_033 + epoch)
    mixing = np.random.default_rng((clips.seed, epoch))
    quiet = streams.streams(epoch) if streams is not None else None
    for batch in clips.epoch(epoch):
        features = front_end(batch.audio)
        count, frames, bands = features.shape
        targets = row_targets(batch.targets, batch.spoken, frames, stride)
        pairs = features.reshape(count // 2, 2 * frames, bands)
        both = pairs if quiet is None else torch.cat((pairs, front_end(next(quiet))))
        factor = augment.uniform(1.0 - config.warp, 1.0 + config.warp, len(both), generator)
        warped = torch.rand(len(both), generator=generator, device=generator.device) < config.warped
        factor = torch.where(warped, factor, 1.0)
        both = augment.warp_bands(both, factor, front_end.centres)
        masked = augment.mask_features(
            both[: count // 2].reshape(features.shape),
            config.masked_frames,
            config.masked_bands,
            generator,
        )
        both[: count // 2] = masked.reshape(pairs.shape)
        if not config.mixup:
            yield Batch(both, targets)
            continue
        order = torch.from_numpy(mixing.permutation(count // 2)).to(both.device)
        share = torch.from_numpy(mixing.beta(config.mixup, config.mixup, count // 2)).to(both)
        share = torch.minimum(share, 1.0 - share)
        pairs = both[: count // 2]
        both[: count // 2] = pairs.lerp(pairs[order], share[:, None, None])
        yield Batch(both, targets, targets[order], share)


@torch.no_grad()
def posteriors(network: nn.Module, front_end: LogMel, audio: np.ndarray) -> Tensor:
    """Posteriors (clips, labels) of int16 audio (clips, 16000)."""
    network.eval()
    rows = []
    for start in range(0, len(audio), 256):
        block = torch.from_numpy(audio[start : start + 256]).to(front_end.centres) / 32768.0
        rows.append(network(front_end(block))[:, -1].softmax(-1).cpu())
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
    frozen_teachers: Sequence[Path] = (),
    device: str = "cpu",
    negatives: Path | None = None,
) -> Scores:
    """Train, writing `last.pt`, `best.pt` and `log.jsonl` into `out` after every epoch.

    `out/board` is for TensorBoard.

    `start` is a checkpoint, or an exported model, of the same network; training begins with its
    weights. Where the options name a teacher, it is trained beside the network and its averaged
    weights are in `teacher.pt`, a checkpoint as any other. `frozen_teachers` are of networks
    that are no longer trained and teach together; see `kws.train.frozen_teachers`.

    `negatives` is the checkpoint of another run on the same material, whose hard negatives streams
    draw from until this run searches for its own.

    A run that was stopped goes on from `last.pt` with `resume`, bit for bit as if it had not been
    stopped, given the same machine and number of threads. On a `device` other than the CPU, a name
    as torch knows it, runs of equal options are equal but for rounding; checkpoints are read
    anywhere. Raises ModelError where `out` already holds a run without `resume`, or
    holds one of other options, and where a network does not take the front end's frames.
    """
    config = replace(config, frozen_teachers=fingerprints(frozen_teachers), mended=material.mended)
    _check(config)
    check_folder(out, resume)
    last_path = out / "last.pt"
    state = _resumable(last_path, config) if last_path.exists() else None
    labels, front_end = LABELS, LogMel(config.features).to(device)
    clips = Sampler(material, labels, config.sampler, config.seed, device)
    streams = Sampler(material, labels, config.sampler, config.seed + 1, device)
    torch.manual_seed(config.seed)
    network, before = build(config.network), {}
    if start is not None and state is None:
        some = next(draw_batches(clips, streams, front_end, 0, config.network.stride))
        before = begin_with(network, start, some.features.cpu())
    learner = Learner(network.to(device), labels, config.learner)
    teacher = None
    if config.teacher is not None:
        teacher = Teacher(config.teacher, labels, config.learner, config.seed)
    drawn = config.sampler.silence, config.sampler.unknown
    shares = class_shares(*drawn, config.learner.peak_weight)
    teachers = None
    if frozen_teachers:  # they do without the class shares, which the network learns
        stride, prior = config.network.stride, log_prior(labels, **shares)
        teachers = FrozenTeachers(frozen_teachers, labels, config.features, stride, prior, device)
    if negatives is not None:
        streams.mined = from_lists(checkpoint.load(negatives).get("mined", []), material)
    first, best = 0, -math.inf

    def measure(network: AnyNetwork) -> Scores:
        return score(without_prior(network, labels, **shares), front_end, material, labels)

    try:
        if state is not None:
            with checkpoint.fitting(last_path):
                learner.restore(state)
                first, best, before = (
                    int(state["epoch"]),
                    float(state["best"]),
                    state["started_from"],
                )
                streams.mined = from_lists(state["mined"], material)
                if teacher is not None:
                    teacher.restore(state["teacher"])
                    if not (out / "teacher.pt").exists():
                        checkpoint.save(out / "teacher.pt", _teacher_state(state, config, labels))
            _truncate_log(out / "log.jsonl", first)
        scores = measure(learner.average)
        with Board(out / "board", first) as board:
            for epoch in range(first, config.epochs):
                started = time.monotonic()
                knows = epoch or (before and before.get("epochs_done", 1))  # anything, to fire on
                if config.mine_every and epoch % config.mine_every == 0 and knows:
                    turn = epoch // config.mine_every
                    streams.mined = mine(
                        learner.average,
                        front_end,
                        material,
                        labels,
                        config.mined,
                        turn,
                        config.learner.mixed_precision,
                    )
                torch.manual_seed(config.seed * 1_000_003 + epoch)  # dropout
                if epoch % PICTURED == 0:
                    shown = next(clips.epoch(epoch))
                    names = [labels[target] if target >= 0 else "-" for target in shown.targets]
                    pictured = front_end(shown.audio).cpu()
                    board.batch(epoch + 1, shown.audio.cpu(), pictured, names)
                batches = draw_batches(clips, streams, front_end, epoch, config.network.stride)
                means, taught = _run_epoch(learner, teacher, teachers, batches, epoch, config)
                scores = measure(learner.average)
                row: dict[str, Any] = {"epoch": epoch + 1, **means, **_measured(scores)}
                about: dict[str, Any] = {
                    "options": _plain(config),
                    "shares": shares,
                    "sources": list(material.sources),
                    "started_from": before,
                    "epoch": epoch + 1,
                }
                if teacher is not None and config.teacher is not None:
                    about["teacher"] = teacher.state()
                    wide = build(config.teacher)
                    wide.load_state_dict(about["teacher"]["average"])
                    scored = _measured(measure(wide))
                    row |= taught | {f"teacher_{key}": value for key, value in scored.items()}
                row["seconds"] = round(time.monotonic() - started, 1)
                is_best = scores.criterion > best
                best = max(best, scores.criterion)
                state = {
                    **checkpoint.describe(network, front_end.config, labels),
                    **about,
                    **learner.state(),
                    "best": best,
                    "mined": as_lists(streams.mined),
                    "scores": row,
                }
                with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                    log.write(json.dumps(row) + "\n")
                board.scalars(row)
                if is_best:
                    checkpoint.save(out / "best.pt", state)
                if teacher is not None:
                    checkpoint.save(out / "teacher.pt", _teacher_state(state, config, labels))
                # Last: what a resumed run goes on from has written everything else before.
                checkpoint.save(last_path, state)
                _report(row, scores, is_best)
    finally:
        for other in (teacher, teachers):
            if other is not None:
                other.close()
    return scores


def begin_with(network: AnyNetwork, start: Path, features: Tensor) -> dict[str, Any]:
    """Load the weights of a checkpoint or an exported model; returns their provenance.

    `features` (batch, frames, bands) are what an exported model's normalisations, which are folded
    away, gather their statistics from.
    """
    if start.suffix == ".pt":
        began = checkpoint.load(start)
        with checkpoint.fitting(start):
            average = began["average"]
            provenance = {"epochs_done": began["epoch"], **began["options"]}
        if began.get("started_from"):
            provenance["started_from"] = began["started_from"]
    else:
        path = find_manifest(str(start))
        manifest = read_manifest(path)
        key = WINDOW if isinstance(network, Network) else JOINED
        if key not in manifest.artefacts:
            raise ModelError(f"{path} has no {key}, which training could begin with")
        artefact = manifest.artefacts[key]
        content = read_artefact(path.parent, artefact)
        made = manifest.provenance
        if isinstance(network, EncoderNetwork):
            average = read_encoder(content).state_dict()
        else:
            is_embedding = isinstance(network, EmbeddingNetwork)
            exported = read_embedding(content) if is_embedding else read_network(content)
            restore_batch_norm(exported, features)
            average = exported.state_dict()
        provenance = {"model": manifest.name, "sha256": artefact.sha256}
        provenance |= made.get("training", {})
        if before := made.get("started_from"):
            provenance["started_from"] = before
    try:
        network.load_state_dict(average)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(f"{start} is of a network of other sizes: {error}") from error
    return provenance


def _run_epoch(
    learner: Learner,
    teacher: Teacher | None,
    teachers: FrozenTeachers | None,
    batches: Iterator[Batch],
    epoch: int,
    config: FitConfig,
) -> tuple[dict[str, float], dict[str, float]]:
    """Train on an epoch's batches; what came of it for the network and for its teacher."""
    per_epoch = config.sampler.epoch_size // config.sampler.batch_size
    trusted = max(1.0, config.trusted * config.epochs * per_epoch)  # steps
    own, others = [], []
    steps = iter(range(epoch * per_epoch, (epoch + 1) * per_epoch))

    def learn(batch: Batch) -> None:
        step = next(steps)
        rate = learning_rate(step, per_epoch, config)
        teacher_step = teacher.receive() if teacher is not None else None
        taught = None if teacher_step is None else teacher_step.logits.to(batch.features.device)
        if teachers is not None:
            taught = teachers.receive()
        own.append(learner.step(batch, rate, taught, min(1.0, step / trusted)))
        if teacher_step is not None:
            others.append(teacher_step)
        advance()

    waiting: Batch | None = None
    with _Progress(epoch, config.epochs, per_epoch) as advance:
        for index, batch in enumerate(batches):
            if teacher is not None:
                step = epoch * per_epoch + index
                teacher.send(batch, learning_rate(step, per_epoch, config))
            if teachers is not None:
                teachers.send(batch)
            if waiting is not None:
                learn(waiting)
            waiting = batch
        if waiting is not None:
            learn(waiting)
    means = {
        "learning_rate": learning_rate((epoch + 1) * per_epoch - 1, per_epoch, config),
        "loss": _mean([step.loss for step in own]),
        "peak_loss": _mean([step.peak for step in own]),
        "accuracy": _mean([step.right for step in own]),
    }  # read here alone: a device works ahead until it is read
    if teacher is not None or teachers is not None:
        means["distil_loss"] = _mean([step.distil for step in own])
    if not others:
        return means, {}
    return means, {
        "teacher_loss": _mean([step.loss for step in others]),
        "teacher_peak_loss": _mean([step.peak for step in others]),
        "teacher_accuracy": _mean([step.right for step in others]),
    }


def _mean(values: list[Tensor]) -> float:
    figures: list[float] = torch.stack(values).tolist()
    return sum(figures) / len(figures)


def _measured(scores: Scores) -> dict[str, Any]:
    return {
        "validation_loss": scores.loss,
        "validation_accuracy": scores.accuracy,
        "validation_recall": scores.recall,
        "validation_false_accepts": scores.false_accepts,
        "criterion": scores.criterion,
    }


def _report(row: dict[str, Any], scores: Scores, is_best: bool) -> None:
    worst = min(scores.recall, key=scores.recall.__getitem__)
    teacher = row.get("teacher_validation_accuracy")
    logger.info(
        "epoch %d: loss %.3f, peak %.3f, validation accuracy %.2f %%, worst recall %s %.1f %%, "
        "false accepts %.1f %%%s, %.0f s%s",
        row["epoch"],
        row["loss"],
        row["peak_loss"],
        100 * scores.accuracy,
        worst,
        100 * scores.recall[worst],
        100 * scores.false_accepts,
        "" if teacher is None else f", teacher {100 * teacher:.2f} %",
        row["seconds"],
        ", best so far" if is_best else "",
    )


def _plain(config: FitConfig) -> dict[str, Any]:
    """The options as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain


def check_folder(out: Path, resume: bool) -> None:
    """Raise a KwsError where a run cannot write into `out`, or would write over another run."""
    if (out / "last.pt").exists() and not resume:
        raise ModelError(f"{out} already holds a run; continue it with --resume or name another")
    names = ("last.pt", "best.pt", "teacher.pt", "log.jsonl")
    checkpoint.check_writable(*(out / name for name in names))


_MEASURED = (
    "validation_loss",
    "validation_accuracy",
    "validation_recall",
    "validation_false_accepts",
    "criterion",
)
_ABOUT = ("options", "shares", "sources", "started_from", "epoch")


def _teacher_state(
    state: dict[str, Any], config: FitConfig, labels: tuple[str, ...]
) -> dict[str, Any]:
    """The checkpoint of the averaged teacher, from that of the run."""
    assert config.teacher is not None
    scores = {name.removeprefix("teacher_"): value for name, value in state["scores"].items()}
    return {
        **checkpoint.describe(build(config.teacher), config.features, labels),
        **{name: state[name] for name in _ABOUT},
        "average": state["teacher"]["average"],
        "scores": {name: scores[name] for name in _MEASURED},
    }


def _resumable(path: Path, config: FitConfig) -> dict[str, Any]:
    """The checkpoint of a run of the same options."""
    state = checkpoint.load(path)
    if state.get("options") != _plain(config):
        raise ModelError(f"{path} is of a run with other options; repeat them to resume it")
    return state


def _check(config: FitConfig) -> None:
    """Raise ModelError where front end and networks do not go together."""
    if config.features.coefficients:
        raise ModelError("training knows log-mel bands alone; leave features.coefficients at 0")
    try:
        SparseFilters(config.features)
    except ValueError as error:
        raise ModelError(str(error)) from error
    frames = frame_count(config.features.sample_rate, config.features)
    if config.teacher is not None and config.frozen_teachers:
        raise ModelError("learn from a teacher beside the network or frozen ones, not both")
    for name, network in (("network", config.network), ("teacher", config.teacher)):
        if network is None:
            continue
        if network.bands != config.features.bands:
            raise ModelError(
                f"the front end gives {config.features.bands} bands and the {name} takes "
                f"{network.bands}; add --set {name}.bands={config.features.bands}"
            )
        if network.receptive_field != frames or network.stride != config.network.stride:
            raise ModelError(
                f"a second has {frames} frames and the {name} sees {network.receptive_field}, "
                f"{network.stride} a step; change its kernels, pool or stride"
            )


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
