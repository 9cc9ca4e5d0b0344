"""Checked records from JSON of any origin: each field of its type, or one line of error."""

import dataclasses
import functools
import json
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ser_live.errors import SerError
from ser_live.text import find_control_char, quoted, sanitize

_HUGE = 1e300
_LARGEST_WHOLE = 2**53
_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}

Record = typing.TypeVar("Record")


def record_from_json(
    wanted: type[Record],
    text: str,
    name: str,
    check: Callable[[object], None] = lambda data: None,
) -> Record:
    """Read one JSON object as a record.

    Parameters
    ----------
    wanted : dataclass
        Fields may be texts, numbers, truth values, other records, tuples of these, mappings of
        texts to one of these, or one of these or None (written in this order).
    text : str
        The JSON.
    name : str
        What the record is called in messages.
    check : callable
        Takes the parsed JSON before it becomes a record, and may refuse it.

    Raises
    ------
    SerError
        If it is no JSON, names a field twice, or a field is missing, unknown or of the wrong
        type; the message names the field, what it held and what was wanted. Texts with control
        characters are refused: they end up on terminals.
    """
    try:
        unique = functools.partial(_object, name)
        data = json.loads(text, object_pairs_hook=unique, parse_int=_whole)
    except (TypeError, ValueError, RecursionError) as error:
        raise SerError(f"{name} is no valid JSON ({sanitize(error)})") from error
    check(data)
    return typing.cast(Record, _decode(wanted, data, name))


def _object(name: str, pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(field for field, _ in pairs)
        raise SerError(f"{name} has the field {quoted(counts.most_common(1)[0][0])} twice")
    return found


def _whole(digits: str) -> int | float:
    """Return a number; one too long for any field as a float, which is quickly made."""
    return int(digits) if len(digits) < 20 else float(digits)


def _decode(wanted: Any, value: object, field: str) -> object:
    """Turn parsed JSON into the type that a field wants, or say what does not fit."""
    inner = typing.get_args(wanted)
    if isinstance(wanted, types.UnionType):  # of a type and None
        return None if value is None else _decode(inner[0], value, field)
    if typing.get_origin(wanted) is Mapping:
        if not isinstance(value, dict):
            raise SerError(f"{field} is {quoted(value)}, wanted an object")
        return {k: _decode(inner[1], v, f"{field}.{sanitize(k)}") for k, v in value.items()}
    if inner:
        if not isinstance(value, list):
            raise SerError(f"{field} is {quoted(value)}, wanted a list")
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(value):
            raise SerError(f"{field} has {len(value)} values, wanted {len(kinds)}")
        pairs = enumerate(zip(kinds, value, strict=True))
        return tuple(_decode(kind, v, f"{field}[{i}]") for i, (kind, v) in pairs)
    if wanted in _NAMES:
        return _single(wanted, value, field)
    return _record(wanted, value, field)


def _single(wanted: type, value: Any, field: str) -> object:
    kind: type = type(value)  # not isinstance, as True is no number here
    if wanted is float and kind is int:
        kind, value = float, float(value)
    if kind is not wanted or (wanted is int and abs(value) > _LARGEST_WHOLE):
        raise SerError(f"{field} is {quoted(value)}, wanted {_NAMES[wanted]}")
    if wanted is float and not abs(value) < _HUGE:
        raise SerError(f"{field} is {quoted(value)}, wanted a finite number")
    character = find_control_char(value) if wanted is str else None
    if character is not None:
        raise SerError(
            f"{field} is {quoted(value)} with the character U+{ord(character):04X}, wanted a text "
            "of one line without control characters"
        )
    return value


def _record(wanted: Any, value: object, field: str) -> object:
    if not isinstance(value, dict):
        raise SerError(f"{field} is {quoted(value)}, wanted an object")
    types_of, needed = _fields(wanted)
    unknown = sorted(value.keys() - types_of.keys())
    if unknown:
        raise SerError(
            f"{field} has the unknown field {quoted(unknown[0])}; the fields are "
            f"{', '.join(types_of)}"
        )
    missing = [name for name in needed if name not in value]
    if missing:
        raise SerError(f"{field} lacks the field {missing[0]!r}")
    return wanted(**{k: _decode(types_of[k], v, f"{field}.{k}") for k, v in value.items()})


@functools.cache
def _fields(wanted: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the types of a record's fields, and the names of those without a default."""
    needed = [
        f.name
        for f in dataclasses.fields(wanted)
        if f.default is f.default_factory is dataclasses.MISSING
    ]
    return typing.get_type_hints(wanted), needed
