"""Several models judged together."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tone_model import LABELS, write_model, write_tone

from kws.cli import main
from kws.errors import ModelError
from kws.evaluation.ensemble import combinations, fit_weights, vote
from kws.evaluation.evalset import EvaluationSet
from kws.evaluation.evaluate import Evaluation
from kws.model.manifest import read_manifest


def random_posteriors(members: int, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Members that are right more often the lower their index, and the targets."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 4, clips)
    logits = generator.normal(0, 1, (members, clips, 4))
    for member in range(members):
        logits[member, np.arange(clips), targets] += 3.0 - member
    exponent = np.exp(logits)
    return (exponent / exponent.sum(axis=2, keepdims=True)).astype(np.float32), targets


def test_vote_of_three() -> None:
    """Two of three win however sure the third is; a tie goes to the surer side."""
    posteriors = np.array([[[0.6, 0.4]], [[0.6, 0.4]], [[0.0, 1.0]]], np.float32)
    assert 0 == vote(posteriors)[0].argmax()
    assert 1 == vote(posteriors[1:])[0].argmax()
    assert 1.0 == pytest.approx(vote(posteriors)[0].sum())


def test_weights_favour_the_better_member() -> None:
    """They add up to one, and a member that knows nothing gets next to none."""
    posteriors, targets = random_posteriors(3, 2000)
    posteriors[2] = 0.25
    weights = fit_weights(posteriors, targets)
    assert 1.0 == pytest.approx(weights.sum())
    assert weights[0] > weights[1] > weights[2]
    assert weights[2] < 0.05


def test_combinations_beat_their_members(tones: Path) -> None:
    """Independent mistakes average out."""
    posteriors, targets = random_posteriors(3, 2000)
    clips = EvaluationSet(np.zeros((2000, 1), np.int16), targets, ("",) * 2000, "all", ())
    manifest = read_manifest(tones / "tones.json")
    members = [Evaluation(manifest, "window.onnx", clips, each) for each in posteriors]
    found = dict(combinations(members))
    assert {"majority vote", "average", "weighted average"} == found.keys()
    assert all(each.accuracy > members[1].accuracy for each in found.values())
    assert found["average"].accuracy > members[0].accuracy
    assert found["weighted average"].accuracy >= members[0].accuracy


def test_other_labels_are_refused(tones: Path) -> None:
    """Posteriors of other labels, or in another order, mean something else."""
    manifest = read_manifest(tones / "tones.json")
    posteriors, targets = random_posteriors(1, 4)
    clips = EvaluationSet(np.zeros((4, 1), np.int16), targets, ("",) * 4, "all", ())
    one = Evaluation(manifest, "window.onnx", clips, posteriors[0])
    other = replace(one, manifest=replace(manifest, labels=LABELS[::-1]))
    with pytest.raises(ModelError, match="the same labels in the same order"):
        list(combinations([one, other]))


def test_command(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--ensemble` prints each member and each way; as JSON too."""
    for word in ("low", "high"):
        write_tone(tmp_path / "data" / word / "a.wav", word)
    second = write_model(tmp_path / "second")
    arguments = ["eval", "--model", str(tones), "--data", str(tmp_path / "data"), "--ensemble"]
    assert 0 == main([*arguments, str(second)])
    printed = capsys.readouterr().out
    assert "majority vote" in printed
    assert "tones (window.onnx)" in printed
    assert 0 == main([*arguments, f"{second}:window.onnx", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert 2 == len(found["ensemble"]["members"])
    assert 1.0 == found["ensemble"]["combinations"]["average"]["accuracy"]
    assert [0.5, 0.5] == found["ensemble"]["weights"]
    pytest.importorskip("matplotlib")
    assert 0 == main([*arguments, str(second), "--report", str(tmp_path / "report")])
    assert "weighted average" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert 1 == main([*arguments, "nothing"])
    assert "there is no model 'nothing'" in capsys.readouterr().err
    assert 1 == main([*arguments, f"{second}:window.int8.onnx"])
    assert "window.int8.onnx" in capsys.readouterr().err
