"""Somebody else's classifier as a model of ours: probed, and given a manifest."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kws.config import SILENCE, UNKNOWN, DecisionConfig, FeatureConfig, VadConfig
from kws.errors import ModelError, writing
from kws.frontend import frame_count
from kws.model.files import NETWORK_BYTES, read_file
from kws.model.load import Model, load_model
from kws.model.manifest import (
    VERSION,
    Manifest,
    check_labels,
    describe_artefact,
    write_manifest,
)
from kws.text import printable

# What other projects call the two classes that are never detected.
SYNONYMS = {"_silence_": SILENCE, "_unknown_": UNKNOWN, "_background_noise_": SILENCE}

USUAL_WINDOWS = (480, 400, 512, 640, 1024)  # samples
USUAL_HOPS = (80, 160, 320)  # samples that divide the 20 ms between two decisions

logger = logging.getLogger(__name__)


def import_model(
    file: Path,
    labels: Sequence[str],
    features: FeatureConfig,
    folder: Path,
    *,
    name: str | None = None,
    licence: str = "unknown",
) -> Model:
    """Copy a classifier of one-second windows into a folder, with a manifest, and load it.

    The file is ONNX or TFLite with one input, the features (1 or any, frames, width), and one
    output, a posterior for each label. It is tried beside the folder and moved there when it runs,
    so that nothing half made can be found. Raises ModelError, and leaves nothing behind, where the
    file is none of these or does not fit the labels or the features; the message says why.
    """
    name = name or re.sub(r"[^\w-]+", "_", file.stem)
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise ModelError(
            f"expected a name of up to 100 letters, digits, _, - and ., got {name!a:.60}"
        )
    labels = [SYNONYMS.get(label, label) for label in labels]
    check_labels(labels)
    shown = printable(str(file))
    try:
        content = read_file(file, NETWORK_BYTES)
    except FileNotFoundError as error:
        raise ModelError(f"cannot read {shown}: {error.strerror}") from error
    form = "tflite" if content[4:8] == b"TFL3" else "onnx"
    if form == "onnx" and file.suffix.lower() != ".onnx":
        raise ModelError(
            f"{shown} is neither an ONNX nor a TFLite file; export the network to one of them"
        )
    manifest = Manifest(
        version=VERSION,
        name=name,
        description=f"imported from {printable(file.name)}",
        labels=tuple(labels),
        features=features,
        vad=VadConfig(),
        decision=DecisionConfig(),
        thresholds={},
        artefacts={},
        parameters=0,
        licence=licence,
        provenance={"imported": printable(file.name)},
        measurements={},
    )
    copy, path = f"{name}.window.{form}", f"{name}.json"
    for taken in (folder / copy, folder / path):
        if taken.exists():
            raise ModelError(f"{taken} is there already; choose another folder or name")
    # On the disk of the folder, so that what is there by then can be moved at once.
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    part = place / f".{name}.{secrets.token_hex(4)}.part"
    with writing(folder):
        part.mkdir()
    try:
        with writing(folder):
            (part / copy).write_bytes(content)
            artefacts = {f"window.{form}": describe_artefact(part / copy)}
            write_manifest(replace(manifest, artefacts=artefacts), part / path)
        try:
            model = load_model(part / path)
            _warn_of_constant_output(model)
        except ModelError as error:
            reason = str(error).replace(str(part / copy), shown).replace(str(part / path), shown)
            raise ModelError(f"{reason}{_hint(reason, features)}") from error
        with writing(folder):
            _move(part, folder, copy, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return load_model(folder / path)


def _move(part: Path, folder: Path, *names: str) -> None:
    """Move files whose last is the manifest, without which the others are no model."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.rename(folder)
        return
    moved: list[Path] = []
    try:
        for name in names:
            (part / name).rename(folder / name)
            moved.append(folder / name)
    except BaseException:
        for path in moved:
            path.unlink()
        raise


def _warn_of_constant_output(model: Model) -> None:
    """Warn where the network returns the same posteriors for any input."""
    width = model.manifest.features.width
    generator = np.random.default_rng(0)
    probe = generator.uniform(0.0, 15.0, (4, model.frames, width)).astype(np.float32)
    probe[0] = 0.0
    if np.ptp(model.backend.run(probe), axis=0).max() < 1e-3:
        logger.warning(
            "the network returns the same posteriors for silence and for noise; are these the "
            "features that it was trained on?"
        )


def _hint(error: str, features: FeatureConfig) -> str:
    """Which features would fit, where the shape of these was the trouble."""
    found = re.search(r"takes features of shape \(([^)]*)\), not", error)
    if not found:
        return ""
    lengths = [length for length in found[1].split(", ")[1:] if length != "1"]
    if len(lengths) != 2 or not all(length.isdecimal() for length in lengths):
        return "; expected two axes of it, time and features"
    frames, width = map(int, lengths)
    if (width, frames) == (frame_count(features.sample_rate, features), features.width):
        return "; time and features stand the other way round, so transpose them in the graph"
    for hop in USUAL_HOPS:
        for window in sorted(USUAL_WINDOWS, key=lambda size: abs(size - max(480, 2 * hop))):
            fft = 1 << (window - 1).bit_length()
            usual = replace(features, window=window, hop=hop, fft_size=fft)
            if frame_count(features.sample_rate, usual) == frames:
                return (
                    f"; {frames} frames are those of window={window},hop={hop},fft_size={fft}, "
                    f"and {width} numbers a frame those of bands={width} or coefficients={width}"
                )
    return f"; no usual window and hop make {frames} frames of one second"
