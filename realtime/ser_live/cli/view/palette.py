"""Colours and signs: legible on dark and light, without colour, and in ASCII."""

from collections.abc import Iterable, Mapping
from typing import get_args

from ser_live.events import EventKind

# Middling luminances: each has a contrast of 3 or more both to white and to nearly black.
GREY = "#7a8290"
TRACK = "dim #7a8290"
RED = "#d9483b"
AMBER = "#b08a00"
GREEN = "#5f9a2e"

EVENT_COLORS: Mapping[EventKind, str] = {
    **dict.fromkeys(get_args(EventKind), AMBER),
    "device_lost": RED,
    "device_restored": GREEN,
    "gap": RED,
    "model_swapped": GREEN,
}

_ASCII = str.maketrans("━╸─█▒▄▁·×…●", "=-.#+~_.x~*")  # noqa: RUF001 - that is the sign
_CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], " ")


def label_letters(labels: Iterable[str]) -> dict[str, str]:
    """Return a letter of its own for every label, where colours cannot tell them apart."""
    chosen: dict[str, str] = {}
    for label in labels:
        free = (c for c in label + "abcdefghijklmnopqrstuvwxyz" if c not in chosen.values())
        chosen[label] = next(free, "?")
    return chosen


def printable(text: str) -> str:
    """Replace control characters, which a device's name may hold, by blanks."""
    return text.translate(_CONTROLS)


def in_ascii(text: str) -> str:
    """Replace every character by one of ASCII, so that nothing moves."""
    return printable(text).translate(_ASCII).encode("ascii", "replace").decode()
