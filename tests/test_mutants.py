"""The study of mutants: what it changes, and that it tells a caught fault from none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import CodeType

import pytest

pytest.importorskip("resource", reason="this system cannot limit the time of a process")

from benchmarks.studies.mutants import EXPLAINED, TARGETS, mutants

ROOT = Path(__file__).parent.parent
SOURCE = '''"""A text with 1 < 2."""

LIMIT: int = 3


def inside(value: int, strict: bool = True) -> bool:
    """Whether 0 <= value."""
    if value is None:
        raise ValueError(f"{value} == 1")
    return not (strict and 0 <= value < LIMIT)
'''
CHANGES = [
    "LIMIT: int = 3: 3 -> 4",
    "LIMIT: int = 3: 3 -> 2",
    "def inside(value: int, strict: bool = True) -> bool:: True -> False",
    "if value is None:: value is None -> value is not None",
    *[
        f"return not (strict and 0 <= value < LIMIT): {change}"
        for change in (
            "not (strict and 0 <= value < LIMIT) -> not not (strict and 0 <= value < LIMIT)",
            "strict and 0 <= value < LIMIT -> strict or 0 <= value < LIMIT",
            "0 <= value < LIMIT -> 0 < value < LIMIT",
            "0 <= value < LIMIT -> 0 <= value <= LIMIT",
            "0 -> 1",
            "0 -> -1",
        )
    ],
]


def test_changes() -> None:
    """Comparisons, constants, truth values and connectives, but no texts, errors or types."""
    found = list(mutants("x.py", SOURCE))
    assert sorted(CHANGES) == sorted(each.change for each in found)
    assert len({each.key for each in found}) == len(found)


def test_each_change_is_seen() -> None:
    """The code of every mutant behaves otherwise than the file."""

    def behaviour(code: CodeType) -> list[object]:
        names: dict[str, object] = {}
        exec(code, names)
        inside = names["inside"]
        assert callable(inside)
        results: list[object] = []
        for arguments in ((-1,), (0,), (1,), (2,), (3,), (3, False), (9, False), (None,)):
            try:
                results.append(inside(*arguments))
            except (ValueError, TypeError) as error:
                results.append(str(error))
        return results

    expected = behaviour(compile(SOURCE, "x.py", "exec"))
    assert all(behaviour(each.code) != expected for each in mutants("x.py", SOURCE))


def test_keys_know_their_function_alone() -> None:
    """A change elsewhere in the file leaves what was tried in a function as it was."""
    longer = SOURCE.replace("def inside", "MORE = 4 < 5\n\n\ndef inside")
    keys = {each.change: each.key for each in mutants("x.py", SOURCE)}
    assert keys.items() <= {each.change: each.key for each in mutants("x.py", longer)}.items()
    other = {each.change: each.key for each in mutants("x.py", SOURCE.replace("= True", "= False"))}
    kept = {change for change in keys if other.get(change) == keys[change]}
    assert kept == {"LIMIT: int = 3: 3 -> 4", "LIMIT: int = 3: 3 -> 2"}


def test_files_and_explanations() -> None:
    """Every file and its tests are there, and no explanation is of a line that has changed."""
    import json

    for file, tests in TARGETS.items():
        assert (ROOT / file).is_file()
        assert all((ROOT / test).is_file() for test in tests)
    for file, reasons in json.loads(EXPLAINED.read_text(encoding="utf-8")).items():
        changes = {each.change for each in mutants(file, (ROOT / file).read_text("utf-8"))}
        assert not reasons.keys() - changes
        assert all(reasons.values())


PROGRAM = """
import os
from benchmarks.studies import mutants
os.chdir(mutants.ROOT)
mutants._prepare()
source = (mutants.ROOT / "kws/vad.py").read_text("utf-8")
every = mutants.mutants("kws/vad.py", source)
fault = next(each for each in every if each.change == "return self._open_for >= 0: 0 -> 1")
print(mutants.tests_fail("kws/vad.py", None), mutants.tests_fail("kws/vad.py", fault.code))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fault_is_caught() -> None:
    """The tests of the gate pass as it is and fail with a fault in it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "False True\n" == done.stdout
