"""Documents hold the figures that were measured, and no others."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from benchmarks import conditions, pages, report, results, targets, text
from benchmarks.product import installations
from benchmarks.results import command_of, read_results, write_result
from benchmarks.text import counted

MARKS = report.BEGIN + report.END  # of a document


def result(figures: dict[str, Any]) -> dict[str, Any]:
    """A kept measurement."""
    return {
        "date": "2026-01-02",
        "commit": "abc",
        "machine": "a machine",
        "models": results.shipped_models(),
        "command": "python -m benchmarks.x",
        "figures": figures,
    }


def test_documents_match_the_results() -> None:
    """All documents with figures are what `python -m benchmarks.report` writes now."""
    documents = (each.read_text(encoding="utf-8") for each in (report.README, report.CARD))
    made = report.texts(read_results(), *documents)
    for path, expected in made.items():
        assert expected == path.read_text(encoding="utf-8"), f"{path.name}: publish again"
    assert set((report.HERE / "pages").glob("*.md")) == {
        p for p in made if p.parent.name == "pages"
    }


def test_results_say_how_they_were_made() -> None:
    """Every kept measurement has the same fields, and none names a folder of one machine."""
    for kept in read_results().values():
        assert kept.keys() == {"date", "commit", "machine", "models", "command", "figures"}
        assert kept["command"].startswith(("python -m ", "kws ", "make "))
        assert " /" not in kept["command"]


def test_write_and_read(tmp_path: Path) -> None:
    """What is written is read back, with date, commit and machine added."""
    write_result(tmp_path / "results" / "x.json", "python -m benchmarks.x", {"speed_ms": 1.5})
    kept = read_results(tmp_path / "results")["x"]
    assert kept["figures"] == {"speed_ms": 1.5}
    assert kept["command"] == "python -m benchmarks.x"
    assert "Python" in kept["machine"]


def test_the_command_that_gives_a_result_again() -> None:
    """It has all options that are not the defaults, but for this machine's folders."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.x")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", action="append")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("x.json"))
    expected = "--data $KWS_DATA --model 'a b' --model c --clips 3 --quick"
    options = parser.parse_args([*shlex.split(expected), "--rounds", "5", "--out", "/there"])
    assert f"python -m benchmarks.x {expected}" == command_of(parser, options)
    assert "python -m benchmarks.x" == command_of(parser, parser.parse_args([]))
    parser.add_argument("--encoder", type=Path, nargs="+")
    options = parser.parse_args(["--encoder", "/there/a.pt", "runs/b.pt"])
    assert "python -m benchmarks.x --encoder a.pt runs/b.pt" == command_of(parser, options)


def test_the_command_with_values_in_their_places() -> None:
    """What has no flag stands by itself, and a flag with many values once before them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.x")
    parser.add_argument("revision")
    parser.add_argument("--extras", nargs="*", default=("", "tflite"))
    for expected in ("v0.1 --extras '' gpu", "abc --extras", "abc"):
        options = parser.parse_args(shlex.split(expected))
        assert f"python -m benchmarks.x {expected}" == command_of(parser, options)


def test_rows_of_what_was_measured() -> None:
    """A figure has its interval and its page; what was not measured has no row."""
    figures = {"spotted": 0.96, "keyword_clips": 1000, "unknown_fired": 0.0, "unknown_clips": 50}
    text = report.readme_tables({"spotting": result(figures)})
    assert "| 96.0% (94.6 to 97.0) | [spotting](benchmarks/pages/spotting.md) |" in text
    assert "| 0.0% (0.0 to 7.1) |" in text
    assert "wheel" not in text
    assert report.readme_tables({}) == report.NOTHING


def test_rows_of_sizes_and_of_archives() -> None:
    """Sizes as MB, with bytecode and without; an archive's speed by its interval."""
    ways = {
        installations.BASE: {"installed_bytes": 151_400_000, "resident_bytes": 74_900_000},
        installations.PLAIN: {"installed_bytes": 181_000_000, "resident_bytes": 75_000_000},
    }
    speed = {"times_real_time": rounds(400.0, 390.0, 410.0)}
    found = {
        "footprint": result({"wheel_bytes": 2_900_000}),
        "installations": result({"ways": ways}),
        "scanning": result({"ways": {"kws scan, 2 processes": speed}}),
    }
    text = report.readme_tables(found)
    assert "| 2.9 MB | [footprint](benchmarks/pages/footprint.md) |" in text
    assert "| installed with all that it needs, `--no-compile` | 151.4 MB |" in text
    assert "| the same with the bytecode that pip makes | 181.0 MB |" in text
    assert "| memory of `kws listen` at its most | 74.9 MB |" in text
    assert "| 400 times real time (390 to 410; rounds 195 to 820) |" in text


def test_streams_have_a_column_per_preset() -> None:
    """False accepts are told as events, hours and interval; misses of counted words likewise."""
    point = {
        "conversation and noise, false accepts": 1,
        "conversation and noise, hours": 0.87,
        "silence, spoken": 600,
        "silence, missed": 0.05333,
    }
    presets = {"isolated medium": point, "connected medium": {**point, "silence, missed": 0.07}}
    text = report.readme_tables({"streaming": result({"operating_points": presets})})
    assert "| on streams | default | `--connected` |" in text
    assert text.count("1 in 0.87 h (95 %: 0.029 to 6.4 per hour)") == 2
    assert "5.3% (3.8 to 7.4) | 7.0% (5.2 to 9.3)" in text
    assert "talk in the background" not in text


def rounds(median: float, low: float, high: float) -> dict[str, Any]:
    """A figure of several rounds by its interval; the rounds themselves lie further apart."""
    apart = [0.5 * low, 2.0 * high]
    return {"median": median, "interval_95": [low, high], "range": apart, "rounds": 12}


@pytest.mark.parametrize(("wide", "told"), [(0.19, True), (0.21, False)])
def test_noisy_times_are_not_published(wide: float, told: bool) -> None:
    """A time or a ratio whose interval is wider than the rule is left out, each by itself."""
    noisy, steady = rounds(2.0, 1.9, 1.9 + wide), rounds(4.0, 3.95, 4.1)
    for time, ratio in ((noisy, steady), (steady, noisy)):
        ours = {"speech": {"ms_per_second": time, "relative_processor_time": ratio}}
        peer = {"speech": {"relative_processor_time": rounds(8.0, 7.9, 8.2)}}
        figures = result({"with verifier": {"after": ours, "pymicro-wakeword": peer}})
        text = report.readme_tables({"before": figures})
        assert ("| 2.00 ms (1.90 to 2.09; rounds 0.95 to 4.18) |" in text) == (
            told and time is noisy
        )
        assert ("per second of speech" in text) == (told or time is steady)
        assert ("pymicro-wakeword, speech | 0.50 (0.48 to 0.52) |" in text) == (ratio is steady)
        assert ("pymicro-wakeword, speech |" in text) == (told or ratio is steady)
    processor = {"kws stream.onnx": {"speech": {"ms_per_second": noisy}}}
    page = pages.page("peers", result({"paired_processor_time": processor}))
    assert told == ("Not published of kws stream.onnx" not in page)


@pytest.mark.parametrize(("wide", "told"), [(0.0012, True), (0.0014, False)])
def test_the_whole_program_has_its_row(wide: float, told: bool) -> None:
    """As a share of a core in silence and in talk; left out where either is too noisy."""
    silence, talk = rounds(0.0091, 0.009, 0.0093), rounds(0.0132, 0.013, 0.013 + wide)
    programs = {
        "kws listen": {"silence": {"share_of_a_core": silence}, "talk": {"share_of_a_core": talk}}
    }
    text = report.readme_tables({"listening": result({"paired_processor_time": programs})})
    row = (
        "| `kws listen`, the whole program | of a core in silence "
        "0.91% (0.90% to 0.93%; rounds 0.45% to 1.86%), in talk 1.32% (1.30% to 1.42%; "
    )
    assert told == (row in text)


@pytest.mark.parametrize(("wide", "told"), [(0.0008, True), (0.0011, False)])
def test_what_the_live_view_adds(wide: float, told: bool) -> None:
    """Beside the plain program, as steady as its share must be."""
    added = {**rounds(0.002, 0.002, 0.002 + wide), "added_to": 0.01}
    share = rounds(0.012, 0.0119, 0.0121)
    row = {kind: {"share_of_a_core": share, "difference": added} for kind in ("silence", "talk")}
    figures = result({"paired_processor_time": {"kws listen with live view": row}})
    text = report.readme_tables({"listening": figures})
    assert told == (
        "| what the live view adds | of a core in silence 0.20% (0.20% to 0.28%;" in text
    )
    assert told == ("Not published of kws listen with live" not in pages.page("listening", figures))


def test_dirty_commits_are_not_published() -> None:
    """What was measured with changes on top is named, and no figure of it is shown."""
    kept = result({"spotted": 0.9, "keyword_clips": 9, "unknown_fired": 0.0, "unknown_clips": 9})
    for commit in ("abc+", "unknown"):
        made = report.texts({"spotting": {**kept, "commit": commit}}, MARKS, MARKS)
        assert {report.README, report.CARD, report.HERE / "RESULTS.md"} == made.keys()
        assert all("90.0%" not in text for text in made.values())
        assert "measured with changes" in made[report.HERE / "RESULTS.md"]


def test_figures_end_with_the_models_they_were_measured_on(tmp_path: Path) -> None:
    """What other weights or thresholds did is not published; a study of training stays."""
    kept = result({"spotted": 0.9, "keyword_clips": 9, "unknown_fired": 0.0, "unknown_clips": 9})
    old = {**kept, "models": {**results.shipped_models(), "commands": "0"}}
    assert {"spotting"} == report.published({"spotting": kept}).keys()
    assert {"ensemble"} == report.published({"spotting": old, "ensemble": old}).keys()
    assert "models that no longer ship | `python -m benchmarks.x` |" in report.results_page(
        {"spotting": old}
    )
    manifest = {"artefacts": {"window.onnx": {"sha256": "1"}}, "thresholds": {"go": 0.5}}
    before = _digest(tmp_path, manifest)
    assert before == _digest(tmp_path, {**manifest, "measurements": {}, "description": "x"})
    assert before != _digest(tmp_path, {**manifest, "thresholds": {"go": 0.6}})


def _digest(folder: Path, manifest: dict[str, Any]) -> dict[str, str]:
    (folder / "m.json").write_text(json.dumps(manifest), encoding="utf-8")
    return results.shipped_models(folder)


def test_a_changed_tree_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written and one line names the file; the texts themselves may differ."""
    status = " M README.md\n M benchmarks/RESULTS.md\n?? benchmarks/pages/x.md\n"
    monkeypatch.setattr(results, "_git", lambda *_: status)
    assert [] == results.uncommitted()
    monkeypatch.setattr(results, "_git", lambda *_: status + " M kws/vad.py\n")
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: pytest.fail("something was written"))
    assert 1 == report.main()
    error = capsys.readouterr().err
    assert "uncommitted changes, found 1, first kws/vad.py; commit them" in error


def test_the_commit_of_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other results do not make a commit dirty; changed code does."""

    def git(changed: str) -> Any:
        return lambda command, *_: changed if command == "status" else "abc\n"

    monkeypatch.setattr(results, "_git", git(" M benchmarks/results/peers.json\n"))
    assert "abc" == results.commit()
    monkeypatch.setattr(results, "_git", git(" M kws/vad.py\n"))
    assert "abc+" == results.commit()


@pytest.mark.parametrize(
    ("count", "hours", "met"),
    [(0, 10.0, "yes"), (10, 10.0, "yes"), (1, 0.87, "not shown"), (40, 10.0, "no")],
)
def test_a_target_is_met_where_the_interval_allows(count: int, hours: float, met: str) -> None:
    """At most 2 per hour: one event in less than an hour shows neither that nor the contrary."""
    point = {
        "conversation and noise, false accepts": count,
        "conversation and noise, hours": hours,
    }
    figures = {"operating_points": {"isolated medium": point}}
    (row,) = targets.rows({"streaming": result(figures)})
    assert row[0].startswith("false accepts per hour")
    assert (row[1], row[3]) == ("at most 2", met)


def test_targets_of_other_kinds() -> None:
    """Ratios and shares by their interval; what is noisy or absent has no row."""
    points = {"isolated medium": {"silence, spoken": 100, "silence, missed": 0.2}}
    found = {"streaming": result({"operating_points": points})}
    missed = ("commands missed without noise", "at most 8%", "20.0% (13.3 to 28.9)", "no")
    for high, told in ((9.3, True), (9.5, False)):
        ratio = {"relative_processor_time": rounds(9.0, 8.5, high)}
        times = {"paired_processor_time": {"full-window recomputation": ratio}}
        rows = list(targets.rows({**found, "recomputation": result(times)}))
        assert rows[0] == missed
        assert told == (len(rows) == 2)
        if told:
            assert rows[1][1:] == ("at least 8", "9.00 (8.50 to 9.30)", "yes")


@pytest.mark.parametrize(
    ("slowest", "row"),
    [(0.6, ("0.6 s", "yes")), (0.7, ("0.7 s", "no")), (None, ("not reached", "no"))],
)
def test_the_slowest_keyword_decides(slowest: float | None, row: tuple[str, str]) -> None:
    """How fast a word may be said again is promised of every keyword."""
    seconds = {"all": 0.5, "yes": 0.5, "stop": slowest}
    words = {name: {"90_%_from_s": each} for name, each in seconds.items()}
    figures = {"of_words_detected_when_said_once": words}
    ((_, limit, measured, met),) = targets.rows({"repetition": result(figures)})
    assert "at most 0.6 s" == limit
    assert measured.startswith(row[0])
    assert row[1] == met


def test_targets_of_cost() -> None:
    """Sizes and times alone; ratios to another program by the range that both allow."""

    def peer(middle: float, low: float, high: float) -> dict[str, Any]:
        return {"read_speech": {"relative_processor_time": rounds(middle, low, high)}}

    ways = {installations.BASE: {"installed_bytes": 151_400_000, "resident_bytes": 64_000_000}}
    times = {
        "with verifier": {
            "after": peer(1.0, 1.0, 1.0),
            "pymicro-wakeword": peer(2.0, 1.95, 2.1),
        },
        "without verifier": {
            "after": peer(1.0, 0.98, 1.02),
            "pymicro-wakeword": peer(2.0, 1.95, 2.1),
        },
    }
    listen = {"share_of_a_core": rounds(0.0096, 0.0094, 0.0101)}
    view = {"difference": {**rounds(0.002, 0.0018, 0.0022), "added_to": 0.0096}}
    found = {
        "before": result(times),
        "installations": result({"ways": ways}),
        "listening": result(
            {
                "seconds_to_start": {
                    "kws listen": rounds(0.7, 0.69, 0.71),
                    "difference": rounds(0.5, 0.49, 0.52),
                },
                "seconds_until": {
                    "a loop ends that is closed": {"median": 0.001, "longest": 0.0123},
                    "a microphone is back": {"median": 0.5, "longest": 5.1},
                },
                "paired_processor_time": {
                    "kws listen": {"silence": listen},
                    "kws listen with live view": {"silence": view},
                },
            }
        ),
    }
    rows = [row[1:] for row in targets.rows(found)]
    assert rows == [
        ("at most 0.8", "0.50 (0.48 to 0.51)", "yes"),
        ("at most 0.5", "0.50 (0.47 to 0.52)", "not shown"),
        ("at most 1.0%", "0.96% (0.94% to 1.01%)", "not shown"),
        ("at most 1.0%", "0.20% (0.18% to 0.22%)", "yes"),
        ("at most 0.6 s", "0.7 s (0.69 to 0.71)", "no"),
        ("at most 1 s", "0.5 s (0.49 to 0.52)", "yes"),
        ("at most 0.1 s", "0.0123 s", "yes"),
        ("at most 5 s", "5.1 s", "no"),
        ("at most 150 MB", "151 MB", "no"),
        ("at most 65 MB", "64 MB", "yes"),
    ]


def test_page() -> None:
    """Plain figures, rows of one kind, and what lies deeper each become a table."""
    rows = {"a": {"clips": 1200, "recall": {"yes": 0.5}}, "b": {"clips": 7, "recall": {"yes": 1.0}}}
    figures = {"model": "m|n", "wheel_bytes": 2_500_000, "conditions": rows}
    page = pages.page("accuracy", result(figures))
    for expected in (
        "# Accuracy of `commands`\n",
        "| model | m\\|n |\n| wheel | 2.5 MB |",
        "## Clips\n\n|  | clips |\n| --- | --- |\n| a | 1,200 |\n| b | 7 |",
        "## Clips, recall\n\n|  | yes |\n| --- | --- |\n| a | 0.5 |\n| b | 1 |",
        "Measured on 2026-01-02 at commit abc: a machine.",
    ):
        assert expected in page


def test_branches_of_different_kinds_are_tables_of_their_own() -> None:
    """What has no key in common is no row of one table."""
    times = {"speech": {"median": 2.0, "spread": 0.01}, "rest": {"median": 1.0, "spread": 0.01}}
    figures = {"ms per second of audio": times, "relative processor time": {"a / b": {"ratio": 2}}}
    page = pages.page("streaming", result({"processor_time": figures}))
    assert "|  | median | spread |\n| --- | --- | --- |\n| speech | 2 | 0.01 |\n| rest | 1" in page
    assert "|  | ratio |\n| --- | --- |\n| a / b | 2 |" in page


def test_counts_of_false_accepts_have_their_hours() -> None:
    """Whatever unit the audio is in; a rate beside them is left out."""
    figures = {"false_accepts": 1, "seconds": 3600.0, "false_accepts_per_hour": 1.0, "clips": 3}
    assert {"false_accepts": "1 in 1.0 h (95 %: 0.025 to 5.6 per hour)", "clips": 3} == counted(
        figures
    )
    assert {"false_accepts": 2} == counted({"false_accepts": 2})


def test_tables_are_narrow() -> None:
    """More than eight columns are turned around, or shared out to several tables."""
    head = ("", *(f"c{number}" for number in range(10)))
    few = list(text.narrow_tables(head, [("a", *map(str, range(10)))]))
    assert len(few) == 1
    assert few[0].startswith("|  | a |\n")
    many = list(text.narrow_tables(head, [(str(row), *map(str, range(10))) for row in range(9)]))
    assert [8, 4] == [each.splitlines()[0].count("|") - 1 for each in many]


def test_a_second_condition_by_kind() -> None:
    """Sources of a kind are added up: 1 + 2 in 0.5 + 1.0 hours of speech."""
    counts = {
        "all false accepts": 4,
        "all hours": 2.0,
        "speech/orders false accepts": 1,
        "speech/orders hours": 0.5,
        "speech/librispeech false accepts": 2,
        "speech/librispeech hours": 1.0,
        "other words/arabic false accepts": 1,
        "other words/arabic hours": 0.5,
    }
    heading, found = conditions.condition_tables({"commands, isolated": {"cool-down": counts}})
    assert heading == "## commands, isolated"
    columns = [cell.strip() for cell in found.splitlines()[-1].split("|")[1:-1]]
    starts = ["cool-down", "4 in 2.0 h", "3 in 1.5 h", "1 in 0.5", ""]
    assert all(map(str.startswith, columns, starts))
    assert columns[-1] == ""


def test_published_pages_read_well() -> None:
    """No table is wider than eight columns, no heading a key, and RESULTS.md is one short page."""
    for name, kept in report.published(read_results()).items():
        page = pages.page(name, kept)
        assert name in pages.PAGES
        for line in page.splitlines():
            assert line.replace("\\|", "").count("|") <= text.COLUMNS + 1
            assert not line.startswith("#") or "_" not in line
        for key, value in kept["figures"].items():
            own = name in pages.RENDERERS  # which make headings of models, files and machines
            told = key in pages.HEADINGS or " " in key  # words already
            assert own or not isinstance(value, dict) or told
    assert len(report.results_page(read_results()).splitlines()) <= 130
    assert all(report._command(name, {}) for name in pages.PAGES)


def test_readme_without_marks() -> None:
    """A README or model card that lost its marks is refused, not overwritten."""
    with pytest.raises(ValueError, match=r"^README\.md should hold the marks"):
        report.texts({}, report.END + report.BEGIN, MARKS)
    with pytest.raises(ValueError, match=r"^kws/models/README\.md should hold the marks"):
        report.texts({}, MARKS, "")


def test_difficult_rooms() -> None:
    """Both modes, with verifier and as the firmware does; the page has every preset."""

    def point(missed: int, events: int) -> dict[str, Any]:
        row = {"events": events, "hours": 0.87, "recordings": 50, "recordings_that_fire": 5}
        return {
            "missed": {"talk 10 dB": {"words": 300, "missed": missed, "share": missed / 300}},
            "false_accepts": {"speech/orders": row, "other_words": row},
            "speakers": {"speech/speechocean, to 12 years": row, "speech/speechocean, f": row},
        }

    streams = {
        "isolated medium, verified": point(30, 1),
        "connected medium, verified": point(60, 2),
        "isolated at 0.4, verified": point(15, 9),
    }
    files = {"stream.onnx": streams, "stream.int8.tflite": {"isolated medium": point(90, 3)}}
    kept = result({"commands": files})
    text = report.readme_tables({"rooms": kept})
    assert "| difficult rooms and voices | default | `--connected` | TFLite and firmware |" in text
    speakers = "| false accepts, English of Mandarin speakers, f | 1 in"
    assert speakers not in text
    assert speakers in report.texts({"rooms": kept}, MARKS, MARKS)[report.CARD]
    assert "| commands missed, talk 10 dB | 10.0% (7.1 to 13.9) | 20.0% (15.9 to 24.9) |" in text
    assert "| false accepts, coffee orders | 1 in 0.87 h (95 %: 0.029 to 6.4 per hour) |" in text
    assert "| false accepts, English of Mandarin speakers, to 12 years | 1 in" in text
    assert "| recordings that fire, other words | 10.0% (4.3 to 21.4) |" in text
    page = pages.page("rooms", kept)
    assert "## commands, stream.int8.tflite, without verifier" in page
    assert "One threshold for all words, isolated, with verifier:" in page
    assert "| threshold | 0.4 |" in page


def test_instructions_become_a_range_of_each_board() -> None:
    """The least is the core's width, the most half an instruction per cycle; files follow."""
    files = {"stream.onnx": {"recordings": 101, "same_detections": 101}}
    figures = {
        "machines": {"arm64": {"artefacts": files, "does_not_run": {"x.onnx": "no wheel"}}},
        "instructions": {"arm64": {"kws:stream.onnx": {"speech": 40.0, "silence": -0.2}}},
    }
    text = pages.page("arm", result(figures))
    assert "| kws:stream.onnx | 40.0 | 2.0% to 8.0% | 0.7% to 4.4% | 0.4% to 3.3% |" in text
    assert "| kws:stream.onnx | under 1 | under 0.2% | under 0.1% | under 0.1% |" in text
    assert "not measured on a board" in text
    assert "| stream.onnx | 101 | 101 |" in text
    assert "| x.onnx | no wheel |" in text
    assert "Instructions on" not in pages.page("arm", result({**figures, "instructions": {}}))
