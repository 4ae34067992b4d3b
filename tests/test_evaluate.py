"""Judging a model, on tones that it knows and on clips that it does not."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_model import LABELS, tone, write_model, write_tone

from kws.cli import main
from kws.evaluation.evalset import EvaluationSet, load_evaluation_set
from kws.evaluation.evaluate import add_noise_to_all, clip_posteriors, evaluate
from kws.evaluation.report import most_wrong
from kws.evaluation.saliency import occlusion
from kws.evaluation.submission import write_submission
from kws.model.load import Model, load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tone model, loaded."""
    return load_model(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A test archive of tones in which one of three low tones is a high one."""
    for word in LABELS:
        folder = f"_{word}_" if word in ("silence", "unknown") else word
        for index in range(3):
            wrong = word == "low" and index == 2
            name = f"{index:08x}_nohash_0.wav"
            write_tone(tmp_path / "archive" / folder / name, "high" if wrong else word)
    return tmp_path / "archive"


def test_figures_of_a_known_mistake(model: Model, archive: Path) -> None:
    """One of twelve clips is wrong, and every figure says so."""
    figures = evaluate(model, load_evaluation_set(archive, LABELS)).figures()
    assert 12 == figures["clips"]
    assert 11 / 12 == figures["accuracy"]
    assert {"low": 2 / 3, "high": 1.0, "silence": 1.0, "unknown": 1.0} == figures["recall"]
    assert 0.75 == figures["precision"]["high"]
    assert [2, 1, 0, 0] == figures["confusion"][0]
    assert 5 / 6 == figures["keyword_recall_at_threshold"]
    assert 0.0 == figures["false_accepts_at_threshold"]
    assert json.loads(json.dumps(figures)) == figures


def test_classes_without_clips_are_left_out(model: Model) -> None:
    """No share is made of nothing: not in recall, and not as NaN, which is no JSON."""
    clips = EvaluationSet(tone("low")[None], np.array([0]), ("x",), "all", ())
    figures = evaluate(model, clips).figures()
    assert {"low": 1.0} == figures["recall"]
    assert figures["false_accepts_at_threshold"] is None
    json.dumps(figures, allow_nan=False)


def test_posteriors_do_not_depend_on_the_batch(model: Model) -> None:
    """300 clips are two batches; a clip's row is what it is alone."""
    audio = np.stack([tone("low", amplitude) for amplitude in np.linspace(10, 9000, 300)])
    rows = clip_posteriors(model, audio)
    np.testing.assert_allclose(rows[[0, 299]], clip_posteriors(model, audio[[0, 299]]), atol=1e-6)


def test_a_clip_is_processed_at_three_places(model: Model) -> None:
    """Its posteriors are the mean of those of its windows 80 ms apart, with silence around it.

    However seldom the model's window graph runs in a stream: its windows would miss the word.
    """
    clip = tone("low")
    clip[:8000] = tone("high")[:8000]
    later, earlier = np.zeros((2, 16_000), np.int16)
    later[1280:], earlier[:-1280] = clip[:-1280], clip[1280:]
    alone = clip_posteriors(model, np.stack([later, clip, earlier]), (0,))
    assert not np.allclose(alone[0], alone[2], atol=1e-3)
    seldom = replace(model.manifest, decision=replace(model.manifest.decision, hop_ms=1000))
    for each in (model, replace(model, manifest=seldom)):
        np.testing.assert_allclose(clip_posteriors(each, clip[None])[0], alone.mean(0), atol=1e-6)


def test_noise_lowers_accuracy_and_is_the_same_each_time(model: Model, archive: Path) -> None:
    """Another tone takes the word's place when it is louder; far below it changes little."""
    clips = load_evaluation_set(archive, LABELS)
    evaluation = evaluate(model, clips, [tone("unknown", seconds=3.0)], (60.0, -30.0))
    assert evaluation.accuracy_by_snr[60.0] >= evaluation.accuracy - 3 / 12
    assert evaluation.accuracy_by_snr[-30.0] == 3 / 12
    again = [add_noise_to_all(clips, LABELS, [tone("high", seconds=2.0)], 5.0) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_most_wrong_are_wrong_and_ordered(model: Model, archive: Path) -> None:
    """Only the planted mistake is listed."""
    evaluation = evaluate(model, load_evaluation_set(archive, LABELS))
    names = [evaluation.clips.names[index] for index in most_wrong(evaluation)]
    assert ["low/00000002_nohash_0.wav"] == names


def test_saliency_lies_where_the_tone_is(model: Model) -> None:
    """What carries a high tone's label is the high tone's band."""
    features = np.zeros((98, 40), np.float32)
    features[:, 25:29] = 8.0
    carried = occlusion(model.backend, features, LABELS.index("high"))
    assert (98, 40) == carried.shape
    assert carried[:, 25:29].mean() > 4 * abs(carried[:, :15].mean())


def test_report_is_written(model: Model, archive: Path, tmp_path: Path) -> None:
    """One page with its pictures inside, a CSV row for each clip, and the figures."""
    pytest.importorskip("matplotlib")
    from kws.evaluation.report import write_report

    evaluation = evaluate(model, load_evaluation_set(archive, LABELS), [tone("low")], (10.0,))
    figures = evaluation.figures()
    page = write_report(evaluation, figures, model, tmp_path / "out").read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in page
    assert "low taken for high" in page
    assert "http" not in page
    with (tmp_path / "out" / "clips.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 12 == len(rows)
    assert ["low/00000002_nohash_0.wav"] == [row["clip"] for row in rows if row["right"] == "0"]
    assert figures == json.loads((tmp_path / "out" / "report.json").read_text())


def test_submission_has_a_row_for_every_file(model: Model, tmp_path: Path) -> None:
    """Files are labelled by name; one that cannot be read keeps its row and is named."""
    for word in ("low", "high", "silence"):
        write_tone(tmp_path / f"clip_{word}.wav", word)
    (tmp_path / "clip_broken.wav").write_bytes(b"RIFF")
    written, problems = write_submission(model, tmp_path, tmp_path / "out.csv")
    assert 4 == written
    assert ["clip_broken.wav"] == [problem.path.name for problem in problems]
    assert [
        "fname,label",
        "clip_broken.wav,unknown",
        "clip_high.wav,high",
        "clip_low.wav,low",
        "clip_silence.wav,silence",
    ] == (tmp_path / "out.csv").read_text().splitlines()


def test_command_prints_one_json_object(
    model: Model, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` prints accuracy, clips and recall by class, and nothing else."""
    folder = str(model.path.parent)
    assert 0 == main(["eval", "--model", folder, "--data", str(archive), "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert (12, 11 / 12, 2 / 3) == (
        figures["clips"],
        figures["accuracy"],
        figures["recall"]["low"],
    )


def test_command_prints_a_table(
    model: Model, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `--json` people read it."""
    assert 0 == main(["eval", "--model", str(model.path), "--data", str(archive)])
    printed = capsys.readouterr().out
    assert "accuracy 91.67 %" in printed
    assert "low               3   66.67 %" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--artefact", "window.int8.onnx"], "no artefact window.int8.onnx; it has window.onnx"),
        (["--split", "training"], "no clip for the split training"),
        (["--noise", "missing"], "there is no folder missing"),
    ],
)
def test_command_explains_a_mistake(
    model: Model,
    archive: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line on stderr and exit code 1; nothing on stdout."""
    code = main(["eval", "--model", str(model.path), "--data", str(archive), *arguments])
    captured = capsys.readouterr()
    assert 1 == code
    assert message in captured.err
    assert "" == captured.out


def test_command_with_noise_that_cannot_be_used(
    model: Model, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise at another rate is no reason to leave the figures at each ratio out silently."""
    noise = tmp_path / "noise at 48 kHz"
    noise.mkdir()
    soundfile.write(noise / "hum.wav", np.zeros(48_000, np.int16), 48_000)
    arguments = ["--model", str(model.path), "--data", str(archive), "--noise", str(noise)]
    assert 1 == main(["eval", *arguments])
    assert "no recordings of noise; 1 could not be used, first" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--report", "--submission"])
def test_command_explains_what_cannot_be_written(
    model: Model, archive: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file stands where a folder is needed: one line, no traceback."""
    pytest.importorskip("matplotlib")
    place = str(model.path / "out")
    code = main(["eval", "--model", str(model.path), "--data", str(archive), option, place])
    assert 1 == code
    assert f"cannot write {place}: " in capsys.readouterr().err


def test_command_without_recordings_is_a_usage_error(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither --data nor KWS_DATA: exit code 2."""
    monkeypatch.delenv("KWS_DATA", raising=False)
    with pytest.raises(SystemExit, match="2"):
        main(["eval", "--model", str(model.path)])
    assert "--data" in capsys.readouterr().err
