"""Measure a model on recordings: accuracy, recall per class, calibration, noise.

DIR is a folder in the layout of Speech Commands (one folder per word), the official test archive,
or a folder that holds `speech_commands`. With --submission it is a folder of unlabelled clips.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kws.evaluation.evalset import EvaluationSet
    from kws.evaluation.evaluate import Evaluation

SPLITS = ("training", "validation", "testing", "all")
_SHOWN = 20  # files that were not used


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `kws eval`."""
    data = os.environ.get("KWS_DATA")
    parser.add_argument("--model", help="a packaged model's name, a folder or a manifest")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        default=data,
        required=not data,
        help="the recordings (default: the environment variable KWS_DATA)",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help="which clips (default: testing where there are such, else validation; all of the "
        "official test archive and of folders that were never split)",
    )
    parser.add_argument(
        "--artefact", metavar="KEY", help="which file of the model, such as window.int8.onnx"
    )
    parser.add_argument(
        "--ensemble",
        metavar="MODEL[:KEY]",
        action="extend",
        nargs="+",
        help="further models, or one file of each, that judge together with it",
    )
    parser.add_argument("--provider", choices=("cpu", "cuda"), help="where it runs (default: cpu)")
    parser.add_argument(
        "--noise", metavar="DIR", type=Path, help="also mix in these recordings at several SNRs"
    )
    parser.add_argument(
        "--report", metavar="OUT", type=Path, help="folder for a page with pictures, CSV and JSON"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--submission",
        metavar="FILE",
        type=Path,
        help="label the clips in DIR instead, into a CSV file of fname,label",
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate and print; returns the exit code: 1 where a recording could not be used."""
    import json

    from kws.errors import writing
    from kws.evaluation.evalset import load_evaluation_set
    from kws.evaluation.evaluate import evaluate
    from kws.evaluation.report import require_matplotlib, write_report
    from kws.model.load import load_model

    if options.report:
        require_matplotlib()
    model = load_model(options.model, artefact=options.artefact, provider=options.provider)
    if options.submission:
        return _submit(options, model)
    noise = _noise(options.noise) if options.noise else []
    clips = load_evaluation_set(options.data, model.manifest.labels, options.split)
    evaluation = evaluate(model, clips, noise)
    figures = evaluation.figures()
    if options.ensemble:
        figures["ensemble"] = _ensemble(options, evaluation, clips)
    page = None
    if options.report:
        with writing(options.report):
            page = write_report(evaluation, figures, model, options.report)
    code = 1 if figures["not_used"] else 0
    if options.json:
        print(json.dumps(figures))
        return code
    _print(figures)
    if page:
        print(f"report: {page}")
    return code


def _noise(folder: Path) -> list[Any]:
    """The recordings to mix in; raises DataError where none can be used."""
    from kws.errors import DataError
    from kws.recordings.data import find_recordings, read_recordings

    recordings, _, problems = read_recordings(find_recordings(folder))
    if not recordings:
        first = f"; {len(problems)} could not be used, first {problems[0]}" if problems else ""
        raise DataError(f"{folder} holds no recordings of noise{first}")
    return recordings


def _ensemble(
    options: argparse.Namespace, evaluation: Evaluation, clips: EvaluationSet
) -> dict[str, Any]:
    """The figures of each further model, and of all together in each of the ways."""
    from kws.evaluation.ensemble import combinations, member_weights
    from kws.evaluation.evaluate import evaluate
    from kws.model.load import load_model

    members = [evaluation]
    for text in options.ensemble:
        name, artefact = _member(text)
        model = load_model(name, artefact=artefact, provider=options.provider)
        members.append(evaluate(model, clips))
    return {
        "members": [member.figures() for member in members],
        "combinations": {how: found.figures() for how, found in combinations(members)},
        "weights": member_weights(members),
    }


def _member(text: str) -> tuple[str, str | None]:
    """A model and, where one is named after a colon, which of its files."""
    name, _, artefact = text.rpartition(":")
    return (name, artefact) if name and artefact.startswith("window.") else (text, None)


def _submit(options: argparse.Namespace, model: Any) -> int:
    from kws.errors import writing
    from kws.evaluation.submission import write_submission

    with writing(options.submission):
        written, problems = write_submission(model, options.data, options.submission)
    print(f"{written} clips labelled in {options.submission}")
    if problems:
        print(f"{len(problems)} could not be read and stand as unknown, first {problems[0]}")
    return 1 if problems else 0


def _print(figures: dict[str, Any]) -> None:
    print(f"{figures['model']} ({figures['artefact']}), {figures['clips']} clips, ", end="")
    print(f"split {figures['split']}")
    print(f"accuracy {_percent(figures['accuracy'])}")
    print(f"\n{'class':<12}{'clips':>7}{'recall':>10}{'precision':>12}")
    for label, row in zip(figures["labels"], figures["confusion"], strict=True):
        recall, precision = figures["recall"].get(label), figures["precision"].get(label)
        print(f"{label:<12}{sum(row):>7}{_percent(recall):>10}{_percent(precision):>12}")
    print("\nat the model's thresholds")
    print(f"  keywords recognised              {_percent(figures['keyword_recall_at_threshold'])}")
    print(f"  other clips taken for a keyword  {_percent(figures['false_accepts_at_threshold'])}")
    print("calibration")
    print(f"  expected calibration error       {_percent(figures['calibration_error'])}")
    print(f"  best temperature                 {figures['best_temperature']:>8.3f}")
    for snr, accuracy in figures["accuracy_by_snr_db"].items():
        print(f"accuracy at {snr:>3} dB SNR           {_percent(accuracy)}")
    if "ensemble" in figures:
        _print_ensemble(figures["ensemble"])
    if figures["not_used"]:
        count = len(figures["not_used"])
        print(f"{count} file{'s' if count > 1 else ''} not used:")
        for problem in figures["not_used"][:_SHOWN]:
            print(f"  {problem}")
        if count > _SHOWN:
            print(f"  and {count - _SHOWN} more (--json lists them)")


def _print_ensemble(found: dict[str, Any]) -> None:
    print(f"\n{'ensemble':<40}{'weight':>8}{'accuracy':>11}")
    for member, weight in zip(found["members"], found["weights"], strict=True):
        name = f"{member['model']} ({member['artefact']})"
        print(f"{name:<40}{weight:>8.2f}{_percent(member['accuracy']):>11}")
    for how, together in found["combinations"].items():
        print(f"{how:<48}{_percent(together['accuracy']):>11}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
