"""What files import, read from their text: nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kws"


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """The modules that a file imports, dotted; TYPE_CHECKING blocks do not run and are left out.

    Without `everywhere`, only those that importing the file itself imports.
    """

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not everywhere:
                continue
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                yield child.module or ""
                yield from (f"{child.module}.{alias.name}" for alias in child.names)
            else:
                yield from walk(child)

    return walk(ast.parse(path.read_text(encoding="utf-8")))


def source(module: str) -> Path:
    """The file of a module of kws, dotted without `kws`."""
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def reached(modules: Iterable[str]) -> set[Path]:
    """The files of kws that these of its modules import, each other's imports too, and their own.

    The modules are dotted with `kws`.
    """
    found: set[Path] = set()
    left = list(modules)
    while left:
        package, _, module = left.pop().partition(".")
        path = source(module) if module else PACKAGE / "__init__.py"
        if package == "kws" and path.is_file() and path not in found:
            found.add(path)
            left += imports(path)
        if module:  # what it lies in is imported with it
            left.append(f"{package}.{module}".rpartition(".")[0])
    return found
