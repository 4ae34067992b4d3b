"""Choosing keywords and thresholds on the command line, alike in every command that detects."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_model import tone

from kws.cli import main
from kws.config import SAMPLE_RATE

pytest.importorskip("onnxruntime")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """The words low and high, a second apart."""
    pause = np.zeros(SAMPLE_RATE, np.int16)
    audio = np.concatenate((pause, tone("low"), pause, tone("high"), pause))
    soundfile.write(tmp_path / "a.wav", audio, SAMPLE_RATE)
    return tmp_path / "a.wav"


def listened(
    recording: Path, tones: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> dict[str, float]:
    """The words that `kws listen` detects, and when."""
    command = ["listen", "--input", str(recording), "--model", str(tones), "--json-plain"]
    assert 0 == main([*command, *more])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {each["keyword"]: each["end"] for each in found}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "low high"),
        (["--keywords", "high"], "high"),
        (["--keywords", " low , high"], "low high"),
        (["--threshold", "0.4", "--keywords", "low"], "low"),
    ],
)
def test_listen(
    options: list[str],
    expected: str,
    recording: Path,
    tones: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Some keywords, whatever the threshold."""
    assert expected.split() == list(listened(recording, tones, capsys, *options))


def test_listen_with_thresholds(
    recording: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A threshold for all, or for one alone, decides when its word is detected."""
    own, both, one = (
        listened(recording, tones, capsys, *options)
        for options in ([], ["--threshold", "0.3"], ["--threshold", "low=0.3, high=0.6"])
    )
    assert both["low"] == one["low"] < own["low"]
    assert both["high"] < one["high"] == own["high"]


def test_scan(recording: Path, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same choices, which the journal knows: another choice does not go on in it."""
    out, table = recording.parent / "scan.jsonl", recording.parent / "scan.csv"
    command = ["scan", str(recording), "--model", str(tones), "--jobs", "1", "--out", str(out)]
    chosen = ["--keywords", "high", "--threshold", "high=0.5", "--csv", str(table)]
    for _ in range(2):
        assert 0 == main([*command, *chosen])
    assert ["high"] == [
        row["keyword"] for row in csv.DictReader(table.read_text("utf-8").splitlines())
    ]
    for other in ([], ["--keywords", "low"], [*chosen[:2], "--threshold", "high=0.6"]):
        assert 1 == main([*command, *other])
        assert str(out) in capsys.readouterr().err


def test_eval_stream(recording: Path, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was not chosen is neither detected nor missed."""
    labels = recording.with_suffix(".csv")
    labels.write_text("start,end,word\n1.0,2.0,low\n3.0,4.0,high\n", encoding="utf-8")
    command = ["eval-stream", "--input", str(recording), "--labels", str(labels), "--json"]
    for options, spoken in (([], 2), (["--keywords", "high", "--threshold", "high=0.5"], 1)):
        assert 0 == main([*command, "--model", str(tones), *options])
        figures = json.loads(capsys.readouterr().out)
        assert (spoken, 0.0) == (figures["spoken"], figures["miss_rate"])
    assert {"high": 0.5} == figures["thresholds"]


@pytest.mark.parametrize("command", ["listen", "scan", "eval-stream"])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--keywords", "hihg"], "no keyword is called 'hihg', did you mean 'high'?"),
        (["--threshold", "lo=0.5"], "no keyword is called 'lo', did you mean 'low'?"),
        (["--threshold", "low=2"], "expected a number in (0, 1], got '2'"),
        (["--threshold", "low=0.5,0.6"], "expected word=number,word=number, got 'low=0.5,0.6'"),
        (["--keywords", "low,,high"], "expected words with commas between them"),
        (["--threshold", ""], "expected a number in (0, 1], got ''"),
    ],
)
def test_wrong_choices(
    command: str,
    options: list[str],
    reason: str,
    recording: Path,
    tones: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong usage is one line and exit code 2, and nothing is written."""
    labels = recording.with_suffix(".csv")
    labels.write_text("start,end,word\n1.0,2.0,low\n", encoding="utf-8")
    out = recording.parent / "scan.jsonl"
    first = {
        "listen": ["listen", "--input", str(recording)],
        "scan": ["scan", str(recording), "--out", str(out), "--jobs", "1"],
        "eval-stream": ["eval-stream", "--input", str(recording), "--labels", str(labels)],
    }[command]
    try:
        code = main([*first, "--model", str(tones), *options])
    except SystemExit as stop:
        code = stop.code
    assert 2 == code
    said = capsys.readouterr()
    assert reason in said.err
    assert "Traceback" not in said.err
    assert "" == said.out
    assert not out.exists()
