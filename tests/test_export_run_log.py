"""The model card tells how training went, from the run's own log."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: `pip install kws[export]`")

from export.model_card import model_card
from export.run_log import run_log
from kws.model.manifest import find_manifest, read_manifest, write_manifest


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three epochs beside a teacher."""
    rows = [
        {
            "epoch": epoch,
            "validation_accuracy": 0.9 + 0.01 * epoch,
            "validation_recall": {"yes": 0.9, "no": 0.8},
            "validation_false_accepts": 0.01,
            "teacher_validation_accuracy": 0.99,
            "teacher_validation_recall": {"yes": 0.95, "no": 0.97},
            "teacher_validation_false_accepts": 0.0,
            "seconds": 60.0,
        }
        for epoch in (1, 2, 3)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_scores_are_those_of_the_checkpoint(run: Path) -> None:
    """Its own epoch counts, and the teacher's are the teacher's."""
    found = run_log(run / "best.pt", 2)
    assert {
        "minutes": 2,
        "validation_accuracy": 0.92,
        "validation_recall": {"yes": 0.9, "no": 0.8},
        "validation_false_accepts": 0.01,
    } == found
    assert 0.97 == run_log(run / "teacher.pt", 3)["validation_recall"]["no"]
    assert {} == run_log(run / "elsewhere" / "last.pt", 3)


def test_card(run: Path, tmp_path: Path) -> None:
    """Time, accuracy and the recall of each class, where there was a log."""
    manifest = read_manifest(find_manifest(None))
    for log in (run_log(run / "last.pt", 3), {}):
        provenance = {**manifest.provenance, "log": log}
        write_manifest(replace(manifest, provenance=provenance), tmp_path / "m.json")
        card = model_card(tmp_path)
        assert (" epochs in 3 minutes, seed " in card) == bool(log)
        assert ("it got 93.0% of the validation clips right" in card) == bool(log)
        assert ("| yes | 90.0% |\n| no | 80.0% |\n" in card) == bool(log)
