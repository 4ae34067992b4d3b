"""Runs of one command each: `python -m kws.train.recipe NAME --data DIR --out RUN`.

A recipe states every option and the seed; a run that was stopped goes on where it was when the
command is given again, to the same bits. `docs/training.md` says which
recipes made what ships.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kws.config import LABELS
from kws.errors import KwsError
from kws.train.embedding import EmbeddingConfig
from kws.train.encoder import EncoderConfig
from kws.train.fit import FitConfig, check_folder, fit
from kws.train.learner import LearnerConfig
from kws.train.materials import load_material
from kws.train.memory import keep_freed_memory
from kws.train.network import NetworkConfig
from kws.train.sampler import SamplerConfig

LARGE = NetworkConfig(channels=160, kernels=(3, 3, 5, 5, 5, 5, 5, 5, 7, 7), pool=8)
WIDE = replace(LARGE, channels=208)
_SAMPLER = SamplerConfig(noisy=0.8)
# Ten times as slow on a processor without bfloat16; only where a run has been made with it.
_BFLOAT16 = LearnerConfig(mixed_precision=True)
_ENCODER = FitConfig(
    epochs=8,
    seed=112,
    learning_rate=3e-4,
    warm_up=1,
    mine_every=3,
    learner=_BFLOAT16,
    sampler=replace(_SAMPLER, epoch_size=15_360, talk=0.5),
    network=EncoderConfig(),
)


@dataclass(frozen=True)
class Recipe:
    """One run."""

    about: str
    config: FitConfig
    start: str = ""  # what --start must name; "" where training begins with nothing
    frozen_teachers: str = ""  # what --frozen-teachers must name; "" where there are none
    negatives: str = ""  # what --negatives must name; "" where the run searches for its own


RECIPES = {
    "large": Recipe(
        "a network of 298,000 weights from nothing, which teaches the small one",
        FitConfig(
            epochs=28,
            seed=81,
            learning_rate=3e-3,
            sampler=_SAMPLER,
            network=LARGE,
        ),
    ),
    "wide": Recipe(
        "the same of 488,000 weights, trained longer; no better (docs/lab-notes.md)",
        FitConfig(
            epochs=46,
            seed=82,
            learning_rate=3e-3,
            learner=_BFLOAT16,
            sampler=_SAMPLER,
            network=WIDE,
        ),
    ),
    "small": Recipe(
        "the network that runs all the time: 78,000 weights from nothing, taught by the large one",
        FitConfig(epochs=60, seed=91, learning_rate=3e-3, learner=_BFLOAT16, sampler=_SAMPLER),
        frozen_teachers="last.pt of the recipe large",
    ),
    "verifier": Recipe(
        "for the verifier, from published weights; no better (docs/lab-notes.md)",
        FitConfig(
            epochs=16,
            seed=101,
            learning_rate=1e-3,
            warm_up=1,
            mine_every=0,
            learner=_BFLOAT16,
            sampler=replace(_SAMPLER, talk=0.5),
            network=EmbeddingConfig(),
        ),
        start="START.pt of `python -m kws.train.published`",
        negatives="last.pt of the network whose candidates it verifies",
    ),
    "verifier-taught": Recipe(
        "the same, taught by several networks together; no better (docs/lab-notes.md)",
        FitConfig(
            epochs=12,
            seed=104,
            learning_rate=1e-3,
            warm_up=1,
            mine_every=0,
            learner=replace(_BFLOAT16, distil_weight=2.0),
            sampler=replace(_SAMPLER, talk=0.5),
            network=EmbeddingConfig(),
        ),
        start="START.pt of `python -m kws.train.published`",
        frozen_teachers="verifier-talk.pt, verifier.pt, large.pt and wide.pt of export/checkpoints",
        negatives="last.pt of the network whose candidates it verifies",
    ),
    "encoder": Recipe(
        "the verifier, from the first layers of Whisper's encoder",
        _ENCODER,
        start="START.pt of `python -m kws.train.whisper`",
    ),
    "encoder-long": Recipe(
        "the same, trained longer; its mean with two runs of the recipe encoder ships",
        replace(_ENCODER, epochs=12, seed=113, mine_every=4),
        start="START.pt of `python -m kws.train.whisper`",
    ),
    "lessons": Recipe(
        "the 78,000 weights of a release trained without talk, taught talk and hard negatives",
        FitConfig(
            epochs=14,
            seed=71,
            learning_rate=1.5e-3,
            warm_up=1,
            mine_every=3,
            learner=_BFLOAT16,
            sampler=_SAMPLER,
        ),
        start="manifest of the model `commands` of release 0.1",
    ),
    "verifier-lessons": Recipe(
        "the same of a release trained without talk, taught talk and hard negatives",
        FitConfig(
            epochs=12,
            seed=72,
            learning_rate=5e-4,
            warm_up=1,
            mine_every=0,
            learner=_BFLOAT16,
            sampler=replace(_SAMPLER, epoch_size=15_360),
            network=EmbeddingConfig(frozen=2),
        ),
        start="manifest of the model `accurate` of release 0.1",
        negatives="last.pt of the recipe lessons",
    ),
    "verifier-talk": Recipe(
        "that of the recipe verifier-lessons, taught more talk and its own false accepts",
        FitConfig(
            epochs=12,
            seed=103,
            learning_rate=5e-4,
            warm_up=1,
            mine_every=12,
            sampler=replace(_SAMPLER, epoch_size=15_360, talk=0.5),
            network=EmbeddingConfig(frozen=2),
        ),
        start="last.pt of the recipe verifier-lessons, or export/checkpoints/verifier-lessons.pt",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m kws.train.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="recipes:\n" + "\n".join(f"  {n}: {r.about}" for n, r in RECIPES.items()),
    )
    parser.add_argument("name", choices=RECIPES, metavar="NAME", help="see below")
    parser.add_argument("--data", type=Path, default=os.environ.get("KWS_DATA"), metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN")
    parser.add_argument("--start", type=Path, metavar="WEIGHTS", help="where the recipe needs it")
    parser.add_argument(
        "--frozen-teachers",
        type=Path,
        nargs="+",
        metavar="CHECKPOINT",
        help="where the recipe needs them",
    )
    parser.add_argument(
        "--negatives", type=Path, metavar="CHECKPOINT", help="where the recipe needs it"
    )
    parser.add_argument("--seed", type=int, help="another one, to tell what a seed is worth")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: %(default)s)")
    options = parser.parse_args(arguments)
    recipe = RECIPES[options.name]
    if options.data is None:
        parser.error("name the recordings with --data DIR or the environment variable KWS_DATA")
    for name in ("start", "frozen_teachers", "negatives"):
        needed, given = getattr(recipe, name), getattr(options, name)
        option = name.replace("_", "-")
        if needed and given is None:
            parser.error(f"the recipe {options.name} needs --{option}: {needed}")
        if given is not None and not needed:
            parser.error(f"the recipe {options.name} takes no --{option}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    config = recipe.config
    if options.seed is not None:
        config = replace(config, seed=options.seed)
    resume = (options.out / "last.pt").exists()
    try:
        check_folder(options.out, resume)
        fit(
            load_material(Path(options.data), LABELS, None),
            options.out,
            config,
            resume=resume,
            start=options.start,
            frozen_teachers=options.frozen_teachers or [],
            device=options.device,
            negatives=options.negatives,
        )
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"kws: {error}; the last whole checkpoint is kept", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kws: stopped; give the same command again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
