"""The walk over protobuf bytes sees what protobuf itself sees, and nothing else."""

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.models import networks
from ser_live.model.onnx_check import DamagedError, fields, packed

NUMBERS = st.integers(0, 2**64 - 1)
MESSAGES = st.lists(
    st.tuples(st.integers(1, 2**29 - 1), NUMBERS | st.binary(max_size=300)), max_size=8
)


def varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


def encoded(message: list[tuple[int, int | bytes]]) -> bytes:
    data = b""
    for number, value in message:
        kind = 0 if isinstance(value, int) else 2
        data += varint(number << 3 | kind)
        data += varint(value) if isinstance(value, int) else varint(len(value)) + value
    return data


@given(MESSAGES)
def test_a_message_is_its_fields(message: list[tuple[int, int | bytes]]) -> None:
    data = encoded(message)
    assert list(fields(data)) == message
    assert list(fields(memoryview(data))) == message


@given(MESSAGES, st.floats(0, 1))
def test_a_part_of_a_message_is_noticed(
    message: list[tuple[int, int | bytes]], share: float
) -> None:
    data = encoded(message)
    part = data[: round(share * len(data))]
    got: list[tuple[int, object]] = []
    try:
        got += fields(part)
    except DamagedError:
        return
    assert encoded(message[: len(got)]) == part


@given(st.lists(NUMBERS))
def test_packed_numbers(numbers: list[int]) -> None:
    data = b"".join(map(varint, numbers))
    assert packed(data) == numbers
    if numbers:
        with pytest.raises(DamagedError):
            packed(data[:-1] + bytes([data[-1] | 128]))


@pytest.mark.parametrize(
    "data",
    [b"\x00\x01", b"\x07", b"\x0b", b"\x0c", b"\x0a\x02a", b"\x0d\0\0\0", b"\x09" + bytes(7),
     b"\x08", b"\x08" + b"\xff" * 11, b"\xff" * 5 + b"\x01\0", b"\x0a" + b"\xff" * 9 + b"\x01"],
)  # fmt: skip
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(DamagedError):
        list(fields(data))


def test_numbers_of_fixed_width_are_left_out() -> None:
    data = b"\x0d" + bytes(4) + b"\x08\x05" + b"\x11" + bytes(8)
    assert list(fields(data)) == [(1, 5)]


@pytest.mark.parametrize("model", networks())
def test_onnx_sees_the_same_nodes(model: onnx.ModelProto) -> None:
    (graph,) = (value for number, value in fields(model.SerializeToString()) if number == 7)
    assert isinstance(graph, bytes)
    nodes = [value for number, value in fields(graph) if number == 1]
    kinds = [[v for n, v in fields(node) if n == 4] for node in nodes if isinstance(node, bytes)]
    assert kinds == [[node.op_type.encode()] for node in model.graph.node]
