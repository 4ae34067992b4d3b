"""Documents hold the figures that were measured, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.results import read_results, write_result


def result(figures: dict[str, Any]) -> dict[str, Any]:
    """A kept measurement."""
    return {
        "date": "2026-01-02",
        "commit": "abc",
        "machine": "a machine",
        "command": "python -m benchmarks.x",
        "figures": figures,
    }


def test_documents_match_the_results() -> None:
    """RESULTS.md and README are what `python -m benchmarks.report` writes now."""
    results = read_results()
    text = report.README.read_text(encoding="utf-8")
    assert report.readme(text, results) == text
    assert report.results_page(results) == report.RESULTS_PAGE.read_text(encoding="utf-8")


def test_results_say_how_they_were_made() -> None:
    """Every kept measurement has the same fields, and none names a folder of one machine."""
    for kept in read_results().values():
        assert kept.keys() == {"date", "commit", "machine", "command", "figures"}
        assert kept["command"].startswith(("python -m ", "kws ", "make "))
        assert " /" not in kept["command"]


def test_write_and_read(tmp_path: Path) -> None:
    """What is written is read back, with date, commit and machine added."""
    write_result(tmp_path / "results" / "x.json", "python -m benchmarks.x", {"speed_ms": 1.5})
    kept = read_results(tmp_path / "results")["x"]
    assert kept["figures"] == {"speed_ms": 1.5}
    assert kept["command"] == "python -m benchmarks.x"
    assert "Python" in kept["machine"]


def test_headlines() -> None:
    """A row per figure that was measured, with the command; the others are left out."""
    table = report.headline_table({"spotting": result({"spotted": 0.9312})})
    assert "| 93.1% | `python -m benchmarks.x` |" in table
    assert "Other words" not in table
    assert table.endswith("Measured on: a machine.")
    row = {"silence, missed": 0.0812}
    seeds = {"mean": row, "standard_deviation_over_seeds": {"silence, missed": 0.004}}
    assert "| 8.1% ± 0.4% |" in report.headline_table({"stream_seeds": result(seeds)})


def test_targets() -> None:
    """A missed target says by how much, a met one nothing; what is not measured is left out."""
    point = {f"{name}, missed": 0.1 for name in ("silence", "noise 20 dB", "noise 10 dB")}
    names = ("jarvis", "view_glass")
    point |= {f"other_words/{name}, share of clips that fire": 0.01 for name in names}
    point |= {"conversation and noise, false accepts per hour": 2.5}
    point |= {"delay at 10 dB, median, s": 0.25}
    times = "times pymicro-wakeword"
    figures = {
        "operating_points": {"isolated medium": point},
        "gate_missed": {"a": {"difference": -0.1}, "b": {"difference": 0.002}},
        "processor_time": {
            f"speech, {times}": 0.9,
            f"90 % silence, {times}": 0.5,
            "full-window recomputation, relative processor time": 7.0,
        },
        "memory": {"peak_mb": 80.0},
    }
    page = report.results_page({"streaming": result(figures)})
    for expected in (
        "| Commands missed, silence | at most 8.00% | 10.00% | 2.00% | streaming |",
        "| Clips of *jarvis* that fire | at most 3.00% | 1.00% |  | streaming |",
        "| False accepts per hour of orders and noise | at most 2.00 | 2.50 | 0.50 | streaming |",
        "| Delay after the end of a word, median, s | at most 0.25 | 0.25 |  | streaming |",
        "| Commands lost to the gate | at most 0.30% | 0.20% |  | streaming |",
        "| Full-window recomputation at the same hop, relative processor time | at least 8.00 |",
    ):
        assert expected in page
    assert "Accuracy" not in page
    figures["processor_time"] = {"full-window recomputation, relative processor time": 7.0}
    without = report.results_page({"streaming": result(figures)})  # the peer was not installed
    assert "on speech, times pymicro-wakeword |" not in without
    assert "| Commands missed, silence |" in without


def test_page() -> None:
    """Plain figures, rows of one kind, and what lies deeper each become a table."""
    rows = {"a": {"clips": 1200, "recall": {"yes": 0.5}}, "b": {"clips": 7, "recall": {"yes": 1.0}}}
    page = report.results_page({"x": result({"model": "m|n", "conditions": rows})})
    for expected in (
        "| model | m\\|n |",
        "|  | clips |\n| --- | --- |\n| a | 1,200 |\n| b | 7 |",
        "### conditions, recall\n\n|  | yes |\n| --- | --- |\n| a | 0.5 |\n| b | 1 |",
        "2026-01-02, commit abc, on: a machine",
    ):
        assert expected in page


def test_readme_without_marks() -> None:
    """A README that lost its marks is refused, not overwritten."""
    with pytest.raises(ValueError, match="should hold the marks"):
        report.readme(report.END + report.BEGIN, {})
