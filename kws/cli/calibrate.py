"""Set a model's thresholds for a wanted rate of false accepts in your own surroundings.

Record the microphone while nobody says a command, the longer the better, and name the
recordings. The model is copied to --out with the new thresholds; give that folder as --model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kws.cli.options import rate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws calibrate`."""
    parser.add_argument(
        "--target-fa",
        type=rate,
        default=0.5,
        metavar="RATE",
        help="wanted false accepts per hour, in all (default: 0.5)",
    )
    parser.add_argument(
        "--background",
        metavar="FILE",
        type=Path,
        action="extend",
        nargs="+",
        required=True,
        help="recordings without commands, or folders of them",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for the calibrated model")
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")


def run(options: argparse.Namespace) -> int:
    """Calibrate and print; returns the exit code: 1 where a recording could not be read."""
    import shutil
    from dataclasses import replace

    from kws.errors import DataError, writing
    from kws.evaluation.calibrate import move_thresholds, thresholds_as_stored
    from kws.evaluation.intervals import poisson_interval
    from kws.evaluation.replay import record_files
    from kws.model.load import load_model
    from kws.model.manifest import write_manifest
    from kws.operating_point import OperatingPoint
    from kws.recordings.data import find_recordings

    model = load_model(options.model)
    manifest = model.manifest
    paths = [
        path
        for named in options.background
        for path in (find_recordings(named) if named.is_dir() else [named])
    ]
    tracks, problems = record_files(paths, model)
    for problem in problems:
        print(f"not used: {problem}")
    if not tracks:
        raise DataError("none of the recordings can be read, so there is nothing to go by")
    hours = sum(each.seconds for each in tracks) / 3600.0
    point = OperatingPoint.of(model)
    before = sum(
        len(each.detections(manifest.labels, point.thresholds, point.config)) for each in tracks
    )
    moved, after = move_thresholds(point, tracks, manifest.labels, options.target_fa)
    thresholds = thresholds_as_stored(moved)
    print(f"{hours:.2f} hours of audio; false accepts {before} before, {after} now")
    # The upper end of a 90 % interval is exceeded by 5 %.
    most, most_of_none = (poisson_interval(count, 0.9)[1] for count in (after, 0))
    print(f"with 95 % confidence no more than {most / hours:.2f} per hour", end="")
    if most / hours > options.target_fa > 0.0:
        print(f"; to be sure of {options.target_fa:g}, record about", end=" ")
        print(f"{most_of_none / options.target_fa:.0f} hours", end="")
    print(f"\n\n{'keyword':<14}{'was':>8}{'is':>8}")
    for word in manifest.keywords:
        print(f"{word:<14}{point.thresholds[word]:>8.3f}{thresholds[word]:>8.3f}")
    if options.out:
        with writing(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
            artefacts = [*manifest.artefacts.values()]
            artefacts += [manifest.verifier.artefact] if manifest.verifier else []
            for artefact in artefacts:
                shutil.copyfile(model.path.parent / artefact.file, options.out / artefact.file)
            calibration = {
                "target_per_hour": options.target_fa,
                "hours": round(hours, 3),
                "false_accepts": after,
            }
            measurements = {**manifest.measurements, "calibration": calibration}
            changed = replace(manifest, measurements=measurements)
            if point.verified and manifest.verifier:
                verifier = replace(manifest.verifier, thresholds=thresholds)
                changed = replace(changed, verifier=verifier)
            else:
                changed = replace(changed, thresholds=thresholds)
            write_manifest(changed, options.out / model.path.name)
        print(f"\nwritten; use it with --model {options.out}")
    return 1 if problems else 0
