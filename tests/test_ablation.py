"""Ablation and ensemble: runs of a handful of weights on a handful of tones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tone_model import LABELS, write_tone

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[train]`")
pytest.importorskip("pyroomacoustics", reason="rooms are simulated with pyroomacoustics")

from benchmarks import held_out  # noqa: E402
from benchmarks.pages import page  # noqa: E402
from benchmarks.results import read_results  # noqa: E402
from benchmarks.studies import ablation, effects, ensemble  # noqa: E402
from benchmarks.studies.checkpoints import Conditions, measure  # noqa: E402
from kws.config import FeatureConfig  # noqa: E402
from kws.evaluation.evalset import EvaluationSet  # noqa: E402
from kws.train import checkpoint  # noqa: E402
from kws.train.network import Network, NetworkConfig  # noqa: E402

torch.set_num_threads(1)  # nets this small only wait for further threads


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Words, held-out words and noises, as the benchmarks look for them."""
    root = tmp_path / "data"
    for index in range(2):
        for word in ("low", "high", "cat", "marvin"):
            place = root / "speech_commands" / word / f"{index:08x}_nohash_0.wav"
            write_tone(place, word if word in LABELS else "unknown")
    listed = "low/00000000_nohash_0.wav\nhigh/00000001_nohash_0.wav"
    (root / "speech_commands" / "validation_list.txt").write_text(listed)
    write_tone(root / "speech_commands/_background_noise_/a.wav", "silence", seconds=10.0)
    for phrase in ("jarvis", "view_glass"):
        write_tone(root / "other_words" / phrase / "a.wav", "unknown", seconds=1.7)
    for kind in ("clock_tick", "rain", "rooster"):
        write_tone(root / "noise" / kind / "a.wav", "silence", seconds=5.0)
    return root


def write_run(folder: Path, seed: int, epochs: int = 2, **options: Any) -> Path:
    """A run's folder as training leaves it."""
    torch.manual_seed(seed)
    network = Network(NetworkConfig(labels=len(LABELS), channels=8))
    folder.mkdir()
    state = {
        **checkpoint.describe(network, FeatureConfig(), LABELS),
        "options": {
            "seed": seed,
            "epochs": epochs,
            "sampler": {"room": 0.25, "noisy": 0.6},
            **options,
        },
        "average": network.state_dict(),
        "sources": ["made up"],
        "started_from": {},
        "epoch": epochs,
    }
    checkpoint.save(folder / "last.pt", state)
    rows = [{"epoch": epoch, "seconds": 30.0} for epoch in range(1, epochs + 1)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_runs_are_grouped_and_compared(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds are one row with a deviation; another option is a row with differences."""
    monkeypatch.setattr(held_out, "ROOMS", 1)
    runs = [write_run(tmp_path / f"seed{seed}", seed) for seed in (0, 1)]
    sampler = {"room": 0.0, "noisy": 0.6}
    runs.append(write_run(tmp_path / "dry", 0, sampler=sampler, teacher={"channels": 9}))
    out = tmp_path / "results" / "ablation.json"
    assert 0 == ablation.main([*map(str, runs), "--data", str(data), "--out", str(out)])
    content = read_results(out.parent)["ablation"]
    assert "python -m benchmarks.studies.ablation seed0 seed1 dry" == content["command"]
    figures = content["figures"]
    first, dry = figures["mean"].values()
    assert ["the first run's options", "a teacher, sampler.room 0"] == list(figures["mean"])
    assert (["seed0", "seed1"], 2, [2, 2], 1.0) == tuple(
        first[key] for key in ("runs", "seeds", "epochs", "minutes")
    )
    devices = {"telephone", "quiet", "clipped"}
    shares = {"clean", "worst recall", "10 dB", "0 dB", "rooms", *devices, "unseen taken"}
    assert shares == figures["standard_deviation_over_seeds"]["the first run's options"].keys()
    (differences,) = figures["difference_from_the_first_in_points"].values()
    for key in shares:
        assert 0.0 <= dry[key] <= 1.0
        assert differences[key] == pytest.approx(100 * (dry[key] - first[key]), abs=0.01)
    assert "| runs | seed0, seed1 | dry |" in page("ablation", content)
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_an_effect_is_coloured_where_it_is_more_than_a_seed_does(tmp_path: Path) -> None:
    """Right is better; what is far off is an arrow with its figure; one seed has no deviation."""
    differences = {
        "more noise": {"clean": -0.5, "10 dB": 6.0, "unseen taken": -3.0},
        "less": {"clean": 0.1, "10 dB": -9.0, "unseen taken": 7.0},
    }
    figures = {
        "mean": {"base": {}},
        "standard_deviation_over_seeds": {"base": {"clean": 0.002, "10 dB": 0.01}},
        "difference_from_the_first_in_points": differences,
    }

    def marks(panel: int) -> list[tuple[float, str, str]]:
        (axes,) = effects.picture(figures).axes[panel : panel + 1]
        drawn = [line for line in axes.lines if line.get_marker() != "None"]
        return [(line.get_xdata()[0], line.get_marker(), line.get_color()) for line in drawn]

    assert [(-0.5, "o", "tab:red"), (0.1, "o", "0.5")] == marks(0)
    assert [(5.0, ">", "tab:green"), (-5.0, "<", "tab:red")] == marks(1)
    assert [(3.0, "o", "tab:green"), (-5.0, "<", "tab:red")] == marks(2)
    figures["standard_deviation_over_seeds"] = {}
    assert [(-0.5, "o", "tab:red"), (0.1, "o", "tab:green")] == marks(0)


def test_other_parts_of_one_name_are_rows_of_their_own(tmp_path: Path) -> None:
    """Two teachers of different sizes are not seeds of one another; two alike are."""
    sizes = (None, 9, 9, 10)
    runs = [
        ablation.read_run(
            write_run(tmp_path / f"run{index}", index, teacher=size and {"channels": size}),
            "last.pt",
        )
        for index, size in enumerate(sizes)
    ]
    rows = ablation.table(runs, [{"clean": 0.5}] * len(runs))["mean"]
    assert {
        "the first run's options": ["run0"],
        "a teacher": ["run1", "run2"],
        "a teacher (run3)": ["run3"],
    } == {text: row["runs"] for text, row in rows.items()}


def test_runs_of_other_recordings_say_which(tmp_path: Path) -> None:
    """What one of them was trained on and the other was not."""
    runs = []
    for name, sources in (("both", ["clips", "synthesised"]), ("clips", ["clips"])):
        path = write_run(tmp_path / name, 0) / "last.pt"
        checkpoint.save(path, checkpoint.load(path) | {"sources": sources})
        runs.append(ablation.read_run(path.parent, "last.pt"))
    assert "no synthesised" == ablation.difference(runs[1], runs[0])
    assert "synthesised too" == ablation.difference(runs[0], runs[1])


def test_runs_of_about_equal_length_are_one_row(tmp_path: Path) -> None:
    """Seeds that were given equal time end at epochs of their own; others are told apart."""
    given: tuple[dict[str, Any], ...] = (
        {"epochs": 20, "frozen_teachers": ["0f"]},
        {"epochs": 21, "frozen_teachers": ["0f"]},
        {"epochs": 20, "frozen_teachers": []},
        {"epochs": 23, "frozen_teachers": ["0f"]},
    )
    runs = [
        ablation.read_run(write_run(tmp_path / f"run{seed}", seed, **options), "last.pt")
        for seed, options in enumerate(given)
    ]
    rows = ablation.table(runs, [{"clean": 0.5}] * len(runs))["mean"]
    assert {
        "the first run's options": [20, 21],
        "no frozen_teachers": [20],
        "23 epochs": [23],
    } == {text: row["epochs"] for text, row in rows.items()}
    assert "frozen_teachers 1" == ablation.difference(runs[0], runs[2])


def test_unseen_words_are_counted_at_a_recall() -> None:
    """At the threshold that costs the allowed share of the commands, by recording."""
    percent = np.concatenate((np.arange(51, 101), np.zeros(50))).astype(np.int16)
    targets = np.repeat([0, 1], 50)  # go, unknown
    clips = EvaluationSet(percent[:, None], targets, ("",) * 100, "all", ())

    def posteriors(audio: np.ndarray) -> np.ndarray:
        """A clip's only sample is its posterior of go, in per cent."""
        return np.concatenate((audio / 100, 1 - audio / 100), axis=1).astype(np.float32)

    # Three of a hundred of 50 commands: one, the one that scores 0.51.
    seconds = np.array([[51], [10], [52], [51], [99]], np.int16)
    owners = np.array([0, 1, 1, 2, 3])
    found = measure(posteriors, Conditions(("go", "unknown"), {"clean": clips}, seconds, owners))
    assert {"clean": 1.0, "worst recall": 1.0, "unseen taken": 0.5} == found


def test_no_run_is_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without a log, without a checkpoint, or of other labels."""
    out = ["--data", str(data), "--out", str(tmp_path / "x.json")]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert 1 == ablation.main([str(empty), *out])
    assert "log.jsonl" in capsys.readouterr().err
    (empty / "log.jsonl").write_text('{"epoch": 1}\n')
    assert 1 == ablation.main([str(empty), *out])
    assert "there is no checkpoint" in capsys.readouterr().err
    one, other = write_run(tmp_path / "one", 0), write_run(tmp_path / "other", 0)
    network = Network(NetworkConfig(labels=2, channels=8))
    state = {**checkpoint.describe(network, FeatureConfig(), ("a", "b")), "epoch": 1}
    checkpoint.save(other / "last.pt", {**state, "average": network.state_dict()})
    assert 1 == ablation.main([str(one), str(other), *out])
    assert "other labels" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_ensemble_is_measured_like_its_members(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three ways to combine, the weights add up to one; one checkpoint twice is none."""
    monkeypatch.setattr(held_out, "ROOMS", 1)
    runs = [write_run(tmp_path / f"seed{seed}", seed) / "last.pt" for seed in (0, 1)]
    rest = ["--data", str(data), "--out", str(tmp_path / "ensemble.json")]
    assert 1 == ensemble.main([str(runs[0]), str(runs[0]), *rest])
    assert "expected two checkpoints" in capsys.readouterr().err
    assert 0 == ensemble.main([*map(str, runs), *rest])
    content = read_results(tmp_path)["ensemble"]
    assert "python -m benchmarks.studies.ensemble seed0/last.pt seed1/last.pt" == content["command"]
    figures = content["figures"]
    assert 1.0 == pytest.approx(sum(figures["weights"].values()), abs=1e-4)
    assert ["seed0 last", "seed1 last"] == list(figures["members"])
    assert ["majority vote", "average", "weighted average"] == list(figures["combinations"])
    for found in (*figures["members"].values(), *figures["combinations"].values()):
        assert 0.0 <= found["unseen taken"] <= 1.0
        assert 0.0 <= found["clean"] <= 1.0
