"""What the log of a training run holds on a checkpoint, for the manifest and the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kws.errors import DataError
from kws.train.curves import read_log

KEPT = ("validation_accuracy", "validation_recall", "validation_false_accepts")


def run_log(checkpoint: Path, epochs: int) -> dict[str, Any]:
    """Minutes of training up to an epoch and the scores after it; empty without a log beside it.

    A teacher's scores stand in the log of the run that it taught in.
    """
    try:
        rows = read_log(checkpoint.parent)[:epochs]
    except DataError:
        return {}
    prefix = "teacher_" if checkpoint.stem == "teacher" else ""
    scores = {key: rows[-1][prefix + key] for key in KEPT if prefix + key in rows[-1]}
    return {"minutes": round(sum(row.get("seconds", 0.0) for row in rows) / 60.0), **scores}
