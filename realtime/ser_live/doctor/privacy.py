"""What a report that people post must not hold: their name and their folders."""

import getpass
import re
from pathlib import Path


def without_names(value: object) -> object:
    """Replace the home folder by ``~`` and the user's name by ``USER`` in every string.

    Parameters
    ----------
    value : object
        Plain JSON values: strings, numbers, lists, tuples and dicts.
    """
    homes = [(rf"(?<!\w){re.escape(home)}(?![\w-])", "~") for home in _homes()]
    return _replaced(value, homes + _names())


def _replaced(value: object, patterns: list[tuple[str, str]]) -> object:
    if isinstance(value, str):
        for pattern, replacement in patterns:
            value = re.sub(pattern, replacement, value, flags=re.IGNORECASE)
        return value
    if isinstance(value, dict):
        return {key: _replaced(item, patterns) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, patterns) for item in value]
    return value


def _homes() -> list[str]:
    """Give the home folder as it is called, and as it is called without links."""
    try:
        home = Path.home()
        homes = {str(home), str(home.resolve())}
    except (RuntimeError, OSError):  # nobody's home: a container's made-up user
        return []
    return sorted((path for path in homes if path != home.anchor), key=len, reverse=True)


def _names() -> list[tuple[str, str]]:
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        return []
    # In paths alone: a user may be called what a sentence says.
    return [(rf"(?<=[/\\])([^/\\\s]*?)(?<![^\W_]){re.escape(name)}(?![^\W_])", r"\1USER")]
