"""Show the models, the runtimes and the sound system found here; exits with 1 if a model fails."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kws import __version__
from kws.errors import AudioError, KwsError
from kws.evaluation.intervals import preset_text
from kws.text import printable

if TYPE_CHECKING:
    from kws.model.manifest import Manifest

# What measurements of another form than this release writes raise; they are left out then.
OTHER_FORM = (KeyError, TypeError, ValueError, AttributeError)
RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "tflite-runtime", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws info`."""
    parser.add_argument("--model", help="only this one: a name, a folder or a manifest")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print what is here; returns the exit code."""
    from kws.model.manifest import find_manifest, packaged_models

    names = [options.model] if options.model else packaged_models()
    models = [_model(find_manifest(name)) for name in names]
    facts = {
        "kws": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "runtimes": _runtimes(),
        "microphones": _microphones(),
        "models": models,
    }
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        _print(facts)
    return int(any("error" in model for model in models))


def _runtimes() -> dict[str, str]:
    """The versions of those that are installed; the native kernel is of this package."""
    from kws import native

    found = {} if native.library() is None else {"native kernel": __version__}
    for name in RUNTIMES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _microphones() -> str:
    from kws.audio import input_devices

    try:
        return f"{len(input_devices())} (see: kws devices)"
    except AudioError as error:
        return str(error)


def _model(path: Path) -> dict[str, Any]:
    """The manifest's content, and the error where the model does not run here."""
    from kws.model.load import load_model
    from kws.model.manifest import read_manifest

    facts: dict[str, Any] = {"path": str(path)}
    try:
        manifest = read_manifest(path)
        facts |= facts_of(manifest)
        loaded = load_model(path)
        facts |= {"runs": loaded.artefact, "runtime": loaded.runtime}
        if manifest.verifier:
            facts["verifier_runtime"] = loaded.verifier_runtime
    except KwsError as error:
        facts["error"] = str(error)
    return facts


def facts_of(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says, as plain values."""
    return dataclasses.asdict(manifest)


def _print(facts: dict[str, Any]) -> None:
    print(f"kws {facts['kws']} on Python {facts['python']}, {facts['platform']}")
    versions = (f"{name} {version}" for name, version in facts["runtimes"].items())
    print(f"runtimes     {', '.join(versions) or 'none'}")
    print(f"microphones  {facts['microphones']}")
    for model in facts["models"]:
        print()
        print_model(model)


def print_model(model: dict[str, Any]) -> None:
    """Print the facts of one model, with its path and what it runs or the error."""
    if "name" in model:
        print(printable(f"model {model['name']}: {model['description']}"))
        _row("labels", ", ".join(model["labels"]))
        _row("parameters", f"{model['parameters']:,}" if model["parameters"] else "not counted")
        measured = model["measurements"].get("export", {})
        shares = {}
        with suppress(*OTHER_FORM):
            shares = {key: f"{file['accuracy']:7.2%}" for key, file in measured["files"].items()}
        for key, file in model["artefacts"].items():
            facts = f"{file['bytes'] / 1e6:6.2f} MB {shares.get(key, ''):7}"
            _row(key, f"{facts}  sha256 {file['sha256'][:16]}  {file['file']}")
        with suppress(*OTHER_FORM):
            _row("", f"(share right of up to {measured['clips']:,} {measured['split']} clips)")
        settings = model.get("verifier") or model
        thresholds = (f"{word} {value:g}" for word, value in settings["thresholds"].items())
        _row("thresholds", ", ".join(thresholds) or f"{model['decision']['threshold']:g} for each")
        if verifier := model.get("verifier"):
            file, candidate = verifier["artefact"], verifier["candidate"]
            _row(
                "verifier",
                f"{file['file']}, runs above {candidate:g} ({file['bytes'] / 1e6:.2f} MB)",
            )
        points = "verified_operating_points" if model.get("verifier") else "operating_points"
        with suppress(*OTHER_FORM):
            for name, value in _operating_points(model["measurements"].get(points, {})):
                _row(name, value)
        _row("licence", model["licence"])
    _row("path", model["path"])
    if "error" in model:
        _row("ERROR", model["error"])
    else:
        _row("runs", f"{model['runs']} ({model['runtime']})")
        if model.get("verifier"):
            _row("", f"verifier: {model.get('verifier_runtime') or 'left out'}")


def _row(name: str, value: object) -> None:
    print(printable(f"  {name:<24} {value}"))


def _operating_points(measured: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What calibration measured at each preset of each mode."""
    for mode, points in measured.items():
        if not isinstance(points, Mapping):  # how many hours
            continue
        for name, point in points.items():
            missed = (f"{rate:.1%} in {where}" for where, rate in point["miss_rate"].items())
            yield (
                f"{mode}, {name}",
                f"false accepts {preset_text(point, measured)}; missed {', '.join(missed)}",
            )
