"""Options from a file in TOML: each long option is a key without its dashes, and flags win.

A command takes part once its `add_arguments` calls `add_config`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from kws.errors import KwsError, SettingError
from kws.nearest import nearest

LARGEST = 1 << 20  # bytes of a file
NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "an array of strings",
    dict: "a table of numbers",
}


class _Given(argparse.Namespace):
    """Notes which options the flags give: argparse sets no defaults where there is a value."""

    def __init__(self, actions: Iterable[argparse.Action]) -> None:
        # None, which an option that is given several times takes for an empty list.
        self.__dict__.update(dict.fromkeys(each.dest for each in actions), _noted=set())

    def __setattr__(self, name: str, value: Any) -> None:
        self._noted.add(name)
        super().__setattr__(name, value)


class Options(argparse.Namespace):
    """What a command is to do, and where each value came from."""

    parser: argparse.ArgumentParser
    arguments: Sequence[str]
    siblings: Callable[[], Sequence[argparse.ArgumentParser]]
    origins: dict[str, str]  # default, file or flag, by key

    def reread(self) -> Options:
        """The same flags with the file as it is now; raises what `parse` raises."""
        return parse(self.parser, self.arguments, self.siblings)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare --config."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="take options from this TOML file too; flags win over it (docs/configuration.md)",
    )


def parse(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str],
    siblings: Callable[[], Sequence[argparse.ArgumentParser]] = list,
) -> Options:
    """The options of the flags, else of the file that --config names, else the defaults.

    The file may hold options of `siblings` too, which are checked and left to those commands; their
    parsers are made only where there is a file.
    Wrong flags end the program as argparse does. Raises KwsError for a file that cannot be read and
    SettingError, with the line and the key, for what it may not hold.
    """
    actions = keys(parser)
    flags = parser.parse_args(arguments, _Given(parser._actions))
    given = {key for key, each in actions.items() if each.dest in flags._noted}
    path: Path | None = getattr(flags, "config", None)
    values = {}
    if path:
        known = {key: each for sibling in siblings() for key, each in keys(sibling).items()}
        values = _Reader(path, known | actions).values()
    values = {key: value for key, value in values.items() if key in actions}
    _check_groups(parser, values, path)
    values = {key: value for key, value in values.items() if not _beaten(parser, key, given)}
    options = Options(**{actions[key].dest: value for key, value in values.items()})
    parser.parse_args(arguments, options)
    options.parser, options.arguments, options.siblings = parser, arguments, siblings
    options.origins = {
        key: "flag" if key in given else "file" if key in values else "default" for key in actions
    }
    return options


def keys(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options that a file may hold, by key: the long option without its dashes."""
    return {
        key: action
        for action in parser._actions
        if action.option_strings and (key := _key(action)) not in ("help", "config")
    }


def _key(action: argparse.Action) -> str:
    return action.option_strings[-1].lstrip("-")


def _groups(parser: argparse.ArgumentParser) -> list[list[str]]:
    """The keys of which only one may be given."""
    return [
        [_key(each) for each in group._group_actions] for group in parser._mutually_exclusive_groups
    ]


def _beaten(parser: argparse.ArgumentParser, key: str, given: set[str]) -> bool:
    """Whether a flag takes the place of a key of the file."""
    return key in given or any(key in group and given & {*group} for group in _groups(parser))


def _check_groups(
    parser: argparse.ArgumentParser, values: dict[str, Any], path: Path | None
) -> None:
    for group in _groups(parser):
        several = [key for key in group if values.get(key) not in (None, False)]
        if len(several) > 1:
            raise SettingError(f"{path}: expected one of {', '.join(several)}, got them together")


class _Reader:
    """Reads a file for the options that a command has."""

    def __init__(self, path: Path, actions: dict[str, argparse.Action]) -> None:
        self._path, self._actions = path, actions
        try:
            if path.is_fifo():  # which would wait for ever for somebody to write into it
                raise SettingError(f"{path}: expected a file, got a pipe; save it to a file first")
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
        except OSError as error:
            raise KwsError(f"cannot read {path}: {error.strerror}") from error
        if len(content) > LARGEST:
            raise SettingError(f"{path}: expected at most {LARGEST} bytes")
        if sys.version_info >= (3, 11):  # imported here, since most runs read no file
            import tomllib
        else:
            import tomli as tomllib
        try:
            self._text = content.decode("utf-8").replace("\r\n", "\n")
            self._table = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise SettingError(f"{path}: expected TOML: {error}") from error

    def values(self) -> dict[str, Any]:
        """Its values, as the flags would have given them, by key."""
        found = {}
        for key, value in self._table.items():
            action = self._actions.get(key)
            if action is None:
                near = nearest(key, self._actions)
                hint = f"; did you mean {near}?" if near else ""
                raise self._wrong(key, f"unknown key{hint}")
            try:
                found[key] = _converted(action, value)
            except argparse.ArgumentTypeError as error:
                raise self._wrong(key, str(error)) from error
        return found

    def _wrong(self, key: str, message: str) -> SettingError:
        line = re.compile(rf"""\s*\[?\s*["']?{re.escape(key)}["']?\s*[].=]""")
        numbers = [
            number for number, text in enumerate(self._text.split("\n"), 1) if line.match(text)
        ]
        where = f", line {numbers[0]}" if numbers else ""
        return SettingError(f"{self._path}{where}: {key}: {message}")


def _converted(action: argparse.Action, value: Any) -> Any:
    """What a flag would have made of a value; raises ArgumentTypeError for one of a wrong type."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise _unexpected([bool], value)
        return value
    if isinstance(action, argparse._AppendAction) or action.nargs in ("+", "*"):
        if not isinstance(value, list):
            raise _unexpected([tuple], value)
        return [_one(action, each) for each in value]
    return _one(action, value)


def _one(action: argparse.Action, value: Any) -> Any:
    kinds = _kinds(action)
    if not any(_is(kind, value) for kind in kinds):
        raise _unexpected(kinds, value)
    if value == [] and tuple in kinds:  # as `kws config` prints none
        return action.default
    convert: Any = action.type or str
    try:
        converted = convert(_as_flag(value))
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{_shown(value)} does not fit: {error}") from error
    if action.choices is not None and converted not in action.choices:
        choices = ", ".join(map(str, action.choices))
        raise argparse.ArgumentTypeError(f"expected one of {choices}, got {_shown(value)}")
    return converted


def _kinds(action: argparse.Action) -> list[type]:
    """The types of TOML that an option takes: those that the function of its values returns."""
    convert = action.type
    if convert is None or isinstance(convert, str):
        return [str]
    returned = convert if isinstance(convert, type) else _returned(convert)
    union = typing.get_origin(returned) in (types.UnionType, typing.Union)
    members = typing.get_args(returned) if union else (returned,)
    kinds = [typing.get_origin(each) or each for each in members]
    return [each if each in NAMES else str for each in kinds]


def _returned(function: Any) -> Any:
    try:
        return typing.get_type_hints(function).get("return", str)
    except NameError:  # a type that only the type checker imports
        return str


def _is(kind: type, value: Any) -> bool:
    if kind is tuple:
        return isinstance(value, list) and all(
            isinstance(each, str) and "," not in each for each in value
        )
    if kind is dict:
        return isinstance(value, dict) and all(
            _is(float, each) and "," not in key for key, each in value.items()
        )
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _as_flag(value: Any) -> str:
    """A value as it would stand after a flag."""
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, dict):
        return ",".join(f"{key}={each!r}" for key, each in value.items())
    return str(value)


def _unexpected(kinds: Sequence[type], value: Any) -> argparse.ArgumentTypeError:
    expected = " or ".join(NAMES[kind] for kind in kinds)
    return argparse.ArgumentTypeError(f"expected {expected}, got {_shown(value)}")


def _shown(value: Any) -> str:
    """A value for a message."""
    if isinstance(value, datetime | date | time):
        return f"the time {value}"
    text = as_toml(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_toml(value: Any) -> str:
    """A value of an option, or of a file, in one line of TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        pairs = (f"{_toml_key(key)} = {as_toml(each)}" for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_toml(each) for each in value)}]"
    # JSON's escapes are TOML's, but for one character that only TOML escapes.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else as_toml(key)
