"""The accuracy benchmark on a handful of tones, and what it is made of."""

import json
from pathlib import Path

import numpy as np
import pytest
from tone_model import tone, write_tone

pytest.importorskip("pyroomacoustics", reason="rooms are simulated with pyroomacoustics")

from benchmarks import devices, held_out, results, simulated_rooms
from benchmarks.product import accuracy
from kws.recordings.mix import level


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Keywords, a held-out word that sounds like a keyword, a held-out phrase, held-out noise."""
    words = tmp_path / "data" / "speech_commands"
    for index in range(4):
        for word in ("low", "high"):
            write_tone(words / word / f"{index:08x}_nohash_0.wav", word)
    others = tmp_path / "data" / "other_words" / "dsp20"
    for index in range(4):
        write_tone(others / f"print_S01_{index}.wav", "high" if index == 0 else "unknown")
    for index in range(2):
        write_tone(others / f"close_S01_{index}.wav", "unknown")
    listed = [f"{word}/{index:08x}_nohash_0.wav" for word in ("low", "high") for index in (0, 1)]
    (words / "validation_list.txt").write_text("\n".join(listed))
    write_tone(words / "_background_noise_" / "none.wav", "silence", seconds=10.0)
    write_tone(tmp_path / "data/other_words/jarvis/a.wav", "low", seconds=2.5)
    write_tone(tmp_path / "data/other_words/view_glass/a.wav", "unknown", seconds=1.7)
    for kind in ("clock_tick", "rain", "rooster"):
        write_tone(tmp_path / "data/noise" / kind / "a.wav", "silence", seconds=5.0)
    return tmp_path / "data"


def test_figures_and_file(
    tones: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every condition is measured, held-out words are counted, and the file says how."""
    monkeypatch.setattr(held_out, "ROOMS", 2)
    out = tmp_path / "accuracy.json"
    arguments = ["--model", str(tones), "--data", str(data), "--out", str(out)]
    assert 0 == accuracy.main(arguments)
    content = results.read_results(tmp_path)["accuracy"]
    expected = {"date", "commit", "machine", "models", "command", "figures"}
    assert expected == content.keys()
    assert str(data) not in out.read_text()
    found = content["figures"]["artefacts"]["window.onnx"]
    devices_used = {"telephone", "quiet", "clipped"}
    snrs = {"20 dB", "10 dB", "5 dB", "0 dB"}
    assert {"clean", *snrs, "rooms", *devices_used} == found["conditions"].keys()
    assert 1.0 == found["conditions"]["clean"]["accuracy"]
    assert 1.0 == found["conditions"]["clean"]["accuracy_of_one_window"]
    students = found["unseen_words"]["dsp20"]
    assert (6, 1, {"high": 1}) == (students["clips"], students["taken"], students["as"])
    assert 1 == found["unseen_words"]["jarvis"]["taken"]
    assert 0 == found["unseen_words"]["view_glass"]["taken"]
    assert 0.25 == found["unseen"]["taken_for_a_keyword"]
    assert 0.0 == found["unseen"]["recall_lost"]
    assert 8 == content["figures"]["unseen_in_a_stream"]["all"]["clips"]


def test_a_missing_folder_is_one_line(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, exit code 1, nothing written."""
    arguments = [
        "--model",
        str(tones),
        "--data",
        str(tmp_path / "no"),
        "--out",
        str(tmp_path / "o"),
    ]
    assert 1 == accuracy.main(arguments)
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_rooms_have_the_reverberation_that_was_requested() -> None:
    """Each lies in the range, and they do not all have the same time."""
    found = simulated_rooms.simulate(4, seed=3)
    times = [room.t60 for room in found]
    assert all(0.2 <= time <= 0.6 for time in times)
    assert max(times) - min(times) > 0.1


def test_a_room_delays_nothing_and_keeps_the_level() -> None:
    """A click stays where it was to 2 ms; a word in a room is as loud as before."""
    room = simulated_rooms.simulate(1, seed=0)[0]
    click = np.zeros(16_000, np.int16)
    click[4000] = 20_000
    assert abs(int(np.abs(simulated_rooms.in_room(click, room)).argmax()) - 4000) <= 32
    word = tone("low")
    assert level(word) == pytest.approx(level(simulated_rooms.in_room(word, room)), rel=0.01)
    assert not simulated_rooms.in_room(np.zeros(16_000, np.int16), room).any()


def test_a_telephone_line_has_no_upper_bands_and_8_bits() -> None:
    """A voice's band arrives in time with some noise, what lies above 4 kHz does not."""
    time = np.arange(16_000) / 16_000
    low, high = (8000 * np.sin(2 * np.pi * hertz * time) for hertz in (1000, 5000))
    received = devices.over_telephone(np.stack((low, low + high)).astype(np.int16))
    assert (2, 16_000) == received.shape
    middle = slice(1000, -1000)  # a filter rings at the ends
    noise = received[:, middle] - low[middle]
    ratio_db = 10 * np.log10(np.mean(low**2) / np.mean(noise**2, axis=1))
    assert np.all((30 < ratio_db) & (ratio_db < 45))


def test_a_gain_clips_and_rounds() -> None:
    """As a converter of 16 bits does."""
    clip = np.array([[0, 100, -20_000, 20_000]], np.int16)
    assert [[0, 1000, -32_768, 32_767]] == devices.with_gain(clip, 20.0).tolist()
    assert [[0, 3, -632, 632]] == devices.with_gain(clip, -30.0).tolist()


def test_result_files_hold_rounded_json(tmp_path: Path) -> None:
    """Five digits are kept; what is not a number is refused rather than written."""
    path = tmp_path / "deep" / "x.json"
    results.write_result(path, "python -m x", {"a": 1 / 3, "b": [(2 / 3, "c")]})
    assert {"a": 0.33333, "b": [[0.66667, "c"]]} == json.loads(path.read_text())["figures"]
    with pytest.raises(ValueError, match="JSON compliant"):
        results.write_result(path, "python -m x", {"a": float("nan")})
