"""The ways to multiply integers of 8 bits that the native kernel has."""

from __future__ import annotations

from enum import IntEnum

from kws.native import library


class Arithmetic(IntEnum):
    """The ways to multiply of multiply.c; of those that a machine has, later ones are faster."""

    PLAIN = 0
    AVX2 = 1
    AVX_VNNI = 2
    AVX512_VNNI = 3
    NEON = 4
    NEON_DOT = 5


def multiplies(arithmetic: Arithmetic) -> bool:
    """Whether this machine, and the library, have this way to multiply."""
    return library() is not None and bool(library().kws_multiplies(int(arithmetic)))


def fastest() -> Arithmetic | None:
    """The fastest way that this machine has; None without the library."""
    return next(filter(multiplies, reversed(Arithmetic)), None)
