"""Model files: what Keras saves, with the model card and the training's record inside."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.model.card import KERAS_MEMBER, ModelCard
from ser_live.model.json_records import record_from_json
from ser_live.text import sanitize
from ser_train.files import write_atomically
from ser_train.models.keras_archive import RECORD_MEMBER, keras_reason, read_archive


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Who was heard in which role."""

    training_speakers: tuple[str, ...]
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    seed: int


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


def load_model(path: Path) -> ModelFile:
    """Read a ``.keras`` file with its card.

    Raises
    ------
    SerError
        If the file is missing, is no Keras archive, or holds no card.
    """
    card, record = read_record(path)
    return ModelFile(_load(path), card, record)


def read_record(path: Path) -> tuple[ModelCard, TrainingRecord | None]:
    """Read the card of a ``.keras`` file and who was in its training; Keras is not needed.

    Raises
    ------
    SerError
        If the file is missing, is no Keras archive, or holds no card.
    """
    card, text = read_archive(path)
    return card, None if text is None else _record(text, path)


def require_one_start(network: str, init: Path | None) -> None:
    """Check that a training starts either afresh or with a model file.

    Raises
    ------
    SerError
        If both or none are wanted.
    """
    if bool(network) == bool(init):
        raise SerError("wanted one of --network NAME (a new model) and --init MODEL.keras")


def fingerprint(path: Path) -> str:
    """Give the SHA-256 of a file as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def heard_before(record: TrainingRecord | None, speakers: Sequence[str]) -> str:
    """Say which speakers the first model was trained on; empty if none."""
    if record is None:
        return "the first model does not say who was in its training"
    known = sorted(set(record.training_speakers) & set(speakers))
    return f"{', '.join(known)} were in the first model's training" if known else ""


def _load(path: Path) -> Any:
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
