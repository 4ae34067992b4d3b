"""Teach a model your own words: one folder of 16 kHz recordings per word, 10 to 100 in each.

The new model starts from the weights of an existing one and knows your words only; `kws listen
--model OUT` uses it. The folders `_unknown_` and `_background_noise_` may hold other speech and
noise. The exit code is 1 where a recording could not be used.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws finetune`."""
    parser.add_argument(
        "--from", dest="base", metavar="MODEL", help="the model to start from (default: ours)"
    )
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help="the recordings")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="folder for the new model"
    )
    parser.add_argument(
        "--words", metavar="A,B", help="which folders are words (default: all; others: unknown)"
    )
    parser.add_argument(
        "--speech", metavar="DIR", type=Path, help="recordings in which none of the words is spoken"
    )
    parser.add_argument("--noise", metavar="DIR", type=Path, help="recordings without any speech")
    parser.add_argument(
        "--freeze",
        action="store_true",
        help="leave the first half of the layers as they are: knows more of your words from few "
        "recordings, and takes more others for them",
    )
    parser.add_argument("--epochs", type=_positive, help="passes (default: enough)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=_positive, help="CPU threads (default: all cores)")


def run(options: argparse.Namespace) -> int:
    """Fine-tune and tell how well it went; returns the exit code: 1 where a recording could not be
    used."""
    import shlex

    from rich.console import Console
    from rich.progress import Progress

    from kws.errors import BackendUnavailable

    try:
        import torch

        from kws.train.finetune import TuneConfig, finetune, load_base, require_free
        from kws.train.own_words import load_own_words
    except ImportError as error:
        raise BackendUnavailable(
            f"fine-tuning needs what training needs ({error}); pip install 'kws[train]'"
        ) from error

    if options.threads:
        torch.set_num_threads(options.threads)
    require_free(options.out)
    base = load_base(options.base)
    chosen = [word.strip() for word in options.words.split(",")] if options.words else None
    words = load_own_words(options.data, chosen, options.speech, options.noise)
    config = TuneConfig(seed=options.seed, frozen=options.freeze)
    if options.epochs:
        config = replace(config, epochs=options.epochs)
    for word, (learned, kept) in words.clips.items():
        print(f"{word}: {learned} recordings to learn from, {kept} to measure on")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=config.epochs)
        scores = finetune(
            base, words, options.out, config, lambda epoch: progress.update(task, completed=epoch)
        )
    print("\nrecognised of the recordings kept to measure on")
    for label, recall in scores.recall.items():
        print(f"  {label:<16} {100 * recall:6.1f} %")
    print(f"\nkws listen --model {shlex.quote(str(options.out))}")
    return 1 if words.material.problems else 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)
