"""`python -m kws.train --data DIR --out RUN`: train the command model."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

try:
    import torch
except ModuleNotFoundError:
    sys.exit("error: training needs torch; pip install 'kws[train]'")

from kws.config import LABELS
from kws.errors import KwsError, ModelError
from kws.train.architectures import ARCHITECTURES
from kws.train.fit import FitConfig, check_folder, fit
from kws.train.materials import load_material
from kws.train.mended_labels import read_mended_labels
from kws.train.options import with_options
from kws.train.teacher import TEACHER


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    default = FitConfig()
    parser = argparse.ArgumentParser(prog="python -m kws.train", description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("KWS_DATA"),
        help="recordings in Speech Commands layout (default: the environment variable KWS_DATA)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument(
        "--synthetic", type=Path, help="what `python -m kws.train.synthesize` wrote"
    )
    parser.add_argument(
        "--words", type=Path, help="other words, which `python -m kws.train.spoken` wrote"
    )
    parser.add_argument(
        "--mended",
        type=Path,
        metavar="FILE",
        help="labels of training clips, which `python -m kws.train.mend` wrote, in place of theirs",
    )
    parser.add_argument(
        "--start",
        type=Path,
        help="checkpoint, or exported model, whose weights training begins with",
    )
    parser.add_argument(
        "--teacher",
        action="store_true",
        help="train a wider network beside it, in a process of its own, and learn from that too",
    )
    parser.add_argument(
        "--frozen-teachers",
        nargs="+",
        type=Path,
        default=[],
        metavar="CHECKPOINT",
        help="learn from these networks too, which have learnt already, from all of them together",
    )
    parser.add_argument(
        "--network",
        choices=ARCHITECTURES,
        default="temporal",
        help="kind of network: temporal is the small one that ships, embedding and encoder begin "
        "with published weights (see kws.train.published and kws.train.whisper)",
    )
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="change any other option of the run, such as sampler.noisy=0.5; log and checkpoint "
        "show them all",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument(
        "--device", default="cpu", help="what torch trains on, such as cuda (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("name the recordings with --data DIR or the environment variable KWS_DATA")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    config = replace(
        default,
        epochs=options.epochs,
        seed=options.seed,
        learning_rate=options.learning_rate,
        network=ARCHITECTURES[options.network](),
        teacher=TEACHER if options.teacher else None,
    )
    try:
        config = with_options(config, options.set)
    except ValueError as error:
        parser.error(str(error))
    try:
        _check_device(options.device)
        check_folder(options.out, options.resume)
        mended = None if options.mended is None else read_mended_labels(options.mended)
        material = load_material(
            Path(options.data), LABELS, options.synthetic, options.words, mended
        )
        fit(
            material,
            options.out,
            config,
            resume=options.resume,
            start=options.start,
            frozen_teachers=options.frozen_teachers,
            device=options.device,
        )
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"kws: {error}; the last whole checkpoint is kept", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kws: stopped; go on with --resume", file=sys.stderr)
        return 130
    return 0


def _check_device(device: str) -> None:
    """Raise ModelError where torch has no such device at hand."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"torch finds no device {device!r} here ({reason}); try cpu") from error


if __name__ == "__main__":
    sys.exit(main())
