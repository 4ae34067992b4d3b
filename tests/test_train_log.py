"""What a training run shows of itself: TensorBoard and curves."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[train]`")
pytest.importorskip("matplotlib", reason="curves are drawn with matplotlib")

from kws.train import board, curves  # noqa: E402


def row(epoch: int, **further: float) -> dict[str, Any]:
    """A row of log.jsonl."""
    return {
        "epoch": epoch,
        "loss": 1.0 / epoch,
        "validation_loss": 1.2 / epoch,
        "accuracy": 1.0 - 0.5 / epoch,
        "validation_accuracy": 0.9 - 0.5 / epoch,
        "validation_recall": {"yes": 0.5, "no": 0.75},
        "validation_false_accepts": 0.1,
        "criterion": 0.8 - 0.5 / epoch,
        **further,
    }


def write_log(run: Path, rows: list[dict[str, Any]], rest: str = "") -> Path:
    """A run's folder with such rows."""
    run.mkdir(parents=True)
    lines = "".join(json.dumps(each) + "\n" for each in rows)
    (run / "log.jsonl").write_text(lines + rest, encoding="utf-8")
    return run


def test_tags_put_training_beside_validation() -> None:
    """One name before the slash is one group of charts; the epoch is no figure."""
    found = dict(board.tags(row(1, learning_rate=0.5, teacher_validation_loss=2.0)))
    assert 1.0 == found["loss/training"]
    assert 1.2 == found["loss/validation"]
    assert 2.0 == found["loss/teacher validation"]
    assert 0.75 == found["recall/validation no"]
    assert 0.5 == found["learning_rate/training"]
    assert not any(tag.startswith("epoch") for tag in found)


def test_board_holds_scalars_sounds_and_pictures(tmp_path: Path) -> None:
    """TensorBoard reads back what was written; a resumed run replaces its later epochs."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    audio, features = torch.rand(3, 16_000) - 0.5, 10.0 * torch.rand(3, 98, 40)
    with board.Board(tmp_path) as first:
        first.scalars(row(1))
        first.scalars(row(2, loss=7.0))
        first.batch(1, audio, features, ["yes", "no", "silence"])
    begun = int(time.time())
    while int(time.time()) == begun:  # as a run that is resumed: the names of files have seconds
        time.sleep(0.05)
    with board.Board(tmp_path, epochs_done=1) as resumed:
        resumed.scalars(row(2))
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()
    assert {"clips/0", "clips/1", "clips/2"} == set(tags["audio"])
    assert ["features"] == tags["images"]
    losses = [(event.step, event.value) for event in events.Scalars("loss/training")]
    assert [(1, 1.0), (2, 0.5)] == losses


def test_feature_pictures() -> None:
    """Two clips in a row with a gap, low bands at the bottom, each scaled to its own loudest."""
    features = torch.zeros(3, 98, 40)
    features[0, :, 0], features[2, 0, 39] = 8.0, 0.5
    picture = board.pictures(features)
    size = board.SCALE
    assert (3, 2 * 42 * size, 2 * 100 * size) == picture.shape
    small = picture[0, ::size, ::size]
    assert 1.0 == small[39, 0] == small[39, 97] == small[42, 0]
    assert 99.0 == small.sum()


def test_without_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Training goes on and says once what to install."""
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard.writer", None)
    with board.Board(tmp_path / "board") as silent:
        silent.scalars(row(1))
        silent.batch(1, torch.zeros(1, 16_000), torch.zeros(1, 98, 40), ["yes"])
    assert "pip install 'kws[train]'" in caplog.text
    assert not (tmp_path / "board").exists()


def test_curves_of_two_runs(tmp_path: Path) -> None:
    """One picture of runs of different lengths and keys, of which one was killed as it wrote."""
    first = write_log(tmp_path / "first", [row(1), row(2), row(3)])
    later = [row(1, learning_rate=0.1, teacher_loss=0.4), row(2, learning_rate=0.05)]
    second = write_log(tmp_path / "second", later, rest='{"epoch": 3, "lo')
    assert 2 == len(curves.read_log(second))
    out = tmp_path / "curves.png"
    assert 0 == curves.main([str(first), str(second), "--out", str(out)])
    assert b"\x89PNG" == out.read_bytes()[:4]


@pytest.mark.parametrize("content", ["", "[1]\n", "not json\n", None])
def test_curves_of_no_run(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the file, exit code 1, nothing drawn."""
    if content is not None:
        write_log(tmp_path / "run", [], content)
    out = tmp_path / "curves.png"
    assert 1 == curves.main([str(tmp_path / "run"), "--out", str(out)])
    assert "log.jsonl" in capsys.readouterr().err
    assert not out.exists()
    fine = write_log(tmp_path / "fine", [row(1)])
    assert 1 == curves.main([str(fine), "--out", str(tmp_path / "no" / "curves.png")])
    assert "cannot write" in capsys.readouterr().err
