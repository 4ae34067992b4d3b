"""`python -m export CHECKPOINT --out DIR`: every file of a model, proven equal, and its manifest."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from export.build import build
from export.fold import fold
from kws.config import DecisionConfig, VadConfig
from kws.errors import KwsError
from kws.manifest import DEFAULT_MODEL, VERSION, Manifest, describe_artefact, write_manifest
from kws.train.checkpoint import load_network
from kws.train.network import parameter_count

LICENCE = "Apache-2.0"


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="what `python -m kws.train` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--name", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    options = parser.parse_args(arguments)
    try:
        export(options.checkpoint, options.out, options.name)
    except KwsError as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    return 0


def export(checkpoint: Path, out: Path, name: str) -> None:
    """Write the artefacts and then the manifest."""
    trained, features, labels, state = load_network(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    artefacts = {}
    for key, content in build(fold(trained), name, labels, features, LICENCE).items():
        path = out / f"{name}.{key}"
        path.write_bytes(content)
        artefacts[key] = describe_artefact(path)
    manifest = Manifest(
        version=VERSION,
        name=name,
        description=f"Ten English command words, {len(labels)} classes, streaming",
        labels=labels,
        features=features,
        vad=VadConfig(),
        decision=DecisionConfig(),
        thresholds={},
        artefacts=artefacts,
        parameters=parameter_count(trained),
        licence=LICENCE,
        provenance={
            "sources": state["sources"],
            "options": state["options"],
            "epoch": state["epoch"],
        },
        measurements={
            "validation_in_training": {"accuracy": state["scores"]["validation_accuracy"]}
        },
    )
    write_manifest(manifest, out / f"{name}.json")


if __name__ == "__main__":
    sys.exit(main())
