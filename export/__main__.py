"""`python -m export CHECKPOINT --out DIR`: every file of a model, and then its manifest.

The manifest is written only when all files agree with the checkpoint on real recordings. A release
takes `--calibrate --firmware` as well.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export.build import ARTEFACTS, Made, build, metadata_of, quantised_of, with_ranges
from export.calibrate import calibrate, calibration_clips
from export.dead import without_dead
from export.encoder_graph import write_encoder
from export.fold import fold
from export.model_card import write_model_card
from export.network import FloatArray
from export.run_log import run_log
from export.together import together
from export.verify import measurements_of, reference_of, verify
from kws import __version__
from kws.config import DecisionConfig, VadConfig
from kws.errors import KwsError, ModelError, writing
from kws.evaluation.evalset import EvaluationSet, default_split, load_evaluation_set
from kws.evaluation.metrics import calibration
from kws.frontend import log_mel
from kws.model.manifest import (
    DEFAULT_MODEL,
    VERSION,
    Manifest,
    describe_artefact,
    read_manifest,
    write_manifest,
)
from kws.recordings.data import corpus_root, find_corpus
from kws.train.checkpoint import load_network
from kws.train.embedding import EmbeddingNetwork
from kws.train.encoder import EncoderNetwork
from kws.train.network import Network, parameter_count

LICENCE = "Apache-2.0"
WITH_WHISPER = "Apache-2.0 AND MIT"  # the weights that an encoder begins with are Whisper's
ENCODER = "window.int8.onnx"  # the artefact of one
ENOUGH_CLIPS = 500

logger = logging.getLogger("export")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    data = os.environ.get("KWS_DATA")
    parser = argparse.ArgumentParser(
        prog="python -m export", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("checkpoint", type=Path, help="what `python -m kws.train` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument(
        "--data",
        type=Path,
        default=data,
        required=not data,
        help="the recordings that it was trained on, to calibrate int8 and to verify "
        "(default: the environment variable KWS_DATA)",
    )
    parser.add_argument("--name", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    parser.add_argument("--description", help="one line for people (default: made from the labels)")
    parser.add_argument(
        "--only",
        nargs="+",
        default=ARTEFACTS,
        metavar="ARTEFACT",
        help=f"write these and no others of: {', '.join(ARTEFACTS)}",
    )
    parser.add_argument(
        "--keep-decision",
        action="store_true",
        help="keep thresholds, presets, gate and decision settings of the manifest that is there",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="then choose thresholds and presets, as `python -m export.operating_points` does",
    )
    parser.add_argument(
        "--verifier",
        metavar="MODEL",
        help="with --calibrate: the larger model in the same folder that confirms candidates",
    )
    parser.add_argument(
        "--together-with",
        metavar="MODEL",
        help="of a network of --network embedding: the exported model that shares its file; their "
        "posteriors are combined",
    )
    parser.add_argument(
        "--firmware",
        action="store_true",
        help="then write the C sources, as `python -m firmware_demo.tools generate` does",
    )
    options = parser.parse_args(arguments)
    if options.keep_decision and options.calibrate:
        parser.error("--keep-decision keeps the thresholds and --calibrate chooses new ones")
    if options.verifier and not options.calibrate:
        parser.error("--verifier needs --calibrate, which chooses the thresholds for both")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        path = export(options)
    except KwsError as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    code = 0
    if options.calibrate:
        from export import operating_points

        verifier = ["--verifier", options.verifier] if options.verifier else []
        code = operating_points.main(["--data", str(options.data), "--model", str(path), *verifier])
    if options.firmware and code == 0:
        command = [sys.executable, "-m", "firmware_demo.tools", "generate", str(path)]
        code = subprocess.run(command).returncode
    return code


def export(options: argparse.Namespace) -> Path:
    """Build, verify and only then write; returns the path of the manifest.

    Raises KwsError with nothing written otherwise.
    """
    trained, features, labels, state = load_network(options.checkpoint)
    path: Path = options.out / f"{options.name}.json"
    kept = read_manifest(path) if options.keep_decision else None
    keywords = len(labels) - sum(label in labels for label in ("silence", "unknown"))
    manifest = Manifest(
        version=VERSION,
        name=options.name,
        description=options.description or f"{keywords} command words, small and streaming",
        labels=labels,
        features=features,
        vad=kept.vad if kept else VadConfig(),
        decision=kept.decision if kept else DecisionConfig(),
        thresholds=kept.thresholds if kept else {},
        presets=kept.presets if kept else {},
        verifier=kept.verifier if kept else None,
        artefacts={},
        parameters=parameter_count(trained),
        licence=LICENCE,
        provenance=_provenance(state, run_log(options.checkpoint, state["epoch"])),
        measurements={},
    )
    if isinstance(trained, EncoderNetwork):
        made = _encoder(trained, manifest, options.together_with, options.only)
    else:
        logger.info("calibrating int8")
        training = calibration_clips(options.data, labels)
        frames = np.stack([log_mel(audio, features) for audio in training])
        if isinstance(trained, EmbeddingNetwork):
            made = together(trained, manifest, frames, options.together_with, options.only)
        else:
            made = _alone(trained, manifest, frames, options.only)
    manifest = made.manifest

    logger.info("verifying")
    clips = _clips(options.data, labels)
    reference = reference_of(made.trained, features, labels, clips)
    measured = verify(manifest, made.contents, made.quantised, reference, clips)

    with writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        artefacts = {}
        for key, content in made.contents.items():
            file = options.out / f"{options.name}.{key}"
            part = file.with_name(file.name + ".part")
            part.write_bytes(content)
            part.replace(file)
            artefacts[key] = describe_artefact(file)
        measurements = {
            "export": measurements_of(measured, reference, clips),
            "calibration": calibration(clips.targets, reference.posteriors),
        }
        write_manifest(replace(manifest, artefacts=artefacts, measurements=measurements), path)
        write_model_card(options.out)
    logger.info("wrote %s", path)
    return path


def _alone(trained: Network, manifest: Manifest, frames: FloatArray, only: Sequence[str]) -> Made:
    """Every file of a network that streams, calibrated on windows (clips, frames, bands)."""
    network = without_dead(fold(trained), frames)
    manifest = with_ranges(manifest, len(frames), calibrate(network, frames))
    contents = build(manifest, network, only)
    return Made(manifest, contents, trained, quantised_of(manifest, network))


def _encoder(
    trained: EncoderNetwork, manifest: Manifest, model: str | None, only: Sequence[str]
) -> Made:
    """The one file of a network of --network encoder.

    Raises ModelError for any other, and where a `model` is to share it.
    """
    if tuple(only) != (ENCODER,) or model is not None:
        raise ModelError(
            f"a network of --network encoder is exported in one file; add --only {ENCODER}, and "
            "leave out --together-with"
        )
    # A window costs too much for every step.
    manifest = replace(manifest, licence=WITH_WHISPER, window_hop_ms=manifest.decision.hop_ms)
    content = write_encoder(trained, metadata_of(manifest))
    return Made(manifest, {ENCODER: content}, trained, None)


def _provenance(state: dict[str, Any], log: dict[str, Any]) -> dict[str, Any]:
    averaged = {"averaged_with": state["averaged_with"]} if "averaged_with" in state else {}
    return {
        "kws_version": __version__,
        "sources": state["sources"],
        "network": state["network"],
        "training": {**state["options"], "epochs_done": state["epoch"], **averaged},
        "log": log,
        "started_from": state.get("started_from", {}),
    }


def _clips(data: Path, labels: tuple[str, ...]) -> EvaluationSet:
    """The clips to verify on: those of the validation split where there are any."""
    corpus = find_corpus(corpus_root(data))
    split = "validation" if corpus.split("validation") else default_split(corpus)
    clips = load_evaluation_set(data, labels, split)
    if len(clips.audio) < ENOUGH_CLIPS:
        logger.warning(
            "only %d clips to verify on; %d would prove more", len(clips.audio), ENOUGH_CLIPS
        )
    return clips


if __name__ == "__main__":
    sys.exit(main())
