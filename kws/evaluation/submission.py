"""Labels for recordings that have none, in the form that Kaggle's challenge takes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from kws.config import UNKNOWN
from kws.errors import DataError
from kws.evaluation.evaluate import clip_posteriors
from kws.model.load import Model
from kws.recordings.data import Problem, find_recordings, fit_length, read_recordings

_AT_ONCE = 2048  # clips in memory; the challenge has 158,538


def write_submission(model: Model, folder: Path, file: Path) -> tuple[int, list[Problem]]:
    """Write `fname,label` for every recording below a folder, sorted by name.

    A file that cannot be read keeps its row, as unknown: a submission has to be complete. Returns
    the number of rows and those files. Raises DataError where there is no recording, OSError where
    the file cannot be written; what stood there before is then kept.
    """
    paths = find_recordings(folder)
    if not paths:
        raise DataError(f"{folder} holds no recordings to label")
    labels, problems = dict.fromkeys(paths, UNKNOWN), []
    for start in range(0, len(paths), _AT_ONCE):
        audio, used, bad = read_recordings(paths[start : start + _AT_ONCE])
        problems += bad
        if used:
            clips = np.stack([fit_length(recording) for recording in audio])
            chosen = clip_posteriors(model, clips).argmax(axis=1)
            labels.update(
                (path, model.manifest.labels[index])
                for path, index in zip(used, chosen, strict=True)
            )
    unfinished = file.with_name(file.name + ".part")
    with unfinished.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["fname", "label"])
        rows.writerows((path.name, label) for path, label in labels.items())
    unfinished.replace(file)
    return len(paths), problems
