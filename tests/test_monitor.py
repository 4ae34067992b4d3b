"""Statistics of a device as counts, and two such records compared."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from tone_model import LABELS

from kws.cli import main
from kws.decision import Detection
from kws.errors import DataError
from kws.monitoring.drift import changes, load_seen
from kws.monitoring.monitor import HourlyRecords, Monitor, Seen, read_seen, write_seen

HOP = 960  # samples, 60 ms
MODEL: Any = SimpleNamespace(manifest=SimpleNamespace(name="tones", labels=LABELS))


def noise(dbfs: float, samples: int = HOP) -> np.ndarray:
    """White noise of that level, int16."""
    values = np.random.default_rng(0).normal(0, 32768 * 10 ** (dbfs / 20), samples)
    return np.clip(np.round(values), -32768, 32767).astype(np.int16)


def rows(low: float) -> list[np.ndarray]:
    """Posteriors of one hop in which the keyword low has that score."""
    return [np.array([[low, 0.0, 0.0, 1.0 - low]], np.float32)]


def observe(
    monitor: Monitor | HourlyRecords,
    seconds: float = 120.0,
    speech: float = 0.3,
    speech_dbfs: float = -25.0,
    background_dbfs: float = -55.0,
    score: float = 0.1,
    every: float = 0.0,
) -> None:
    """Speech in the first share of every ten seconds; the keyword fires every so many seconds."""
    loud, quiet = noise(speech_dbfs), noise(background_dbfs)
    fired = 0
    for hop in range(round(seconds / 0.06)):
        now = hop * 0.06
        speaks = now % 10.0 < 10.0 * speech
        fires = bool(every) and now >= fired * every
        fired += fires
        detection = Detection("low", 0.9, now, now)
        monitor.observe(
            loud if speaks else quiet, rows(score) if speaks else [], [detection] * fires
        )


def seen(**options: float) -> Seen:
    """A record of two minutes."""
    monitor = Monitor(MODEL)
    observe(monitor, **options)
    return monitor.take()


def test_counts() -> None:
    """Time, levels, ratio, scores and detections are those of the audio."""
    found = seen(every=30.0)
    assert 120.0 == pytest.approx(found.seconds, abs=0.1)
    assert 36.0 == pytest.approx(found.speech_seconds, abs=2.0)
    assert {"low": 4} == found.detections
    assert found.speech_dbfs.index(max(found.speech_dbfs)) == 23  # -27 to -24 dBFS
    assert found.background_dbfs.index(max(found.background_dbfs)) == 13  # -57 to -54 dBFS
    assert found.snr_db.index(max(found.snr_db)) in (9, 10)  # 27 to 33 dB
    assert 12 == pytest.approx(sum(found.snr_db), abs=1)
    assert sum(found.scores["low"]) == found.scores["low"][1] == sum(found.speech_dbfs)


def test_muted_and_clipped_time() -> None:
    """Exact zeros are no level, and full scale is noticed."""
    monitor = Monitor(MODEL)
    monitor.observe(np.zeros(HOP, np.int16), [], [])
    monitor.observe(np.full(HOP, -32768, np.int16), [], [])
    found = monitor.take()
    assert (0.06, 0.06) == (found.muted_seconds, found.clipped_seconds)
    assert 1 == sum(found.background_dbfs) == found.background_dbfs[-1]
    assert 0.0 == monitor.take().seconds


def test_records_add_up(tmp_path: Path) -> None:
    """Written and read back they are equal; two halves make a whole; other models do not mix."""
    whole, half = seen(seconds=120.0), seen(seconds=60.0)
    write_seen(half, tmp_path / "a.json")
    write_seen(half, tmp_path / "b.json")
    assert replace(half, seconds=60.0) == read_seen(tmp_path / "a.json")
    (tmp_path / "._first.json").write_bytes(bytes(9))  # what macOS leaves beside others
    both = load_seen(tmp_path, MODEL)
    assert both.speech_dbfs == whole.speech_dbfs
    assert 120.0 == pytest.approx(both.seconds)
    with pytest.raises(DataError, match="two models, tones and other"):
        both.add(replace(half, model="other"))
    assert (tmp_path / "a.json").stat().st_size < 4000


def test_one_file_an_hour(tmp_path: Path) -> None:
    """The name tells the hour; a second run in the same hour is added to the first."""
    now = [1_800_000_000.0]  # 08:00 UTC
    for _ in range(2):
        with HourlyRecords(tmp_path, MODEL, lambda: now[0]) as records:
            observe(records, seconds=60.0)
            now[0] += 3600.0
            observe(records, seconds=30.0)
        now[0] -= 3600.0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert ["2027-01-15T08Z.json", "2027-01-15T09Z.json"] == names
    assert 120.0 == pytest.approx(read_seen(tmp_path / names[0]).seconds, abs=0.3)
    assert 60.0 == pytest.approx(read_seen(tmp_path / names[1]).seconds, abs=0.3)


def test_a_full_disk_does_not_stop_listening(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, no exception; no audio, nothing written."""
    (tmp_path / "file").write_text("")
    now = [0.0]
    with (
        caplog.at_level(logging.WARNING),
        HourlyRecords(tmp_path / "file", MODEL, lambda: now[0]) as records,
    ):
        for _ in range(3):
            observe(records, seconds=1.0)
            now[0] += 3600.0
    assert 1 == len(caplog.records)
    with HourlyRecords(tmp_path / "quiet", MODEL):
        pass
    assert not (tmp_path / "quiet").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "colour": 3}', "\x00"]
)
def test_foreign_files_are_refused(tmp_path: Path, content: str) -> None:
    """Whatever else is in a JSON file is named as no record."""
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"x\.json is not a record"):
        read_seen(path)


def test_damaged_counts_are_refused(tmp_path: Path) -> None:
    """Lists of another length, and counts that are not."""
    for change in ({"snr_db": [1]}, {"detections": {"low": "3"}}, {"scores": {"low": [-1] * 10}}):
        path = tmp_path / "x.json"
        write_seen(seen(), path)
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        with pytest.raises(DataError, match="is not a record"):
            read_seen(path)


def test_nothing_changed() -> None:
    """The same surroundings on another day give no sentence."""
    assert [] == list(changes(seen(every=20.0), seen(every=24.0, speech_dbfs=-23.0)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"speech_dbfs": -40.0}, "Speech is 15 dB quieter"),
        ({"background_dbfs": -40.0}, "The background is 15 dB louder"),
        ({"background_dbfs": -40.0}, "Speech stands out less"),
        ({"speech_dbfs": 3.0}, "Clipping went from 0.0 to 30.0 % of the time; lower"),
        ({"speech": 0.9}, "There is more speech: it went from 30.0 to 90.0 %"),
        ({"speech": 0.1}, "There is less speech: it went from 30.0 to 10.0 %"),
        ({"every": 2.0}, "'low' fires more often: 1.8e+03 times an hour, 0 before"),
        ({"score": 0.7}, "The scores of 'low' moved: reaching 0.5 went from 0.0 to 100.0 %"),
    ],
)
def test_changes_are_sentences(options: dict[str, float], sentence: str) -> None:
    """Each planted change is found, in both directions of time."""
    sentences = list(changes(seen(), seen(**options)))
    assert any(sentence in each for each in sentences), sentences
    assert list(changes(seen(**options), seen()))


def test_muted_microphone_is_told() -> None:
    """Exact zeros for most of the time."""
    muted = replace(seen(), muted_seconds=90.0)
    assert any("muted microphone" in each for each in changes(seen(), muted))


def test_too_little_is_not_compared() -> None:
    """A minute is the least."""
    with pytest.raises(DataError, match="second record holds 12 s"):
        list(changes(seen(), seen(seconds=12.0)))


def test_listen_records_and_drift_compares(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From end to end: a recording is listened to, and compared with louder recordings."""
    for name, dbfs in (("quiet", -50.0), ("loud", -20.0)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", noise(dbfs, 65 * 16_000), 16_000)
    model, records = ["--model", str(tones)], str(tmp_path / "records")
    quiet = str(tmp_path / "quiet" / "a.wav")
    assert 0 == main(["listen", *model, "--input", quiet, "--monitor", records])
    capsys.readouterr()
    assert 0 == main(["drift", records, str(tmp_path / "loud"), *model])
    assert "30 dB louder" in capsys.readouterr().out
    assert 0 == main(["drift", records, records, *model, "--json"])
    assert [] == json.loads(capsys.readouterr().out)["changes"]
    assert 1 == main(["drift", records, str(tmp_path / "nothing"), *model])
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert 1 == main(["drift", records, str(tmp_path / "empty"), *model])
    assert f"{tmp_path / 'empty'} holds nothing to compare" in capsys.readouterr().err
