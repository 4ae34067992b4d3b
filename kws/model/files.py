"""Files of models: read with a bound on their size, and only where they are regular files."""

from __future__ import annotations

import importlib
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from kws.errors import ModelError
from kws.text import printable

MANIFEST_BYTES = 4 << 20  # the largest manifest that is read
NETWORK_BYTES = 256 << 20  # the largest network


def read_file(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; links are followed.

    Raises FileNotFoundError where there is none, and ModelError for anything else that is in the
    way: a folder, a device, a pipe, a larger file, a file that may not be read.
    """
    with _opened(path) as file:
        content: bytes = file.read(limit + 1)
    _require_length(path, len(content), limit)
    return content


def map_file(path: Path, limit: int) -> mmap.mmap:
    """Likewise, in memory only as far as it is looked at, until `release`.

    The file must not be written to as long as it is in use; another may take its place. Raises
    ModelError for an empty one too.
    """
    with _opened(path) as file:
        length = os.fstat(file.fileno()).st_size
        _require_length(path, length, limit)
        if not length:
            raise ModelError(f"{printable(str(path))} is empty")
        return mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)


def release(mapped: mmap.mmap) -> None:
    """Take a mapped file out of memory, where the system does so; what is looked at comes back."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    shown = printable(str(path))
    # Without a wait for a writer, should it be a pipe.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a device can have effects
            raise ModelError(f"{shown} is not a regular file; give the file itself")
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelError(f"{shown} is not a regular file; give the file itself")
            yield file
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = error.strerror if isinstance(error, OSError) else None
        raise ModelError(f"cannot read {shown}: {reason or error}") from error


def _require_length(path: Path, length: int, limit: int) -> None:
    if length > limit:
        shown = printable(str(path))
        raise ModelError(f"{shown} has more than the {limit:,} bytes that were expected of it")


def sha256(content: bytes | mmap.mmap) -> str:
    """The hash of a file's content, 64 hexadecimal digits."""
    digest: str = _sha256()(content).hexdigest()
    return digest


@cache
def _sha256() -> Any:
    """Python's own implementation: hashlib's is OpenSSL's, which takes 3 MB as it is loaded."""
    for name in ("_sha2", "_sha256"):  # from Python 3.12 on, before
        try:
            return importlib.import_module(name).sha256
        except ImportError:  # a Python that was built without it
            continue
    return importlib.import_module("hashlib").sha256
