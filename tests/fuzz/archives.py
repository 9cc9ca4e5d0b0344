"""Model files of Keras: zip archives that lie about what they hold."""

import io
import json
import struct
import zipfile
from random import Random

from fuzz import attempt, cards, scratch
from ser_live.model.card import KERAS_MEMBER
from ser_train.models.keras_file import LARGEST_MEMBERS_BYTES, RECORD_MEMBER, read_record

NAMES = ("../../evil", "/etc/passwd", "assets/x", "config.json", "a\0b", "\x1b[2J", "x" * 300, "")
SIZES = (0, 1, 2**16, 2**31, 2**32 - 1)
RECORD = {"training_speakers": ["a"], "validation_speakers": [], "test_speakers": ["b"], "seed": 0}


def check(data: bytes) -> None:
    path = scratch("input.keras")
    path.write_bytes(data)
    attempt(read_record, path)


def seeds() -> list[bytes]:
    members = {
        "metadata.json": b"{}",
        "config.json": b"{}",
        "model.weights.h5": bytes(100),
        KERAS_MEMBER: cards.seeds()[0],
        RECORD_MEMBER: json.dumps(RECORD).encode(),
    }
    return [_packed(members, kind) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


def mutate(data: bytes, random: Random) -> bytes:
    """Pack other members, or change a number in the directory at the end."""
    if random.random() < 0.5:
        return _lying(data, random)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(list(members))
    what = random.random()
    if what < 0.2:
        del members[name]
    elif what < 0.5:
        members[random.choice(NAMES)] = members.pop(name)
    elif what < 0.6:
        members[name] = bytes(random.choice((0, LARGEST_MEMBERS_BYTES.get(name, 0) + 1)) % 2**23)
    else:
        members[name] = cards.mutate(members[name], random)
    return _packed(members, random.choice((0, 8, 8, 12, 14)))


def _lying(data: bytes, random: Random) -> bytes:
    """Change a field of a member's entry: sizes, offsets, flags, compression."""
    changed = bytearray(data)
    at = changed.find(b"PK\x01\x02", random.randrange(len(data)))
    if at < 0:
        at = changed.find(b"PK\x01\x02")
    place, width = random.choice(((8, 2), (10, 2), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4)))
    value = random.choice(SIZES) % 2 ** (8 * width)
    struct.pack_into("<H" if width == 2 else "<I", changed, at + place, value)
    return bytes(changed)


def _packed(members: dict[str, bytes], compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
