"""What every source of audio has in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol, TypeVar

from kws.audio.convert import Int16Array
from kws.audio.gap import Gap
from kws.config import SAMPLE_RATE

BLOCK_MS = 20  # what a file is read in


class Source(Protocol):
    """Something that delivers audio until it ends, fails or is closed."""

    name: str  # for people: the device's, the file's

    def __iter__(self) -> Iterator[Int16Array | Gap]:
        """Blocks of shape (samples,), int16, mono, 16 kHz, of any length, never empty; and gaps."""
        ...

    def close(self) -> None:
        """Release the device or file; may be called twice."""
        ...


ClosingType = TypeVar("ClosingType", bound="Closing")


class Closing(ABC):
    """Lets a source stand in a `with` statement."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self: ClosingType) -> ClosingType:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def paced(blocks: Iterable[Int16Array | Gap]) -> Iterator[Int16Array | Gap]:
    """The same blocks, each held back until it would have been spoken."""
    start = time.monotonic()
    samples = 0
    for block in blocks:
        samples += block.samples if isinstance(block, Gap) else len(block)
        time.sleep(max(0.0, start + samples / SAMPLE_RATE - time.monotonic()))
        yield block


def reason(error: Exception | None) -> str:
    """What a library said, on one line and without a full stop."""
    first = str(getattr(error, "error_string", error.args[0] if error and error.args else error))
    return " ".join(first.split()).rstrip(".")
