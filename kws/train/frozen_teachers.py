"""Networks that have learnt already and teach another one together.

On the CPU each has a process of its own; on another device they run there, one after another.

Their target for a batch's clips is the mean of their log-posteriors, a geometric mean as where a
verifier runs; the network that learns takes it as from a teacher (`kws.train.learner`). They
may be of any kind, as long as they take the same frames and have the same labels.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kws.config import FeatureConfig
from kws.errors import ModelError
from kws.train.architectures import AnyNetwork
from kws.train.checkpoint import load_network
from kws.train.learner import Batch

FloatArray = NDArray[np.float32]


def fingerprints(checkpoints: Sequence[Path]) -> tuple[str, ...]:
    """SHA-256 of each file; raises ModelError where one is missing."""
    try:
        return tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in checkpoints)
    except OSError as error:
        raise ModelError(f"{error.filename} is no checkpoint to learn from: {error}") from error


class FrozenTeachers:
    """The networks of some checkpoints; `send` features, `receive` logits."""

    def __init__(
        self,
        checkpoints: Sequence[Path],
        labels: tuple[str, ...],
        features: FeatureConfig,
        stride: int,
        prior: Tensor,
        device: str = "cpu",
    ) -> None:
        """For a network with a row every `stride` frames and class shares of log `prior` (labels,).

        Raises ModelError where a checkpoint does not know the labels or takes other frames.
        """
        for path in checkpoints:
            _, theirs, known, _ = load_network(path)
            if theirs != features or known != labels:
                raise ModelError(
                    f"{path} cannot teach this network: expected the labels {', '.join(labels)} "
                    f"and {features}, got {', '.join(known)} and {theirs}"
                )
        self._stride, self._prior = stride, prior.to(device)
        self._done: deque[Tensor] = deque()
        self._networks: list[AnyNetwork] = []
        if device != "cpu":
            self._networks = [load_network(path)[0].to(device) for path in checkpoints]
            checkpoints = ()
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for path in checkpoints:
            pipe, far = context.Pipe()
            process = context.Process(target=_serve, args=(far, path), daemon=True)
            process.start()
            far.close()
            self._pipes.append(pipe)
            self._processes.append(process)

    def send(self, batch: Batch) -> None:
        """Send the clips of a batch."""
        clips = batch.features[: len(batch.targets)]
        if self._networks:
            logits = [_logits(network, clips, self._stride) for network in self._networks]
            self._done.append(torch.stack(logits).mean(0))
        for pipe in self._pipes:
            _piped(pipe.send, (clips.numpy(), self._stride))

    def receive(self) -> Tensor:
        """Logits of the clips that were sent longest ago, (pairs, rows, labels)."""
        if self._networks:
            return self._done.popleft() + self._prior
        logits = [torch.from_numpy(_piped(pipe.recv)) for pipe in self._pipes]
        return torch.stack(logits).mean(0) + self._prior

    def close(self) -> None:
        """End the processes."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.join(timeout=10)
            process.kill()


def _piped(call: Callable[..., Any], *content: Any) -> Any:
    try:
        return call(*content)
    except (EOFError, OSError) as error:
        raise ModelError("a frozen teacher's process has ended; go on with --resume") from error


def at_rows(logits: Tensor, own: int, stride: int, rows: int) -> Tensor:
    """Logits (streams, theirs, labels) of rows `own` frames apart, at `rows` `stride` apart.

    Between two of theirs lies the straight line; after the last one it stands.
    """
    place = torch.arange(rows, device=logits.device) * (stride / own)
    place = place.clamp_max(logits.shape[1] - 1)
    before = place.floor().long()
    after = (before + 1).clamp_max(logits.shape[1] - 1)
    return logits[:, before].lerp(logits[:, after], (place - before)[:, None])


@torch.no_grad()
def _logits(network: AnyNetwork, features: Tensor, stride: int) -> Tensor:
    with torch.autocast(features.device.type, torch.bfloat16):
        logits = network(features).float()
    rows = 1 + (features.shape[1] - network.config.receptive_field) // stride
    return at_rows(logits.log_softmax(-1), network.config.stride, stride, rows)


def _serve(pipe: Connection, path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's business
    torch.set_num_threads(1)
    network = load_network(path)[0]
    try:
        while True:
            features, stride = pipe.recv()
            logits: FloatArray = _logits(network, torch.from_numpy(features), stride).numpy()
            pipe.send(logits)
    except (EOFError, OSError):  # the trainer has ended, or has closed the pipe
        return
