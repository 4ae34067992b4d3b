"""The benchmarks of fine-tuning and of label checking, on glides instead of words."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("matplotlib", reason="the benchmark draws a picture")

import torch

from benchmarks.studies import finetune, mislabelled
from kws.train.finetune import TuneConfig
from kws.train.sampler import SamplerConfig

torch.set_num_threads(1)  # nets this small only wait for further threads

GLIDES = {"cat": (300, 900), "marvin": (2500, 600), "jarvis": (500, 500), "snowboy": (150, 3000),
          "view_glass": (1500, 1700), "yes": (4000, 200)}  # fmt: skip


def glide(low: float, high: float, seed: int) -> NDArray[np.int16]:
    """A sound that goes from one pitch to another in the middle of faint noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(8000) / 16_000
    phase = 2 * np.pi * generator.uniform(0.9, 1.1) * (low * time + (high - low) * time**2)
    clip = generator.normal(0, 30, 16_000)
    clip[4000:12_000] += generator.uniform(3000, 9000) * np.sin(phase)
    return clip.astype(np.int16)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folders that the benchmarks look into, with 24 recordings of each word."""
    listed = []
    for word, (low, high) in GLIDES.items():
        known = word in ("cat", "marvin", "yes")
        for index in range(24):
            name = f"{index:08x}_nohash_0.wav" if known else f"{index:04d}.wav"
            place = tmp_path / ("speech_commands" if known else "other_words") / word / name
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, glide(low, high, index), 16_000)
            if known and index % 6 == 0:
                listed.append(f"{word}/{name}")
    (tmp_path / "speech_commands" / "validation_list.txt").write_text("\n".join(listed))
    talk = tmp_path / "speech" / "librispeech" / "a.wav"
    talk.parent.mkdir(parents=True)
    soundfile.write(talk, np.tile(glide(700, 800, 0), 4), 16_000)
    return tmp_path


def test_finetune_benchmark(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method is measured at every number of recordings, and drawn."""
    short = TuneConfig(epochs=1, sampler=SamplerConfig(epoch_size=64, batch_size=32, streams=4))
    monkeypatch.setattr(finetune, "CLIPS", (5, 6))
    methods = {
        "from our weights": short,
        "from nothing": replace(short, learning_rate=4e-3),
    }
    monkeypatch.setattr(finetune, "METHODS", methods)
    out = tmp_path / "finetune.json"
    assert 0 == finetune.main(["--data", str(data), "--seeds", "2", "--out", str(out)])
    rows = json.loads(out.read_text())["figures"]["methods"]
    assert {f"{n} recordings, {method}" for n in (5, 6) for method in methods} == rows.keys()
    for row in rows.values():
        assert 0.0 <= row["recall_at_threshold"] <= row["recall"] <= 1.0
        assert row["recall_deviation"] >= 0.0
    assert out.with_suffix(".png").stat().st_size > 1000


def test_mislabelled_benchmark(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted errors among glides are found, and nothing else is listed."""
    monkeypatch.setattr(mislabelled, "PLANTED", 0.1)
    monkeypatch.setattr(mislabelled, "FEWEST", 5)
    out = tmp_path / "mislabelled.json"
    assert 0 == mislabelled.main(["--data", str(data), "--out", str(out)])
    figures = json.loads(out.read_text())["figures"]
    assert (60, 3) == (figures["clips"], figures["words"])
    assert figures["planted"] > 0
    assert figures["found"] > 0.5
    assert figures["precision"] > 0.5


def test_missing_recordings_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and no traceback."""
    missing = ["--data", str(tmp_path / "no"), "--out", str(tmp_path / "x.json")]
    for benchmark in (finetune, mislabelled):
        assert 1 == benchmark.main(missing)
        assert "there is no folder" in capsys.readouterr().err
