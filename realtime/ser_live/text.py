"""Foreign text in our messages: short, on one line, and harmless on a terminal."""

import re
import reprlib

LONGEST_TEXT = 200
# Control characters, line separators, what turns the direction of writing, and halves of pairs.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_repr = reprlib.Repr()
_repr.maxlevel = 2
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 4
_repr.maxstring = _repr.maxother = _repr.maxlong = 40


def quoted(value: object) -> str:
    """Return a value as Python writes it, cut to a few words; texts are in quotation marks."""
    try:
        return _repr.repr(value)
    except Exception:  # whatever the object raises; a very long number is too long for Python
        return f"a {type(value).__name__}"


def sanitize(text: object) -> str:
    """Return a text on one line, unquoted; a character that does not print becomes ``?``."""
    return _CONTROL.sub("?", " ".join(str(text).split())[:LONGEST_TEXT])


def find_control_char(text: str) -> str | None:
    """Return the first character that would confuse a terminal, or None."""
    if text.isascii() and text.isprintable():  # quick, and nearly always so
        return None
    found = _CONTROL.search(text)
    return found and found[0]
