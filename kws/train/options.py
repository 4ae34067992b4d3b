"""Options of a run by their dotted names, such as sampler.noisy=0.5."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any


def with_options(config: Any, changes: Sequence[str]) -> Any:
    """The dataclass `config` with each NAME=VALUE changed; a name is dotted from part to part.

    Values are Python's: 0.5, 3, True, (-5.0, 30.0). Raises ValueError for a name that is none,
    and for a value of another type than the one that is there.
    """
    for change in changes:
        name, separator, text = change.partition("=")
        if not separator:
            raise ValueError(f"expected NAME=VALUE, such as sampler.noisy=0.5, got {change!r}")
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            raise ValueError(f"{name}: expected a number or (a, b), got {text!r}") from None
        config = _changed(config, name.strip().split("."), value, name.strip())
    return config


def _changed(config: Any, path: list[str], value: Any, name: str) -> Any:
    known = [field.name for field in fields(config)]
    if path[0] not in known:
        raise ValueError(f"there is no option {name}; known here are {', '.join(known)}")
    old = getattr(config, path[0])
    if len(path) > 1:
        if not is_dataclass(old):
            raise ValueError(f"there is no option {name}; {path[0]} has no parts")
        return replace(config, **{path[0]: _changed(old, path[1:], value, name)})
    if type(old) is float and type(value) is int:
        value = float(value)
    if is_dataclass(old) or type(value) is not type(old):
        raise ValueError(f"{name} is {old!r}; expected a value of its kind, got {value!r}")
    return replace(config, **{path[0]: value})
