"""The wire format of protocol buffers, read field by field and never trusted."""

from collections.abc import Iterator

Field = tuple[int, "int | memoryview"]


class DamagedError(Exception):
    """The bytes are no protobuf message."""


def fields(message: memoryview) -> Iterator[Field]:
    """Give the fields of a message in their order.

    Parameters
    ----------
    message : memoryview
        A serialized message; nothing of it is copied.

    Yields
    ------
    int
        Number of the field.
    int or memoryview
        Its value: a whole number, unsigned as it is stored, or the bytes of a text, of a nested
        message or of packed numbers. Numbers of fixed width (floats) are left out.

    Raises
    ------
    DamagedError
        If the bytes end too early or are no protobuf.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if not 8 <= tag < 1 << 32:
            raise DamagedError
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise DamagedError
        if size > end - at:
            raise DamagedError
        if kind == 2:
            yield tag >> 3, message[at : at + size]
        at += size


def packed(values: memoryview) -> list[int]:
    """Give the whole numbers of a packed field, unsigned as they are stored."""
    numbers, at = [], 0
    while at < len(values):
        number, at = _varint(values, at)
        numbers.append(number)
    return numbers


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read the number that begins at a place; give it and the place after it."""
    try:
        number = data[at]
        if number < 128:
            return number, at + 1
        number &= 127
        for place in range(1, 10):
            byte = data[at + place]
            number |= (byte & 127) << (7 * place)
            if byte < 128:
                return number, at + place + 1
    except IndexError:
        pass
    raise DamagedError
