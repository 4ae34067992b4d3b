"""`python -m benchmarks.studies.mutants`: how many small faults in the pipeline the tests catch.

One comparison, constant, truth value or connective at a time is changed in a stage of the pipeline,
and the tests of that stage run until one fails. What was tried is kept in build/mutants.jsonl, so
that a run that was stopped goes on where it was. Needs a system that can fork.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from benchmarks.results import FOLDER, ROOT, write_result

# The tests that hold each file, those that fail soonest first.
TARGETS = {
    "kws/vad.py": ("tests/test_vad.py",),
    "kws/frontend.py": ("tests/test_frontend.py", "tests/test_streaming_frontend.py"),
    "kws/streaming_frontend.py": ("tests/test_streaming_frontend.py",),
    "kws/keyword_streams.py": ("tests/test_gaps.py", "tests/test_late_verification.py"),
    "kws/gated_stream.py": ("tests/test_gated_stream.py", "tests/test_gaps.py"),
    "kws/verifier.py": ("tests/test_verifier.py", "tests/test_late_verification.py"),
    "kws/late_verification.py": ("tests/test_late_verification.py",),
    "kws/decision.py": ("tests/test_decision.py", "tests/test_late_verification.py"),
}
KEPT = ROOT / "build" / "mutants.jsonl"
EXPLAINED = Path(__file__).with_name("mutants_explained.json")
CPU_SECONDS = 60  # that the tests of a mutant may take; an endless loop is caught by that
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True)
class Mutant:
    """A file with one small fault."""

    file: str
    line: int
    change: str  # the line, and in it an expression before and after
    key: str  # tells whether it has been tried: the fault and the function that it is in
    code: CodeType


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a file, in the order of its lines; annotations, texts and errors stay."""
    tree = ast.parse(source)
    sites, lines = list(_sites(tree)), source.splitlines()
    seen: Counter[tuple[str, str]] = Counter()
    for index, (node, count, function) in enumerate(sites):
        for which in range(count):
            changed = copy.deepcopy(tree)
            target = list(_sites(changed))[index][0]
            _apply(target, which)
            line = lines[node.lineno - 1].partition("  #")[0].strip()
            change = f"{line}: {ast.unparse(node)} -> {ast.unparse(target)}"
            inside = ast.unparse(function) if function else ""
            seen[inside, change] += 1  # a line may have the same constant twice
            name = f"{file}\n{inside}\n{change}\n{seen[inside, change]}"
            key = hashlib.sha256(name.encode()).hexdigest()[:16]
            code = compile(ast.fix_missing_locations(changed), str(ROOT / file), "exec")
            yield Mutant(file, node.lineno, change, key, code)


def _sites(tree: ast.AST) -> Iterator[tuple[ast.expr, int, ast.FunctionDef | None]]:
    """Expressions that can be changed, in how many ways each, and the function around it."""

    def walk(node: ast.AST, function: ast.FunctionDef | None) -> Iterator[Any]:
        if isinstance(node, ast.FunctionDef):
            function = node
        if isinstance(node, ast.expr) and (ways := _ways(node)):
            yield node, ways, function
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.JoinedStr):
                    yield from walk(child, function)

    yield from walk(tree, None)


def _ways(node: ast.expr) -> int:
    if isinstance(node, ast.Compare):
        return len(node.ops)
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return 1
        return 2 if isinstance(node.value, int) else 0
    if isinstance(node, ast.UnaryOp):
        return int(isinstance(node.op, ast.Not))
    return int(isinstance(node, ast.BoolOp))


def _apply(node: ast.expr, which: int) -> None:
    """Change a site in place, in one of its ways."""
    if isinstance(node, ast.Compare):
        node.ops[which] = COMPARISONS[type(node.ops[which])]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        node.value += 1 if which == 0 else -1


class _Loader(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """Gives one module its mutant's code."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name, self._code = name, code

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See MetaPathFinder."""
        return importlib.machinery.ModuleSpec(name, self) if name == self._name else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """See Loader."""

    def exec_module(self, module: ModuleType) -> None:
        """See Loader."""
        module.__file__ = self._code.co_filename
        exec(self._code, module.__dict__)


def tests_fail(file: str, code: CodeType | None) -> bool:
    """Whether the tests of a file fail with this code in its place; run in a process of their own.

    What ends the process, or is not over after CPU_SECONDS, fails too.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) != 0
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        for name in [name for name in sys.modules if name.partition(".")[0] == "kws"]:
            del sys.modules[name]
        if code is not None:
            module = file.removesuffix(".py").replace("/", ".")
            sys.meta_path.insert(0, _Loader(module, code))
        import pytest

        loaded = "ignore::pytest.PytestAssertRewriteWarning"  # some plugins are, see _prepare
        options = ["-x", "-q", "-p", "no:cacheprovider", "-W", loaded]
        os._exit(int(pytest.main([*options, *TARGETS[file]]) != 0))
    finally:
        os._exit(1)


def _prepare() -> None:
    """Load what every mutant's process needs, but for kws itself, which each loads again."""
    from hypothesis import settings

    from kws.model.runtimes import import_onnxruntime

    settings.register_profile("mutants", derandomize=True, database=None)
    settings.load_profile("mutants")
    import_onnxruntime()
    for name in ("onnx", "pytest", "soundfile", "soxr", "webrtcvad"):
        importlib.import_module(name)
    os.environ.pop("KWS_DATA", None)  # what holds must hold without recordings


def _tests_digest(file: str) -> str:
    content = b"".join((ROOT / test).read_bytes() for test in TARGETS[file])
    return hashlib.sha256(content).hexdigest()[:16]


def _read_kept() -> dict[str, dict[str, Any]]:
    lines = KEPT.read_text(encoding="utf-8").splitlines() if KEPT.exists() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def try_all(files: Sequence[str], say: Callable[[str], None]) -> None:
    """Try every mutant of these files that was not tried yet, or survived other tests.

    What survived and is explained is not tried again.
    """
    kept = _read_kept()
    explained = json.loads(EXPLAINED.read_text(encoding="utf-8"))
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a", encoding="utf-8") as log:
        for file in files:
            digest = _tests_digest(file)
            left = [
                each
                for each in mutants(file, (ROOT / file).read_text(encoding="utf-8"))
                if (old := kept.get(each.key)) is None
                or (
                    not (old["caught"] or old["tests"] == digest)
                    and each.change not in explained.get(file, {})
                )
            ]
            say(f"{file}: {len(left)} mutants to try")
            if left and tests_fail(file, None):
                raise RuntimeError(f"the tests of {file} fail without any mutant: {TARGETS[file]}")
            for mutant in left:
                caught = tests_fail(file, mutant.code)
                entry = {"key": mutant.key, "caught": caught, "tests": digest}
                log.write(json.dumps(entry) + "\n")
                log.flush()
                if not caught:
                    say(f"{file}:{mutant.line}: survived: {mutant.change}")


def figures() -> dict[str, Any]:
    """What came of the mutants that were tried, by file; each survivor with its explanation."""
    kept = _read_kept()
    explained = json.loads(EXPLAINED.read_text(encoding="utf-8"))
    files: dict[str, Any] = {}
    survivors: dict[str, Any] = {}
    for file in TARGETS:
        source = (ROOT / file).read_text(encoding="utf-8")
        every = list(mutants(file, source))
        found = [(each, kept[each.key]) for each in every if each.key in kept]
        caught = sum(entry["caught"] for _, entry in found)
        reasons = explained.get(file, {})
        alive = [each for each, entry in found if not entry["caught"]]
        equivalent = sum(each.change in reasons for each in alive)
        files[file] = _row(len(every), len(found), caught, equivalent)
        for each in alive:
            name = f"{Path(file).name}, line {each.line}: {each.change}"
            survivors[name] = {"why": reasons.get(each.change, "no test catches it yet")}
    sums = [sum(row[key] for row in files.values()) for key in ("mutants", "tried", "caught")]
    same = sum(row["change_nothing"] for row in files.values())
    return {**_row(*sums, same), "files": files, "survivors": survivors}


def _row(total: int, tried: int, caught: int, equivalent: int) -> dict[str, Any]:
    """`equivalent` survivors change nothing that can be seen from outside; they do not count."""
    return {
        "mutants": total,
        "tried": tried,
        "caught": caught,
        "change_nothing": equivalent,
        "share_caught": caught / max(1, tried - equivalent),
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.mutants", description=__doc__
    )
    parser.add_argument("--files", nargs="*", default=list(TARGETS), help="default: all")
    parser.add_argument("--out", type=Path, default=FOLDER / "mutants.json")
    options = parser.parse_args(arguments)
    if unknown := set(options.files) - TARGETS.keys():
        parser.error(f"expected {', '.join(TARGETS)}, got {', '.join(unknown)}")
    os.chdir(ROOT)
    _prepare()
    try_all(options.files, print)
    write_result(options.out, "python -m benchmarks.studies.mutants", figures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
