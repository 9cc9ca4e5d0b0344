"""Settings from flags, variables and a TOML file: one table makes all three, and shows them."""

import argparse
import contextlib
import json
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from ser_live.errors import SerError
from ser_live.text import quoted, sanitize

PREFIX = "SER_"
CONFIG_FLAG = "--config"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
_LARGEST_FILE_BYTES = 2**20
_UNITS = {int: "N", float: "S"}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table; `setting` makes it, and the field that it belongs to completes it."""

    told: str
    """Words of its help."""
    wanted: str
    """Words of what fits, in an error."""
    fits: Callable[[Any], object] = lambda value: True
    """True for a value that fits."""
    key: str = ""
    """In a file; flag and variable are made of it. Empty: the name of the field."""
    group: str = ""
    """Heading in the help; empty: among the general ones."""
    metavar: str = ""
    other_variable: str = ""
    """Second name of its variable."""
    is_secret: bool = False
    is_of_token: bool = False
    """A token may have its own."""
    name: str = ""
    """Of the field."""
    kind: type = str
    is_list: bool = False
    default: Any = None

    @property
    def flag(self) -> str:
        """Name on the command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def variables(self) -> list[str]:
        """Names in the environment; the first one that is set counts."""
        return [PREFIX + self.key.upper(), *filter(None, [self.other_variable])]

    def read(self, given: object, whence: str, *, is_text: bool = False) -> Any:
        """Return what was given as the value that is kept.

        Raises
        ------
        SerError
            If it does not fit; the line names `whence`.
        """
        if not self.is_list:
            return self._read_one(given, whence, is_text)
        if isinstance(given, (list, tuple)):
            return tuple(self._read_one(one, whence, is_text) for one in given)
        raise SerError(f"{whence} is {quoted(given)}, wanted a list, each {self.wanted}")

    def _read_one(self, given: object, whence: str, is_text: bool) -> Any:
        kinds = (str,) if is_text else (int, float) if self.kind is float else (self.kind,)
        # In Python true is a number, too.
        if isinstance(given, kinds) and not isinstance(given, bool):
            with contextlib.suppress(ValueError, OverflowError):
                if self.fits(value := self.kind(given)):
                    return value
        came = "does not fit" if self.is_secret else f"is {quoted(given)}"
        raise SerError(f"{whence} {came}, wanted {self.wanted}")


@dataclass(frozen=True, slots=True)
class Given:
    """A value that holds, and where it comes from."""

    value: Any
    whence: str


def setting(default: Value, told: str, *, wanted: str, **options: Any) -> Value:
    """Make the field of a dataclass that is a setting; the options are those of `Setting`."""
    row = Setting(told=told, wanted=wanted, **options)
    return field(default=default, metadata={"setting": row})


def settings_of(record: type) -> list[Setting]:
    """Return the rows of a dataclass."""
    return [
        replace(
            row,
            name=one.name,
            key=row.key or one.name,
            # `int | None` and `Sequence[str]` have what is asked for first.
            kind=(get_args(one.type) or (one.type,))[0],
            is_list=get_origin(one.type) is Sequence,
            default=one.default,
        )
        for one in fields(record)
        if (row := one.metadata.get("setting")) is not None
    ]


def check(record: Any) -> None:
    """Raise SerError if a record has a value that does not fit; for programs that make one."""
    for row in settings_of(type(record)):
        value = getattr(record, row.name)
        if value != row.default:
            row.read(value, row.name)


def add_flags(parser: argparse.ArgumentParser, table: Iterable[Setting]) -> None:
    """Add a flag for each row; one that is not given leaves no trace."""
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for row in table:
        if row.group not in groups:
            groups[row.group] = parser.add_argument_group(row.group)
        default = f"{row.default:g}" if row.kind is float else row.default
        empty = "none" if row.default in (None, "") else default
        note = "may be repeated" if row.is_list else f"default: {empty}"
        groups[row.group].add_argument(
            row.flag,
            dest=row.key,
            action="append" if row.is_list else "store",
            default=argparse.SUPPRESS,
            metavar=row.metavar or _UNITS.get(row.kind, row.key.upper()),
            help=f"{row.told}; {note}",
        )


def gather(table: Sequence[Setting], flags: Mapping[str, Any]) -> dict[str, Given]:
    """Return what was given, by key: a flag counts before a variable, and that before the file.

    Raises
    ------
    SerError
        If a value does not fit, or the file cannot be read.
    """
    given = {}
    if path := flags.get("config") or os.environ.get(CONFIG_VARIABLE):
        where = f"{sanitize(path)}:"
        for key, value in read_keys(table, read_toml(path), where).items():
            given[key] = Given(value, f"{where} {key}")
    for row in table:
        for variable in reversed(row.variables):
            # Set to nothing, as compose files do, it is not set.
            if text := os.environ.get(variable):
                parts = [part for one in text.split(",") if (part := one.strip())]
                value = row.read(parts if row.is_list else text, variable, is_text=True)
                given[row.key] = Given(value, variable)
        if row.key in flags:
            given[row.key] = Given(row.read(flags[row.key], row.flag, is_text=True), row.flag)
    return given


def shown(table: Iterable[Setting], given: Mapping[str, Given]) -> str:
    """Return all values with where they come from, as TOML that can be given back."""
    lines = ["# The values that hold, and where they come from. Secrets are left out."]
    for row in table:
        one = given.get(row.key, Given(row.default, "default"))
        if one.value is None or row.is_secret:
            line = f"# {row.key}: {'none' if one.value is None else 'hidden'}"
        else:
            # To ask for a value is more than to have it by default.
            line = f"{'' if row.key in given else '# '}{row.key} = {_toml(one.value)}"
        lines.append(f"{line}  # {one.whence}")
    return "\n".join(lines)


def read_toml(path: str) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises
    ------
    SerError
        If it cannot be read or is no TOML.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
        if len(data) > _LARGEST_FILE_BYTES:
            raise SerError(
                f"{sanitize(path)}: is larger than {_LARGEST_FILE_BYTES} bytes, wanted a TOML file"
            )
        # Some editors of Windows put a mark before the text.
        return tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        reason = f"cannot read it ({sanitize(error.strerror)})"
    except (ValueError, RecursionError) as error:
        reason = f"is no TOML ({sanitize(error)})"
    raise SerError(f"{sanitize(path)}: {reason}; wanted a TOML file in UTF-8")


def read_keys(table: Iterable[Setting], holds: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the values of a table of TOML by key.

    Raises
    ------
    SerError
        If a key is unknown or a value does not fit; the line begins with `where`.
    """
    rows = {row.key: row for row in table}
    if unknown := [key for key in holds if key not in rows]:
        alike = get_close_matches(unknown[0], rows, 1) or sorted(rows)
        raise SerError(f"{where} has no setting {quoted(unknown[0])}, wanted {', '.join(alike)}")
    return {key: rows[key].read(value, f"{where} {key}") for key, value in holds.items()}


def _toml(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    # A text of JSON is one of TOML, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
