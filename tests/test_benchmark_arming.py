"""False actions under a second condition: those that a listener would let through."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_actions import spoken

from benchmarks.pages import page
from benchmarks.product import arming
from kws.config import SAMPLE_RATE

pytest.importorskip("onnxruntime")


def test_the_command(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts, hours and intervals by source and together; recordings follow one another."""
    words = {"a": ["low", "high", "high"], "b": ["low"], "c": ["high"]}
    for name, said in words.items():
        folder = tmp_path / "noise" / ("one" if name == "a" else "two")
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.wav", np.concatenate(spoken(*said)), SAMPLE_RATE)
    monkeypatch.setattr(
        arming,
        "negatives",
        lambda data, **_: {
            f"noise/{folder.name}": sorted(folder.iterdir())
            for folder in sorted((data / "noise").iterdir())
        },
    )
    out = tmp_path / "arming.json"
    arguments = ["--data", str(tmp_path), "--model", str(tones), "--out", str(out)]
    assert 0 == arming.main(arguments)
    assert "within 4 s after low" in capsys.readouterr().out
    result = json.loads(out.read_bytes())
    found = result["figures"]["tones, isolated, without verifier"]
    counts = {
        source: [row[f"{source} false accepts"] for row in found.values()]
        for source in ("all", "noise/one", "noise/two")
    }
    # Every detection, cool-down, after low, after high.
    assert {
        "all": [5, 4, 2, 0],
        "noise/one": [3, 2, 1, 0],
        "noise/two": [2, 2, 1, 0],
    } == counts
    row = found["every detection"]
    hours = row["noise/one hours"]
    assert 7 / 3600 == pytest.approx(hours, abs=1e-5)
    low, high = row["noise/one interval 95 % per hour"]
    assert low < 3 / hours < high
    assert "| every detection | 5 in 0.0036 h (95 %:" in page("arming", result)


def test_without_recordings(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 1 == arming.main(["--data", str(tmp_path), "--model", str(tones)])
    assert "no recordings without commands can be read" in capsys.readouterr().err
