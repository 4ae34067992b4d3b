"""Take in a classifier from elsewhere, ONNX or TFLite: probe it and write its manifest.

It classifies one second at a time: features in, a posterior for each label out. Only the shapes
can be probed; whether the features are the ones it was trained on shows in use (`kws eval`).
"""

from __future__ import annotations

import argparse
import codecs
import os
from pathlib import Path
from typing import Any, get_type_hints

LABELS_BYTES = 1 << 20  # the longest list of labels that is read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws import`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the network, .onnx or .tflite")
    parser.add_argument(
        "--labels",
        required=True,
        type=_labels,
        help="in the order of the posteriors: comma-separated, or a text file with one per line; "
        "silence and unknown are never detected",
    )
    parser.add_argument(
        "--features",
        type=_features,
        default="",
        metavar="KEY=VALUE,...",
        help="what differs from 40 log-mel bands in windows of 480 samples every 160, such as "
        "window=640,hop=320,fft_size=1024,coefficients=10 for MFCC",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for the model")
    parser.add_argument("--name", help="default: the file's own")
    parser.add_argument("--licence", default="unknown", help="of the network, for the manifest")


def run(options: argparse.Namespace) -> int:
    """Import and say what came of it; returns the exit code."""
    from kws.model.import_model import import_model

    model = import_model(
        options.file,
        options.labels,
        options.features,
        options.out,
        name=options.name,
        licence=options.licence,
    )
    manifest = model.manifest
    print(f"{model.path}: {len(manifest.keywords)} keywords ({', '.join(manifest.keywords)})")
    print(f"try it: kws listen --model {model.path.parent}")
    return 0


def _labels(text: str) -> list[str]:
    from kws.errors import ModelError
    from kws.model.files import read_file

    path = Path(text)
    try:
        # os.path's own question: it is False for a list of labels too long to be a path.
        parts = _lines(read_file(path, LABELS_BYTES)) if os.path.exists(path) else text.split(",")
    except (ModelError, FileNotFoundError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"cannot read labels from {text}: {error}") from error
    labels = [part.strip() for part in parts if part.strip()]
    if not labels:
        raise argparse.ArgumentTypeError("expected at least one label")
    return labels


def _lines(content: bytes) -> list[str]:
    """The lines of a text file in UTF-8, or in UTF-16 as Windows writes it, with its mark."""
    wide = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = content.decode("utf-16" if wide else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _features(text: str) -> Any:
    from kws.config import FeatureConfig

    kinds = get_type_hints(FeatureConfig)
    values: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        if key not in kinds:
            raise argparse.ArgumentTypeError(f"expected {', '.join(kinds)}, got {key!r}")
        try:
            values[key] = kinds[key](value)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"expected {kinds[key].__name__} for {key}, got {value!r}"
            ) from None
    try:
        return FeatureConfig(**values)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
