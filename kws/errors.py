"""The exceptions that kws raises on purpose; each message says what to do next."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike


class KwsError(Exception):
    """Base of every error that a caller of kws may want to catch."""


class ModelError(KwsError):
    """A model folder, manifest or artefact is missing, damaged or of an unknown version."""


class AudioError(KwsError):
    """Audio could not be captured, decoded or understood."""


class BackendUnavailable(KwsError):
    """The runtime that a model needs is not installed or does not work on this machine."""


class SettingError(KwsError, ValueError):
    """A setting has a value that does not exist or does not fit the model."""


class DataError(KwsError):
    """A folder of recordings is missing, empty or not in the expected layout."""


@contextmanager
def writing(path: str | PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong on the disk meanwhile into a KwsError that names the path."""
    try:
        yield
    except OSError as error:
        raise KwsError(f"cannot write {path}: {error.strerror or error}") from error


def exit_name(code: int) -> str:
    """How a process ended, for people: the signal that ended it, else its exit code."""
    if code >= 0:
        return f"code {code}"
    return next((each.name for each in signal.Signals if each == -code), f"signal {-code}")
