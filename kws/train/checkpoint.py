"""Training state on disk: written whole or not at all, read without running any code from it."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from kws.config import FeatureConfig
from kws.errors import ModelError, writing
from kws.model.manifest import check_labels
from kws.text import printable
from kws.train.architectures import AnyNetwork, build, read_config
from kws.train.prior import without_prior

VERSION = 1


def check_writable(*paths: Path) -> None:
    """Raise a KwsError unless these files, all of one folder, can be written; makes the folder.

    Before a run, so that hours of work do not end at the first checkpoint.
    """
    folder = paths[0].parent
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        for each in (path, path.with_suffix(".part")):
            if each.exists() and not (each.is_file() and os.access(each, os.W_OK)):
                raise ModelError(
                    f"{each} is no file that can be written, and the run would write it; "
                    "move it away or name another folder"
                )
    with writing(folder), tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(1 << 16))  # which a full disk refuses
        probe.flush()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside `path` and move it there, so that a kill leaves the old one.

    Raises OSError where the disk is full; the old checkpoint is then still whole.
    """
    content = io.BytesIO()  # torch's own writer turns a full disk into an error of another kind
    torch.save({"version": VERSION, **state}, content)
    part = path.with_suffix(".part")
    try:
        part.write_bytes(content.getbuffer())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint that `save` wrote; raises ModelError for anything else."""
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {path}; train one with `python -m kws.train`")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that it would rather not see
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for foreign files
        raise ModelError(
            f"{path} is not a kws checkpoint ({type(error).__name__}); it was not opened further"
        ) from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise ModelError(f"{path} is not a kws checkpoint of version {VERSION}; train again")
    return state


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Tell what goes wrong with a checkpoint's content meanwhile as a ModelError of one line."""
    try:
        yield
    except (AttributeError, EOFError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(printable(str(error).partition("\n")[0]).split())
        raise ModelError(
            f"{path} does not fit this version of kws ({type(error).__name__}: {reason:.120}); "
            "train again, or with the release that wrote it"
        ) from error


def describe(
    network: AnyNetwork, features: FeatureConfig, labels: tuple[str, ...]
) -> dict[str, Any]:
    """The metadata of the network whose weights a checkpoint holds."""
    return {"network": asdict(network.config), "features": asdict(features), "labels": list(labels)}


def load_network(path: Path) -> tuple[AnyNetwork, FeatureConfig, tuple[str, ...], dict[str, Any]]:
    """The averaged network of a checkpoint in evaluation mode, its front end, labels and all.

    The class shares that the checkpoint names are taken out of it; see `kws.train.prior`.
    """
    state = load(path)
    with fitting(path):
        config = read_config(state["network"])
        with torch.device("meta"):  # without memory, for the sizes may be anything
            expected = {name: each.shape for name, each in build(config).state_dict().items()}
        if expected != {name: each.shape for name, each in state["average"].items()}:
            raise ValueError("its weights are not those of the network that it describes")
        network = build(config)
        network.load_state_dict(state["average"])
        features = FeatureConfig(**state["features"])
        labels = tuple(state["labels"])
        check_labels(labels)
        if shares := state.get("shares"):
            network = without_prior(network, labels, shares["silence"], shares["unknown"])
    if len(labels) != network.config.labels:
        raise ModelError(
            f"{path} names {len(labels)} labels and its network has {network.config.labels}; "
            "train again"
        )
    return network.eval(), features, labels, state
