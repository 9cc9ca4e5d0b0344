"""What a ``.keras`` archive carries beside its weights, read before Keras opens it."""

import re
import zipfile
import zlib
from pathlib import Path

from ser_live.errors import SerError
from ser_live.model.card import KERAS_MEMBER, LONGEST_CARD, ModelCard
from ser_live.model.onnx_check import LARGEST_FILE_BYTES
from ser_live.text import quoted, sanitize

RECORD_MEMBER = "ser.training.json"
"""Who was heard in which role."""

LARGEST_MEMBERS_BYTES = {
    "metadata.json": 2**16,
    "config.json": 2**24,
    "model.weights.h5": LARGEST_FILE_BYTES,
    KERAS_MEMBER: 4 * LONGEST_CARD,
    RECORD_MEMBER: 2**20,
}
"""All that may be inside, unpacked; Keras would write further members to the disk."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)
"""What zipfile raises for damaged archives, encrypted ones and names that are no files."""


def read_archive(path: Path) -> tuple[ModelCard, str | None]:
    """Check what is inside and give our own part of it.

    Nothing is unpacked to the disk, and no member grows beyond its limit.

    Parameters
    ----------
    path : Path
        A ``.keras`` file.

    Returns
    -------
    ModelCard
        Its card.
    str or None
        The record of its training as JSON; None if another program wrote the file.

    Raises
    ------
    SerError
        If the file is missing or no ``.keras`` archive, holds anything else or too much, or
        carries no valid card.
    """
    try:
        if not path.is_file():
            raise SerError("no such file, wanted a .keras model of ser-train fit")
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            members = archive.namelist()
            card = archive.read(KERAS_MEMBER).decode() if KERAS_MEMBER in members else None
            record = archive.read(RECORD_MEMBER).decode() if RECORD_MEMBER in members else None
    except SerError as error:
        raise SerError(f"{sanitize(path)}: {error}") from error
    except _DAMAGE as error:
        raise SerError(f"{sanitize(path)}: not a .keras model ({sanitize(error)})") from error
    if card is None:
        raise SerError(
            f"{sanitize(path)}: no model card inside ({KERAS_MEMBER}); train it with ser-train fit"
        )
    return ModelCard.from_json(card, sanitize(path)), record


def keras_reason(error: Exception) -> str:
    """Give in some words why Keras did not load a model."""
    text = str(error)
    if "arbitrary code" in text:
        return "it brings code of its own, which is never run"
    unknown = re.search(r"Could not (?:locate|find) \w+ '([^']+)'", text)
    if unknown is not None:
        return f"it holds the layer {quoted(unknown[1])}, none of Keras' and none of ser_train's"
    return sanitize(text)


def _check_members(archive: zipfile.ZipFile) -> None:
    seen: set[str] = set()
    for member in archive.infolist():
        name, most = member.filename, LARGEST_MEMBERS_BYTES.get(member.filename)
        if most is None or name in seen:
            raise SerError(
                f"not a .keras model of ser-train: it holds {quoted(name)}, wanted "
                f"{', '.join(LARGEST_MEMBERS_BYTES)}, once each"
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SerError(f"its member {name} is compressed in a way that Keras does not use")
        if member.file_size > most:
            raise SerError(f"its member {name} has {member.file_size} bytes, wanted at most {most}")
        seen.add(name)
    if "config.json" not in seen:
        raise SerError("not a .keras model (no config.json inside)")
