"""The wire format of protocol buffers, read field by field and never trusted."""

from collections.abc import Iterator
from typing import TypeVar

Piece = TypeVar("Piece", bytes, memoryview)


class DamagedError(Exception):
    """The bytes are no protobuf message."""


def fields(message: Piece) -> Iterator[tuple[int, int | Piece]]:
    """Give the fields of a message in their order.

    Parameters
    ----------
    message : bytes or memoryview
        A serialized message; of a memoryview nothing is copied.

    Yields
    ------
    int
        Number of the field.
    int, bytes or memoryview
        Its value: a whole number, unsigned as it is stored, or a piece of the message that holds
        a text, a nested message or packed numbers. Numbers of fixed width are left out.

    Raises
    ------
    DamagedError
        If the bytes end too early or are no protobuf.
    """
    at, end = 0, len(message)
    try:
        while at < end:
            # Nearly all of these numbers fit into one byte; a call for each would be slow.
            tag = message[at]
            at += 1
            if tag > 127:
                tag, at = _varint(message, at - 1)
            kind = tag & 7
            if tag < 8 or tag >> 32:
                raise DamagedError
            if kind in (0, 2):
                number = message[at]
                at += 1
                if number > 127:
                    number, at = _varint(message, at - 1)
                if kind == 0:
                    yield tag >> 3, number
                    continue
                start = at
                at += number
                if at <= end:
                    yield tag >> 3, message[start:at]
            elif kind == 1:
                at += 8
            elif kind == 5:
                at += 4
            else:
                raise DamagedError
    except IndexError:
        raise DamagedError from None
    if at != end:
        raise DamagedError


def packed(values: bytes | memoryview) -> list[int]:
    """Give the whole numbers of a packed field, unsigned as they are stored."""
    numbers, at = [], 0
    try:
        while at < len(values):
            number, at = _varint(values, at)
            numbers.append(number)
    except IndexError:
        raise DamagedError from None
    return numbers


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Read the number that begins at a place; give it and the place after it."""
    number = 0
    for place in range(10):
        byte = data[at + place]
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number, at + place + 1
    raise DamagedError
