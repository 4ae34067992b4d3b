"""Text from files and runtimes, made fit to be shown."""

from __future__ import annotations

# Joiners that words of several scripts are spelled with; Python does not count them as printable.
JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """The text with all that could steer a terminal written as escapes: controls, directions,
    lone surrogates and line breaks. Everything else, of any script, stays.
    """
    return "".join(
        each if each.isprintable() or each in JOINERS else ascii(each)[1:-1] for each in text
    )
