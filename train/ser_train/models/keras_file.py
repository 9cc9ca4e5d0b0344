"""Model files: what Keras saves, with the model card and the training's record inside.

An archive is checked before Keras opens it: nothing is unpacked to the disk, no member grows
beyond its limit, and code inside it never runs.
"""

import dataclasses
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.model.card import KERAS_MEMBER, LONGEST_CARD, ModelCard
from ser_live.model.classifier import INPUT_NAME, OUTPUT_NAME
from ser_live.model.json_records import record_from_json
from ser_live.model.onnx_check import LARGEST_FILE_BYTES
from ser_live.model.prior import ORDINARY_NAME
from ser_live.text import quoted, sanitize
from ser_train.files import write_atomically
from ser_train.models.training_record import TrainingRecord

RECORD_MEMBER = "ser.training.json"
"""Member with the speakers of each role and the marks of their recordings."""

LARGEST_MEMBERS_BYTES = {
    "metadata.json": 2**16,
    "config.json": 2**24,
    "model.weights.h5": LARGEST_FILE_BYTES,
    KERAS_MEMBER: 4 * LONGEST_CARD,
    RECORD_MEMBER: 2**24,
}
"""All that may be inside, unpacked; Keras would write further members to the disk."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)
"""Errors of zipfile for damaged archives, encrypted ones and names that are no files."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A loaded ``.keras`` file."""

    model: Any
    card: ModelCard
    record: TrainingRecord | None
    """None if another program wrote the file."""


def save_model(path: Path, model: Any, card: ModelCard, record: TrainingRecord) -> None:
    """Write a ``.keras`` file in one step."""

    def write(unfinished: Path) -> None:
        model.save(unfinished)
        with zipfile.ZipFile(unfinished, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(KERAS_MEMBER, card.to_json())
            archive.writestr(RECORD_MEMBER, json.dumps(dataclasses.asdict(record)))

    write_atomically(path, write)


def load_model(path: Path, card: ModelCard | None = None) -> ModelFile:
    """Read a ``.keras`` file with its card.

    Parameters
    ----------
    path : Path
    card : ModelCard or None
        In place of the one inside, which another program's file lacks.

    Raises
    ------
    SerError
        As `read_record`, or if the file holds a layer that we do not know, or a model whose axes
        are not those of its card, or that does not end in probabilities, or in a dictionary of
        "probabilities" and "ordinary", each made by the layer of that name.
    """
    card, record = read_record(path, card)
    model = read_keras(path)
    # None: no model with fixed axes, such as a bare layer or a Sequential without an input.
    shapes = tuple(getattr(model, name, None) for name in ("input_shape", "output_shape"))
    both = [ORDINARY_NAME, OUTPUT_NAME]  # in the order of Keras
    names = [layer.name for layer in getattr(model, "layers", ())]
    has_ordinary = getattr(model, "output_names", None) == both and {*both} <= {*names}
    probabilities = (None, len(card.labels))
    outputs = [(None, 1), probabilities] if has_ordinary else probabilities
    wanted = ((None, None, card.spectrum.bins), outputs)
    if shapes != wanted:
        raise SerError(f"{sanitize(path)}: its axes are {shapes}, its card wants {wanted}")
    if card.ordinary_odds and not has_ordinary:
        raise SerError(
            f"{sanitize(path)}: its card has ordinary_odds {card.ordinary_odds:g}, which wants an "
            f"output {ORDINARY_NAME!r}"
        )
    ends = (model.inputs[0].name, OUTPUT_NAME if has_ordinary else names[-1])
    if ends != (INPUT_NAME, OUTPUT_NAME):
        raise SerError(
            f"{sanitize(path)}: it leads from {quoted(ends[0])} to {quoted(ends[1])}, wanted a "
            f"model of ser-train, from {INPUT_NAME!r} to {OUTPUT_NAME!r}"
        )
    return ModelFile(model, card, record)


def read_record(
    path: Path, given: ModelCard | None = None
) -> tuple[ModelCard, TrainingRecord | None]:
    """Read the card of a ``.keras`` file and who was in its training; Keras is not needed.

    Nothing is unpacked to the disk, and no member grows beyond its limit.

    Parameters
    ----------
    path : Path
        A ``.keras`` file.
    given : ModelCard or None
        In place of the one inside.

    Returns
    -------
    ModelCard
        Its card.
    TrainingRecord or None
        None if another program wrote the file.

    Raises
    ------
    SerError
        If the file is missing or no ``.keras`` archive, holds anything else or too much, or
        carries no valid card, or a damaged record.
    """
    try:
        if not path.is_file():
            raise SerError("no such file, wanted a .keras model of ser-train fit")
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            members = archive.namelist()
            card = archive.read(KERAS_MEMBER).decode() if KERAS_MEMBER in members else None
            text = archive.read(RECORD_MEMBER).decode() if RECORD_MEMBER in members else None
    except SerError as error:
        raise SerError(f"{sanitize(path)}: {error}") from error
    except _DAMAGE as error:
        raise SerError(f"{sanitize(path)}: not a .keras model ({sanitize(error)})") from error
    record = None if text is None else _record(text, path)
    if given is not None:
        return given, record
    if card is None:
        raise SerError(
            f"{sanitize(path)}: no model card inside ({KERAS_MEMBER}); train it with ser-train "
            "fit, or export it with ser-export --card"
        )
    return ModelCard.from_json(card, sanitize(path)), record


def keras_reason(error: Exception) -> str:
    """Return in some words why Keras did not load a model."""
    text = str(error)
    if "arbitrary code" in text:
        return "it brings code of its own, which is never run"
    unknown = re.search(r"Could not (?:locate|find) \w+ '([^']+)'", text)
    if unknown is not None:
        return (
            f"it holds the layer {quoted(unknown[1])}, none of Keras' and none of ser_train's; one "
            "of your own wants keras.saving.register_keras_serializable, and --network to import it"
        )
    return sanitize(text)


def require_one_start(
    network: str,
    init: Path | None,
    encoder: Path | None = None,
    settings: Sequence[tuple[str, str]] = (),
) -> None:
    """Check that a training starts either afresh or with a model file.

    Raises
    ------
    SerError
        If both or none are wanted, but for the model of a network of one's own, or an encoder's
        file for a model that has its encoder inside, or a setting has no effect.
    """
    if init and ":" in network:  # the code of its layers
        if (name := read_record(init)[0].network) != network:
            raise SerError(f"--network names {network}, but {init} is of {name}")
    elif bool(network) == bool(init):
        raise SerError("wanted one of --network NAME (a new model) and --init MODEL.keras")
    if init and encoder:
        raise SerError("--encoder goes with --network: the model of --init has its encoder inside")
    if init and {"recipe.epochs", "recipe.batch_clips"} & dict(settings).keys():
        raise SerError("with --init give --epochs and --batch: the recipe decides neither")
    if init and any(field.startswith("recipe.upper") for field, _ in settings):
        raise SerError("an adaptation keeps the encoder as it is: leave out recipe.upper")


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_keras(path: Path) -> Any:
    """Read a model without looking at its card; what is no layer of ours or Keras' is refused."""
    import keras  # noqa: PLC0415 - a file that does not fit is refused without it

    import ser_train.layers  # noqa: F401, PLC0415 - registers what the file may hold

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many unrelated types
        raise SerError(f"{sanitize(path)}: Keras cannot load it ({keras_reason(error)})") from error


def _record(text: str, path: Path) -> TrainingRecord:
    try:
        return record_from_json(TrainingRecord, text, RECORD_MEMBER)
    except SerError as error:
        raise SerError(f"{sanitize(path)}: {error}; train it again with ser-train fit") from error


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
