"""What somebody probably meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one is nearest to; None where none is near."""
    import difflib  # where nothing is wrong it is not needed

    return next(iter(difflib.get_close_matches(name.casefold(), list(known), 1)), None)
