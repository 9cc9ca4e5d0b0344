"""What others wrote, in our messages: short, on one line, and harmless on a terminal."""

import reprlib

LONGEST_TEXT = 200

_repr = reprlib.Repr()
_repr.maxlevel = 2
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 4
_repr.maxstring = _repr.maxother = _repr.maxlong = 40


def quoted(value: object) -> str:
    """Give a value as Python writes it, cut to a few words; texts are in quotation marks."""
    return _repr.repr(value)


def plain(text: object) -> str:
    """Give a text without quotation marks; what does not print becomes a question mark."""
    line = " ".join(str(text).split())[:LONGEST_TEXT]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
