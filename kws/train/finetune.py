"""Learn somebody's own words from few recordings, starting from a model that knows speech."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kws.errors import ModelError, writing
from kws.evaluation.evaluate import clip_features
from kws.model.load import Model, load_model
from kws.model.manifest import (
    Manifest,
    describe_artefact,
    find_manifest,
    read_artefact,
    read_manifest,
    write_manifest,
)
from kws.train import checkpoint
from kws.train.batch_norm import fold_batch_norm
from kws.train.features import LogMel
from kws.train.fit import Scores, draw_batches, score
from kws.train.graphs import read_network, replace_classifier, restore_batch_norm, write_network
from kws.train.learner import command_indexes, label_loss, peak_loss
from kws.train.materials import Material
from kws.train.network import Network, parameter_count
from kws.train.own_words import OwnWords
from kws.train.prior import class_shares, log_prior
from kws.train.sampler import Sampler, SamplerConfig

GRAPHS = ("window.onnx", "stream.onnx")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuneConfig:
    """One run of fine-tuning; equal options on equal recordings give equal weights."""

    epochs: int = 10
    seed: int = 0
    learning_rate: float = 3e-3
    frozen: bool = False  # leaves the stem and the first half of the blocks as they are
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    peak_weight: float = 0.5  # of the loss on streams without the words
    sampler: SamplerConfig = field(
        # A few recordings are soon known by heart: parts of them are hidden.
        default_factory=lambda: SamplerConfig(
            epoch_size=3840, batch_size=64, streams=8, talk=0.08, masked_frames=8, masked_bands=4
        )
    )


@dataclass(frozen=True)
class Base:
    """The model that fine-tuning starts from."""

    manifest: Manifest
    graphs: dict[str, bytes]  # by artefact key
    network: Network


def load_base(model: str | os.PathLike[str] | None) -> Base:
    """Read a model's float graphs; raises ModelError where they are missing or of another kind."""
    path = find_manifest(model)
    manifest = read_manifest(path)
    found = [key for key in GRAPHS if key in manifest.artefacts]
    if GRAPHS[0] not in found:
        raise ModelError(f"{path} has no {GRAPHS[0]}, which fine-tuning starts from")
    graphs = {key: read_artefact(path.parent, manifest.artefacts[key]) for key in found}
    return Base(manifest, graphs, read_network(graphs[GRAPHS[0]]))


def tune(
    network: Network,
    material: Material,
    labels: tuple[str, ...],
    front_end: LogMel,
    config: TuneConfig,
    *,
    from_nothing: bool = False,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> Scores:
    """Train a network in place; returns how it does on the held-out clips.

    The network is one of `read_network`, or new where it starts `from_nothing`. Its normalisations
    learn with it, from the statistics of its first batch on, and are folded in the end; those of
    a frozen trunk stay the identity.
    """
    torch.manual_seed(config.seed)
    network.requires_grad_(True)
    frozen = _trunk(network) if config.frozen else []
    for module in frozen:
        module.requires_grad_(False)
    sampler = Sampler(material, labels, config.sampler, config.seed)
    streams: Sampler | None = Sampler(material, labels, config.sampler, config.seed + 1)
    if config.peak_weight == 0.0 or not material.speech:
        streams = None
    stride = network.config.stride
    if not from_nothing:
        with torch.no_grad():
            first = next(draw_batches(sampler, streams, front_end, 0, stride))
            restore_batch_norm(network, first.features)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    steps = config.epochs * (config.sampler.epoch_size // config.sampler.batch_size)
    warm_up = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / warm_up,
            0.5 * (1.0 + math.cos(math.pi * max(0, step - warm_up) / max(1, steps - warm_up))),
        ),
    )
    commands = command_indexes(labels)
    for epoch in range(config.epochs):
        network.train()
        for module in frozen:
            module.eval()
        for batch in draw_batches(sampler, streams, front_end, epoch, stride):
            logits, pairs = network(batch.features), len(batch.targets)
            loss = label_loss(logits[:pairs], batch, config.label_smoothing)
            if len(logits) > pairs:
                loss = loss + config.peak_weight * peak_loss(logits[pairs:], commands)
            _step(network, loss, optimizer)
            schedule.step()
        after_epoch(epoch + 1)
    network.eval()
    fold_batch_norm(network)
    with torch.no_grad():
        weight = config.peak_weight if streams is not None else 0.0
        shares = class_shares(config.sampler.silence, config.sampler.unknown, weight)
        network.classifier.bias.sub_(log_prior(labels, **shares))
    return score(network, front_end, material, labels)


def _trunk(network: Network) -> list[nn.Module]:
    """The layers for sounds; the others are for words, mostly those of the first training."""
    half = len(network.blocks) // 2
    return [network.feature_norm, network.stem, network.stem_norm, *network.blocks[:half]]


def _step(network: nn.Module, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()


def finetune(
    base: Base,
    words: OwnWords,
    out: Path,
    config: TuneConfig,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> Scores:
    """Train on somebody's words and write a model folder: manifest, graphs and a checkpoint.

    The folder appears whole or not at all. Raises ModelError where it already holds something, or
    the written graphs do not compute what was trained, and KwsError where it cannot be written.
    """
    require_free(out)
    front_end = LogMel(base.manifest.features)
    network = replace_classifier(base.network, base.manifest.labels, words.labels)
    scores = tune(network, words.material, words.labels, front_end, config, after_epoch=after_epoch)
    unfinished = out.with_name(out.name + ".part")
    with writing(out):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _write(unfinished, out.name, base, words, network, config, scores)
        if out.is_dir():
            out.rmdir()  # it is empty
        unfinished.rename(out)
    return scores


def require_free(out: Path) -> None:
    """Raise ModelError where a model folder cannot be made because something is there."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ModelError(f"{out} already exists; name another folder or remove it")


def _write(
    folder: Path,
    name: str,
    base: Base,
    words: OwnWords,
    network: Network,
    config: TuneConfig,
    scores: Scores,
) -> None:
    labels, features = words.labels, base.manifest.features
    artefacts = {}
    for key, graph in base.graphs.items():
        path = folder / f"{name}.{key}"
        path.write_bytes(write_network(graph, network, name, labels))
        artefacts[key] = describe_artefact(path)
    measured = {"clips": len(words.material.validation[1]), **asdict(scores)}
    provenance = {
        "started_from": {
            "name": base.manifest.name,
            "sha256": {key: base.manifest.artefacts[key].sha256 for key in base.graphs},
            "sources": base.manifest.provenance.get("sources", []),
        },
        "clips": {word: list(counts) for word, counts in words.clips.items()},
        "sources": list(words.material.sources),
        "options": asdict(config),
    }
    state: dict[str, Any] = {
        **checkpoint.describe(network, features, labels),
        "options": asdict(config),
        "sources": list(words.material.sources),
        "average": network.state_dict(),
        "epoch": config.epochs,
        "scores": {"validation_accuracy": scores.accuracy},
    }
    checkpoint.save(folder / "checkpoint.pt", state)
    manifest = Manifest(
        version=base.manifest.version,
        name=name,
        description=f"Own words: {', '.join(labels[:-2])}",
        labels=labels,
        features=features,
        vad=base.manifest.vad,
        decision=base.manifest.decision,
        thresholds={},
        artefacts=artefacts,
        parameters=parameter_count(network),
        licence=base.manifest.licence,
        provenance=provenance,
        measurements={"held_out": measured},
    )
    write_manifest(manifest, folder / f"{name}.json")
    _verify(load_model(folder), network, words.material)


@torch.no_grad()
def _verify(model: Model, network: Network, material: Material) -> None:
    """Hold the written graphs to the network; raises ModelError where they differ."""
    clips = material.validation[0][:16]
    features = clip_features(model, clips)
    wanted = network(torch.from_numpy(features))[:, -1].softmax(-1).numpy()
    difference = float(abs(model.backend.run(features) - wanted).max())
    # A stream takes a whole number of steps; what came before the last second is forgotten.
    stream = model.open_stream()
    padding = np.zeros((-model.frames % stream.frames, features.shape[2]), np.float32)
    for chunk in np.concatenate((padding, features[0])).reshape(-1, stream.frames, len(padding.T)):
        newest = stream.posteriors(chunk)[-1]
    difference = max(difference, float(abs(newest - wanted[0]).max()))
    if not difference < 1e-4:
        raise ModelError(
            "the graphs of the model to start from compute something else than their weights give "
            f"(posteriors differ by {difference:.2g}); it cannot be fine-tuned"
        )
