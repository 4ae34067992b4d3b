"""A wider network that learns on the same batches in a process of its own, and teaches.

It takes a step on each batch and hands its logits on to the network that ships, which learns from
them as from the labels (deep mutual learning, Zhang et al., arXiv 1706.00384, in one direction).
While the small network takes its step, the wide one is at the next batch already: two cores are
busy, and every run gives the same weights whichever process is faster.
"""

from __future__ import annotations

import io
import multiprocessing
import signal
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import torch

from kws.errors import ModelError
from kws.train.architectures import AnyConfig, build, read_config
from kws.train.learner import Batch, Learner, LearnerConfig, Step
from kws.train.network import NetworkConfig

TEACHER = NetworkConfig(channels=160, kernels=(3, 3, 5, 5, 5, 5, 5, 5, 7, 7), pool=8)


class Teacher:
    """Starts the process; `send` a batch, `receive` what came of it, in the same order."""

    def __init__(
        self, network: AnyConfig, labels: tuple[str, ...], config: LearnerConfig, seed: int
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        arguments = (far, asdict(network), labels, config, seed)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        far.close()

    def send(self, batch: Batch, rate: float) -> None:
        """Have the teacher take a step on a batch at a learning rate."""
        parts = [None if part is None else part.cpu().numpy() for part in batch]
        self._send(("step", (parts, rate)))

    def receive(self) -> Step:
        """What came of the oldest batch that was sent; waits for it."""
        return Step(*map(torch.tensor, self._receive()))

    def state(self) -> dict[str, Any]:
        """The teacher's `Learner.state`, between two batches."""
        self._send(("state", None))
        state: dict[str, Any] = torch.load(io.BytesIO(self._receive()), weights_only=True)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Let the teacher go on from a state."""
        self._send(("restore", state))
        self._receive()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()

    def _send(self, message: tuple[str, Any]) -> None:
        try:
            self._pipe.send(message)
        except OSError as error:
            raise ModelError("the teacher's process has ended; go on with --resume") from error

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ModelError("the teacher's process has ended; go on with --resume") from error


def _serve(
    pipe: Connection,
    network: dict[str, Any],
    labels: tuple[str, ...],
    config: LearnerConfig,
    seed: int,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's business
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    learner = Learner(build(read_config(network)), labels, config)
    try:
        while True:
            pipe.send(_handle(learner, *pipe.recv()))
    except (EOFError, OSError):  # the trainer has ended, or has closed the pipe
        return


def _handle(learner: Learner, what: str, content: Any) -> Any:
    if what == "step":
        parts, rate = content
        made: list[Any] = [None if part is None else torch.from_numpy(part) for part in parts]
        batch = Batch(*made)
        step = learner.step(batch, rate)
        figures = (step.loss, step.peak, step.distil, step.right)
        return step.logits.numpy(), *map(float, figures)
    if what == "state":
        state = io.BytesIO()  # as bytes: tensors would go on sharing their memory
        torch.save(learner.state(), state)
        return state.getvalue()
    learner.restore(content)
    return None
