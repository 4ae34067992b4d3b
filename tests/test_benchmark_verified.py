"""The study of whole models: thresholds moved together, compared at equal false accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="torch is not installed: `pip install kws[train]`")
pytest.importorskip("matplotlib", reason="benchmarks.studies.lessons draws a picture")

from benchmarks.product.rooms import Material
from benchmarks.studies import verified
from benchmarks.text import COLUMNS
from benchmarks.verified_tables import verified_tables
from kws.audio import AudioFile
from kws.config import SAMPLE_RATE
from kws.demo import RECORDING
from kws.errors import DataError
from kws.model.load import load_model


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """The demonstration as a scene whose words are not where they are said, and as speech."""
    audio = np.concatenate(list(AudioFile(RECORDING)))
    orders = tmp_path / "speech" / "orders" / "a.wav"
    orders.parent.mkdir(parents=True)
    soundfile.write(orders, audio, SAMPLE_RATE)
    quiet = (np.random.default_rng(0).normal(0, 30, 16_000)).astype(np.int16)
    return Material(
        scenes={"silence": (audio, [("yes", 0.0, 0.1), ("no", 0.1, 0.2)])},
        quiet={
            "speech/orders": [(orders, audio)],
            "other_words/x": [(Path("b.wav"), audio), (Path("c.wav"), quiet)],
        },
    )


def test_thresholds_are_moved_together() -> None:
    assert verified.moved({"yes": 0.5}, 0.0)["yes"] == pytest.approx(0.5)
    raised = verified.moved({"yes": 0.5, "no": 0.9}, 1.0)
    assert raised["yes"] == pytest.approx(0.7311, abs=1e-4)
    assert raised["no"] == pytest.approx(0.9607, abs=1e-4)


def test_points_and_page(material: Material, tmp_path: Path) -> None:
    """All ten words of the demonstration are false accepts here; the page has every row."""
    points = verified.measure(load_model(), material, tmp_path)
    assert [point["shift"] for point in points] == list(verified.SHIFTS)
    shipped = points[verified.SHIFTS.index(0.0)]
    assert shipped["missed"] == {"silence": 2}
    assert shipped["counts"] == {"speech/orders": 10, "other_words": 1}
    events = [point["counts"]["speech/orders"] for point in points]
    assert events == sorted(events, reverse=True)
    assert verified.at_most(points, 10) is next(
        p for p in points if p["counts"]["speech/orders"] <= 10
    )
    assert verified.at_most(points, -1) is None
    row = {
        "points": points,
        "at_most": {"6": None, "10": verified.at_most(points, 10)},
        "least_sum": points[0],
    }
    figures: dict[str, Any] = {
        "material": verified.material_figures(material),
        "rows": {"a+b+c": row},
    }
    text = "\n".join(verified_tables(figures))
    assert all(line.count("|") <= COLUMNS + 1 for line in text.splitlines())
    assert "| a+b+c | not reached |" in text
    assert "10 in" in text


def test_combinations_are_named(tmp_path: Path) -> None:
    """Three checkpoints that are kept, and no others."""
    for name, message in (("small", "FIRST\\+VERIFIER\\+OTHER"), ("small+x+wide", "x.pt is not")):
        with pytest.raises(DataError, match=message):
            verified.read_combination(name, tmp_path, tmp_path)


def test_several_encoders(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each verifies what each first network finds, and has a row, in a result of its own."""
    monkeypatch.setattr(verified, "held_out", lambda *_: material)
    monkeypatch.setattr(verified, "read_combination", lambda *_: load_model())
    point = {"shift": 0.0, "sum": -1.0, "missed": {}, "counts": {"speech/orders": 0}}
    monkeypatch.setattr(verified, "measure", lambda *_: [point])
    monkeypatch.setattr(verified, "FOLDER", tmp_path)
    command = ["small", "large", "--data", str(tmp_path), "--encoder", "x/1.pt", "2.pt"]
    assert verified.main(command) == 0
    written = json.loads((tmp_path / "encoders.json").read_text())
    assert list(written["figures"]["rows"]) == ["small+1", "small+2", "large+1", "large+2"]
