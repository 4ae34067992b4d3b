"""The study of lessons: replayed as rooms does, rows by recorded options, kept where it went on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tone_model import LABELS, tone, write_tone

pytest.importorskip("torch", reason="torch is not installed: `pip install kws[train]`")
pytest.importorskip("pyroomacoustics", reason="test_ablation writes the runs")
pytest.importorskip("matplotlib", reason="the study draws a picture")

from test_ablation import write_run
from test_streameval import audio_of

from benchmarks.lesson_tables import lesson_tables
from benchmarks.pages import page
from benchmarks.product.rooms import Material, Replayed, scene
from benchmarks.results import read_results
from benchmarks.studies import lesson_curves, lessons
from benchmarks.text import COLUMNS
from kws.config import SAMPLE_RATE
from kws.model.load import Model, load_model
from kws.operating_point import OperatingPoint
from kws.train import checkpoint
from kws.train.embedding import EmbeddingConfig, EmbeddingNetwork

TALK = {"talk": 0.4}
NONE = {"talk": 0.0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Words, talk, other words and noise that are held out."""
    root = tmp_path / "data"
    listed = []
    for index in range(2):
        for word in ("low", "high"):
            name = f"{word}/{index:08x}_nohash_0.wav"
            write_tone(root / "speech_commands" / name, word)
            listed.append(name)
    (root / "speech_commands" / "validation_list.txt").write_text("\n".join(listed))
    write_tone(root / "speech_commands/_background_noise_/a.wav", "silence", seconds=10.0)
    write_tone(root / "other_words" / "jarvis" / "a.wav", "unknown", seconds=1.7)
    write_tone(root / "speech" / "orders" / "a.wav", "unknown", seconds=4.0)
    write_tone(root / "noise" / "rain" / "a.wav", "unknown", seconds=5.0)
    return root


@pytest.fixture
def model(tones: Path) -> Model:
    """The network that knows tones."""
    return load_model(tones)


def test_a_point_is_what_rooms_replays(model: Model, tmp_path: Path) -> None:
    """In each way of isolation, at each threshold: the same misses and the same false accepts.

    The curve counts the same where nothing is near a threshold.
    """
    clips = [(word, tone(word, seconds=0.9)) for word in ("low", "high", "high", "low")]
    behind = [audio_of(1.0, "unknown", 0.5)]
    scenes = {"silence": scene(clips, [], None), "talk 5 dB": scene(clips, behind, 5.0)}
    quiet = {
        "speech/a": [(Path("a"), audio_of(1.0, "low", 1.0, "unknown", 1.0))],
        "other_words/b": [(Path("b"), audio_of(0.5, "low", 2.0, "low", 1.0))],
        "other_words/c": [(Path("c"), audio_of(1.0, "unknown", 2.0))],
        "noise/d": [(Path("d"), audio_of(1.0, "high", 1.0)), (Path("e"), audio_of(1.0))],
    }
    material = Material(scenes, quiet)
    seconds = sum(len(audio) for _, audio in quiet["noise/d"]) / SAMPLE_RATE
    noise = {"hours": pytest.approx(seconds / 3600), "recordings": 2}
    assert noise == lessons.material_figures(material)["negatives"]["noise"]
    recorded = lessons.Recorded(model, material)
    write_tone(tmp_path / "speech" / "a" / "a.wav", "unknown")  # where rooms looks for speakers
    replayed = Replayed(model, material, tmp_path)
    values = (0.3, 0.6, 0.95, 1.0)
    found = set()
    for config in lessons.ways(model.manifest.decision).values():
        curve = recorded.curve(config, values)
        for place, value in enumerate(values):
            point = recorded.point(config, value)
            figures = replayed.figures(
                replace(OperatingPoint.of(model, threshold=value), config=config)
            )
            accepted = figures["false_accepts"]
            assert point["missed"] == {
                name: each["missed"] for name, each in figures["missed"].items()
            }
            assert point["counts"] == {
                "speech/a": accepted["speech/a"]["events"],
                "noise": accepted["noise"]["events"],
                "other_words": accepted["other_words"]["recordings_that_fire"],
            }
            assert recorded.on_speech(config, value) == point["counts"]["speech/a"]
            if value == 0.6:
                assert curve["missed"]["silence"][place] == point["missed"]["silence"]
                assert curve["counts"]["noise"][place] == point["counts"]["noise"]
            found.add((*point["missed"].values(), *point["counts"].values()))
        for counts in curve["missed"].values():
            assert counts == sorted(counts)
        for counts in curve["counts"].values():
            assert counts == sorted(counts, reverse=True)
    assert len(found) > 1


def test_points_of_a_curve() -> None:
    """The lowest threshold at which speech keeps the limit when replayed; the least sum."""
    curve: lessons.Curve = {
        "missed": {"silence": [0, 1, 2, 4]},
        "counts": {
            "speech/a": [9, 5, 3, 0],
            "speech/b": [9, 4, 3, 0],
            "other_words": [5, 4, 0, 0],
        },
    }
    values = (0.2, 0.4, 0.6, 0.8)

    def threshold(limit: int, *counts: int) -> float | None:
        replayed = dict(zip(values, counts, strict=True))
        return lessons.at_most(limit, replayed.__getitem__, curve, values)

    assert [0.8, 0.4, 0.2] == [threshold(limit, 18, 9, 9, 0) for limit in (8, 9, 18)]
    assert 0.2 == threshold(8, 7, 7, 7, 7)  # fewer than the curve has
    assert 0.8 == threshold(8, 20, 20, 10, 8)  # more
    assert threshold(8, 20, 20, 10, 9) is None
    material = {
        "words": 4,
        "negatives": {name: {"hours": 0.5, "recordings": 10} for name in curve["counts"]},
    }
    assert 0.8 == lessons.least_sum(curve, values, material)
    point = {"missed": {"silence": 4}, "counts": {"speech/a": 0, "speech/b": 1, "other_words": 0}}
    # ln(4.5 / 4) + ln(0.5 / 0.5) + ln(1.5 / 0.5) + ln(0.5 / 10)
    assert lessons.sum_of_logs(point, material) == pytest.approx(0.1178 + 1.0986 - 2.9957, abs=1e-3)


def test_runs_and_checkpoints_are_rows(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds are one row, a checkpoint without a run another; a second call measures no more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lessons, "thresholds", lambda: [0.2, 0.5, 0.9])
    monkeypatch.setattr(lessons, "commit", lambda: "abc")
    monkeypatch.setattr("benchmarks.results.commit", lambda: "abc")
    write_run(Path("a"), 0, sampler=TALK, mine_every=3)
    write_run(Path("b"), 1, sampler=TALK, mine_every=3)
    rest_of_one = {"mended": "0123456789ab", "frozen_teachers": ["0f"]}
    write_run(Path("c"), 0, epochs=5, sampler=NONE, mine_every=0, **rest_of_one)
    (Path("c") / "last.pt").rename("one.pt")
    rest = ["--data", str(data), "--clips", "2", "--out", "results/lessons.json"]
    assert 0 == lessons.main(["a", "b", *rest])
    first = read_results(Path("results"))["lessons"]
    assert "python -m benchmarks.studies.lessons --data $KWS_DATA a b --clips 2" == first["command"]

    measured = lessons.measure
    again: list[str] = []

    def counted(trained: lessons.Trained, *others: Any) -> dict[str, Any]:
        again.append(trained.name)
        return measured(trained, *others)

    monkeypatch.setattr(lessons, "measure", counted)
    assert 0 == lessons.main(["a", "b", "one.pt", *rest])
    assert ["one.pt"] == again
    result = read_results(Path("results"))["lessons"]
    two, one = result["figures"]["rows"].items()
    assert first["figures"]["rows"] == dict([two])
    assert "2 epochs of 2 K weights, talk, mining" == two[0]
    assert "5 epochs of 2 K weights, no talk, no mining, mended labels, a teacher" == one[0]
    assert [0, 1] == [run["seed"] for run in two[1]["runs"]]
    assert (0.0, 0, 1) == tuple(one[1][key] for key in ("talk", "mined_every_epochs", "teachers"))
    for run in two[1]["runs"]:
        for each in run["ways"].values():
            assert {"silence", "noise 20 dB", "talk 5 dB"} < each["missed"].keys()
            assert {"speech/orders", "other_words", "noise"} == each["counts"].keys()
    assert Path("results/lessons.png").read_bytes().startswith(b"\x89PNG")
    text = page("lessons", result)
    assert "| 2 epochs of 2 K weights, talk, mining | " in text
    assert "## By level, at most 8 false accepts in 0.00 h of speech" in text
    assert all(line.count("|") <= COLUMNS + 1 for line in text.splitlines())

    # Measured at another commit, all of it is measured again.
    monkeypatch.setattr(lessons, "commit", lambda: "abd")
    assert 0 == lessons.main(["a", *rest])
    assert ["one.pt", "a"] == again


def test_what_cannot_be_reached_is_said() -> None:
    """A row whose strictest threshold accepts too much; the picture draws it all the same."""
    curve = {"missed": {"talk 5 dB": [1, 2]}, "counts": {"speech/a": [99, 98], "noise": [1, 0]}}
    ways = {"by level": {**curve, "at_most": {"8": None}}, "connected": {**curve}}
    best = {"sum": 1.5, "threshold": 0.2}
    for way in ways.values():
        way |= {"at_most": {"8": None}, "least_sum": best}
    row = {"weights": 9, "epochs": 1, "talk": 0.4, "mined_every_epochs": 0, "teachers": 0}
    figures = {
        "material": {
            "words": 4,
            "negatives": {name: {"hours": 0.5, "recordings": 3} for name in curve["counts"]},
        },
        "decision": {"isolation": 0.9},
        "thresholds": [0.2, 0.5],
        "rows": {"all": {**row, "runs": [{"seed": 0, "ways": ways}]}},
    }
    assert "| all | not reached |" in "\n".join(lesson_tables(figures))
    left, right = lesson_curves.picture(figures).axes
    assert (1, 2) == (len(left.lines), len(right.lines))


def test_what_does_not_compare_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No checkpoint, the same one twice, or a network that does not stream."""
    rest = ["--data", str(data), "--out", str(tmp_path / "x.json")]
    run = str(write_run(tmp_path / "a", 0))
    assert 1 == lessons.main([str(tmp_path / "none.pt"), *rest])
    assert "there is no checkpoint" in capsys.readouterr().err
    assert 1 == lessons.main([run, run, *rest])
    assert "a is given twice" in capsys.readouterr().err
    network = EmbeddingNetwork(EmbeddingConfig(labels=len(LABELS)))
    state = checkpoint.load(tmp_path / "a" / "last.pt")
    about = checkpoint.describe(
        network, lessons.read_manifest(lessons.find_manifest()).features, LABELS
    )
    checkpoint.save(tmp_path / "e.pt", {**state, **about, "average": network.state_dict()})
    assert 1 == lessons.main([str(tmp_path / "e.pt"), *rest])
    assert "does not stream" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
