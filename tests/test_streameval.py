"""Stream evaluation and calibration, on a model that knows two tones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from kws import Detector
from kws.cli import main
from kws.config import SAMPLE_RATE, DecisionConfig
from kws.evaluation.streameval import choose_clips
from kws.model.load import Model, load_model
from kws.model.manifest import read_manifest
from kws.recordings.data import find_corpus

pytest.importorskip("onnxruntime")

Int16Array = NDArray[np.int16]
CONFIG = DecisionConfig()


@pytest.fixture(scope="module")
def model(tones: Path) -> Model:
    """The network that knows tones."""
    return load_model(tones)


def audio_of(*parts: str | float) -> Int16Array:
    """Tones by name, pauses of faint noise by their seconds."""
    from tone_model import tone

    generator = np.random.default_rng(3)
    return np.concatenate(
        [
            tone(part, seconds=0.9)
            if isinstance(part, str)
            else generator.normal(0, 2, round(part * SAMPLE_RATE)).astype(np.int16)
            for part in parts
        ]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings, one at another rate and with two channels, and a file that is none."""
    soundfile.write(tmp_path / "a.wav", audio_of(1.0, "low", 2.0, "low", 2.0), SAMPLE_RATE)
    stereo = np.repeat(np.repeat(audio_of(1.0, "unknown", 2.0), 2)[:, None], 2, axis=1)
    (tmp_path / "deeper").mkdir()
    soundfile.write(tmp_path / "deeper" / "b.flac", stereo, 2 * SAMPLE_RATE)
    (tmp_path / "c.wav").write_bytes(b"no audio at all")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """The standard output of a command that exits with this code."""
    assert code == main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_negatives(folder: Path, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object: hours, false accepts, their rate, the count per word, what was not used."""
    output = run(capsys, "eval-stream", "--negatives", folder, "--model", tones, "--json", code=1)
    figures = json.loads(output)
    seconds = (1.0 + 0.9 + 2.0 + 0.9 + 2.0) + (1.0 + 0.9 + 2.0)
    assert pytest.approx(seconds / 3600, rel=1e-3) == figures["hours"]
    assert 2 == figures["false_accepts"]
    assert pytest.approx(2 / figures["hours"]) == figures["false_accepts_per_hour"]
    assert {"low": 2, "high": 0} == figures["words"]
    assert (2, 1) == (figures["recordings"], figures["recordings_with_false_accepts"])
    assert ["c.wav"] == [Path(line.split(":")[0]).name for line in figures["not_used"]]


def test_processes_do_not_matter(
    tmp_path: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Many recordings on two processes give what one process finds."""
    for index in range(20):
        word = ("low", "high", "unknown")[index % 3]
        soundfile.write(tmp_path / f"{index:02d}.wav", audio_of(0.5, word, 1.0), SAMPLE_RATE)
    arguments = ("eval-stream", "--negatives", tmp_path, "--model", tones, "--json", "--jobs")
    one, two = (json.loads(run(capsys, *arguments, jobs)) for jobs in (1, 2))
    assert {"low": 7, "high": 7} == one["words"]
    assert one == two


def test_same_as_the_detector(model: Model) -> None:
    """What is replayed from kept rows is what a Detector finds, at any threshold."""
    from kws.evaluation.replay import PosteriorRecorder
    from kws.operating_point import OperatingPoint

    audio = audio_of(1.0, "low", 0.8, "high", 0.3, "unknown", 0.7, "low")
    blocks = np.array_split(audio, 37)
    track = PosteriorRecorder(model).record("x", blocks)
    assert len(audio) / SAMPLE_RATE == track.seconds
    for threshold in (0.3, 0.6, 0.8):
        point = OperatingPoint.of(model, threshold=threshold)
        replayed = track.detections(model.manifest.labels, point.thresholds, point.config)
        direct = list(Detector(model, threshold=threshold).listen(blocks))
        assert [(d.keyword, d.score, d.start) for d in direct] == [
            (d.keyword, d.score, d.start) for d in replayed
        ]
        assert direct


def test_labelled_recording(
    tmp_path: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording with labels: hits, misses, and a word that the model does not know."""
    recording, labels, table = (tmp_path / name for name in ("a.wav", "a.txt", "a.csv"))
    soundfile.write(recording, audio_of(1.0, "low", 2.0, "unknown", 2.0, "high", 1.0), SAMPLE_RATE)
    labels.write_text("1.0\t1.9\tlow\n3.9\t4.8\tcat\n6.8\t7.7\thigh\n", encoding="utf-8")
    arguments = ("eval-stream", "--input", recording, "--labels", labels, "--model", tones)
    figures = json.loads(run(capsys, *arguments, "--csv", table, "--json"))
    assert (2, 2, 0) == (figures["spoken"], figures["hits"], figures["insertions"])
    assert "delay_median_s," in table.read_text(encoding="utf-8")
    assert "recording" in run(capsys, *arguments)


def test_development_folder(
    tmp_path: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scenes are built from the clips and everything beside them is processed."""
    pytest.importorskip("matplotlib")
    corpus = tmp_path / "speech_commands"
    for word in ("low", "high", "unknown"):
        (corpus / word).mkdir(parents=True)
        for index in range(3):
            soundfile.write(
                corpus / word / f"s{index}_nohash_0.wav", audio_of(0.05, word)[:16_000], 16_000
            )
    names = [f"{word}/s{i}_nohash_0.wav" for word in ("low", "high", "unknown") for i in range(3)]
    (corpus / "validation_list.txt").write_text("\n".join(names), encoding="utf-8")
    generator = np.random.default_rng(0)
    for kind in ("noise/hum", "speech/talk"):
        (tmp_path / kind).mkdir(parents=True)
        audio = generator.normal(0, 200, 3 * SAMPLE_RATE).astype(np.int16)
        soundfile.write(tmp_path / kind / "a.wav", audio, SAMPLE_RATE)
    arguments = ("eval-stream", "--data", tmp_path, "--model", tones, "--clips", 2)
    figures = json.loads(run(capsys, *arguments, "--plots", tmp_path / "plots", "--json"))
    assert {"noise/hum", "speech/talk"} == set(figures["negatives"])
    assert {"silence", "other words", "noise 10 dB", "talk 0 dB"} <= set(figures["scenes"])
    assert 4 == figures["scenes"]["silence"]["spoken"]
    misses = [point["miss_rate"]["silence"] for point in figures["det"]]
    assert sorted(misses) == misses
    assert (tmp_path / "plots" / "det.png").stat().st_size > 1000
    assert "noise/hum" in run(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--input", "a.wav"), "belong together"),
        (("--negatives", "nowhere"), "there is no folder nowhere"),
        (("--negatives", "."), "there is no readable recording"),
        (("--data", "nowhere"), "there is no folder"),
    ],
)
def test_bad_arguments(
    arguments: tuple[str, ...],
    reason: str,
    tones: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is missing is told in one line, exit code 1."""
    monkeypatch.chdir(tmp_path)
    assert 1 == main(["eval-stream", "--model", str(tones), *arguments])
    error = capsys.readouterr().err
    assert reason in error
    assert 1 == error.count("\n")


def test_calibrate(folder: Path, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The thresholds rise, the rate that can be promised is told, the copy is a model."""
    out = folder / "calibrated"
    arguments = ("--background", folder, "--model", tones, "--out", out, "--target-fa", "0.5")
    output = run(capsys, "calibrate", *arguments, code=1)  # one file is no recording
    assert "false accepts 2 before" in output
    assert "record about 6 hours" in output
    assert read_manifest(out / "tones.json").thresholds["low"] > 0.99
    assert load_model(out).manifest.measurements["calibration"]["target_per_hour"] == 0.5


def test_move_thresholds(model: Model) -> None:
    """All thresholds move until no more fires than is wanted, and no further than that."""
    from kws.evaluation.calibrate import move_thresholds
    from kws.evaluation.replay import PosteriorTrack
    from kws.operating_point import OperatingPoint

    rows = np.zeros((1000, 4), np.float32)
    for start, height in ((100, 0.7), (400, 0.8), (700, 0.9)):
        rows[start : start + 40, 0] = height
    rows[:, 2] = 1.0 - rows[:, 0]
    tracks = [PosteriorTrack("x", 3600.0, rows, rows, np.zeros(1000, np.float32))]
    point = OperatingPoint.of(model, threshold=0.6)
    for target, low, high in ((3.0, 0.0, 0.7), (2.0, 0.7, 0.8), (1.0, 0.8, 0.9), (0.0, 0.9, 1.0)):
        thresholds, left = move_thresholds(point, tracks, model.manifest.labels, target)
        assert left <= target
        assert low < thresholds["low"] == thresholds["high"] <= high
    assert thresholds["low"] < 0.92


def test_calibrate_nothing_to_do(
    tmp_path: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A silent background loosens the thresholds, and only so far."""
    soundfile.write(tmp_path / "a.wav", np.zeros(SAMPLE_RATE, np.int16), SAMPLE_RATE)
    run(
        capsys, "calibrate", "--background", tmp_path / "a.wav", "--model", tones, "--out", tmp_path
    )
    thresholds = read_manifest(tmp_path / "tones.json").thresholds
    assert 0.1 < thresholds["high"] < 0.6


def test_calibrate_without_audio(
    tmp_path: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No readable recording is a mistake that is told."""
    (tmp_path / "a.wav").write_bytes(b"")
    assert 1 == main(["calibrate", "--background", str(tmp_path / "a.wav"), "--model", str(tones)])
    assert "nothing to go by" in capsys.readouterr().err


def test_keyword_offsets() -> None:
    """A keyword that other sounds resemble has a higher threshold."""
    from kws.evaluation.calibrate import Peak, keyword_offsets

    true = [("yes", 0.95)] * 90 + [("yes", 0.5)] * 10 + [("no", 0.95)] * 90 + [("no", 0.5)] * 10
    heights = np.linspace(0.12, 0.8, 40)
    false = [Peak(i, "no", float(height)) for i, height in enumerate(heights)]
    false += [Peak(i, "yes", float(height) / 2) for i, height in enumerate(heights)]
    offsets = keyword_offsets(false, 1.0, true)
    assert offsets["yes"] < offsets["no"]


def test_one_false_accept_tells_little() -> None:
    """A single sound near one keyword hardly sets it apart."""
    from kws.evaluation.calibrate import Peak, keyword_offsets

    true = [(word, value) for word in ("yes", "no") for value in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)]
    offsets = keyword_offsets([Peak(0, "yes", 0.85)], 1.0, true)
    assert offsets["no"] == pytest.approx(offsets["yes"])


def test_peaks_are_detections(model: Model) -> None:
    """Just below its peak a threshold detects, just above it does not."""
    from kws.evaluation.calibrate import peaks
    from kws.evaluation.replay import PosteriorRecorder

    track = PosteriorRecorder(model, vad=False).record("x", [audio_of(1.5, "low", 1.5)])
    labels = model.manifest.labels
    (peak,) = peaks(track, labels, CONFIG)
    assert "low" == peak.keyword
    for margin, count in ((-0.01, 1), (0.01, 0)):
        thresholds = dict.fromkeys(("low", "high"), peak.threshold + margin)
        assert count == len(track.detections(labels, thresholds, CONFIG))


@pytest.mark.parametrize("sensitivity", ["low", "high"])
def test_presets(sensitivity: str, tones: Path, tmp_path: Path) -> None:
    """A preset's thresholds are taken by its name; a model without presets says so."""
    import dataclasses
    import shutil

    from kws.errors import ModelError
    from kws.model.manifest import write_manifest

    with pytest.raises(ModelError, match="has no preset isolated"):
        Detector(tones, sensitivity=sensitivity)
    with pytest.raises(ValueError, match="'extreme'; the sensitivities are low, medium"):
        Detector(tones, sensitivity="extreme")
    copy = Path(shutil.copytree(tones, tmp_path / "copy"))
    presets = {"isolated": {"low": {"low": 0.97, "high": 0.97}, "high": {"low": 0.3, "high": 0.3}}}
    manifest = dataclasses.replace(read_manifest(copy / "tones.json"), presets=presets)
    write_manifest(manifest, copy / "tones.json")
    audio = audio_of(1.0, "low", 1.5)
    (found,) = Detector(copy, sensitivity=sensitivity, vad=False).process(audio)
    (own,) = Detector(copy, vad=False).process(audio)
    assert (found.end > own.end) == (sensitivity == "low")


def test_folders_in_capitals_are_the_keyword(tmp_path: Path) -> None:
    """Clips for scenes have the keyword's spelling, whichever the folder has."""
    for word in ("Low", "Tree"):
        (tmp_path / word).mkdir()
        soundfile.write(tmp_path / word / "s_nohash_0.wav", audio_of(0.05, "low")[:16_000], 16_000)
    (tmp_path / "validation_list.txt").write_text("Low/s_nohash_0.wav\nTree/s_nohash_0.wav")
    chosen = choose_clips(find_corpus(tmp_path), "validation", ("low", "high"), 5, 0)
    assert ["Tree", "low"] == [word for word, _ in chosen]
