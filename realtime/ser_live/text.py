"""What others wrote, in our messages: short, on one line, and harmless on a terminal."""

import re
import reprlib

LONGEST_TEXT = 200
# Control characters, line separators, what turns the direction of writing, and halves of pairs.
_CONFUSING = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_repr = reprlib.Repr()
_repr.maxlevel = 2
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 4
_repr.maxstring = _repr.maxother = _repr.maxlong = 40


def quoted(value: object) -> str:
    """Give a value as Python writes it, cut to a few words; texts are in quotation marks."""
    try:
        return _repr.repr(value)
    except Exception:  # whatever the object raises; a very long number is too long for Python
        return f"a {type(value).__name__}"


def plain(text: object) -> str:
    """Give a text without quotation marks; what does not print becomes a question mark."""
    return _CONFUSING.sub("?", " ".join(str(text).split())[:LONGEST_TEXT])


def confuses(text: str) -> str | None:
    """Give the first character that would confuse a terminal, if there is one."""
    if text.isascii() and text.isprintable():  # quick, and nearly always so
        return None
    found = _CONFUSING.search(text)
    return found and found[0]
