"""What the programs that measure share: their options, the file of the result, and errors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.environments import EnvironmentFailed
from benchmarks.program import keep, program
from benchmarks.results import FOLDER
from kws.errors import DataError


def test_figures_are_kept_with_their_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all that was chosen; where recordings lie and where the result goes stays here."""
    monkeypatch.setenv("KWS_DATA", str(tmp_path / "recordings"))
    parser = program("product.x", "What it measures.")
    parser.add_argument("--rounds", type=int, default=3)
    out = tmp_path / "new" / "y.json"

    def measure(options: argparse.Namespace) -> dict[str, str]:
        return {"data": options.data.name}

    assert 0 == keep(parser, ["--rounds", "5", "--out", str(out)], measure)
    kept = json.loads(out.read_text())
    assert "python -m benchmarks.product.x --data $KWS_DATA --rounds 5" == kept["command"]
    assert {"data": "recordings"} == kept["figures"]
    assert f"written: {out}\n" == capsys.readouterr().out


def test_the_result_has_the_name_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of results, and recordings are a usage error where none are named."""
    monkeypatch.delenv("KWS_DATA", raising=False)
    alone = program("studies.x", None, recordings=False).parse_args([])
    assert {"out": FOLDER / "x.json"} == vars(alone)
    with pytest.raises(SystemExit, match="2"):
        program("product.x", None).parse_args([])
    assert Path("there") == program("product.x", None).parse_args(["--data", "there"]).data


@pytest.mark.parametrize("error", [DataError, EnvironmentFailed])
def test_what_was_in_the_way_is_one_line(
    error: type[Exception], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and nothing is written."""

    def measure(_: argparse.Namespace) -> dict[str, str]:
        raise error("no recordings there")

    parser = program("product.x", None, recordings=False)
    assert 1 == keep(parser, ["--out", str(tmp_path / "x.json")], measure)
    assert "error: no recordings there\n" == capsys.readouterr().err
    assert not list(tmp_path.iterdir())
