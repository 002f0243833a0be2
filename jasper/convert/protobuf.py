"""Protocol-buffer messages in and out, without a schema: fields as (number, value), sizes checked first.

What MindSpore's checkpoints and SentencePiece's models need of the wire format, no more
(https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields in order: varints as int, all else as a view of its bytes, nothing copied.

    Raises ValueError where the message is cut off or is none.
    """
    place = 0
    while place < len(message):
        tag, place = _read_varint(message, place)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if wire == VARINT:
            value, place = _read_varint(message, place)
            yield number, value
            continue
        if wire == BYTES:
            size, place = _read_varint(message, place)
        elif wire in _FIXED:
            size = _FIXED[wire]
        else:
            raise ValueError(f"a field has the wire type {wire}")
        if size > len(message) - place:
            raise ValueError(f"a field of {size:,} bytes where {len(message) - place:,} are left")
        yield number, message[place : place + size]
        place += size


def field(number: int, value: int | bytes | float) -> bytes:
    """One field: an int as a varint, a float as four bytes, bytes (strings, messages) with their length."""
    if isinstance(value, float):
        return _varint(number << 3 | FIXED32) + struct.pack("<f", value)
    if isinstance(value, int):
        return _varint(number << 3 | VARINT) + _varint(value)
    return _varint(number << 3 | BYTES) + _varint(len(value)) + value


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[place : place + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, place + index + 1
    raise ValueError("a number is cut off or too long")


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
