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
