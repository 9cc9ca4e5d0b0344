"""Model files: what Keras saves, with the model card and the training's record inside."""

import dataclasses
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.card import KERAS_MEMBER, ModelCard
from ser_live.errors import SerError
from ser_train.disk import write_atomically

RECORD_MEMBER = "ser.training.json"


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
    if not path.is_file():
        raise SerError(f"{path}: no such model file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if KERAS_MEMBER not in members:
                raise SerError(f"{path} holds no model card; models of `ser-train fit` do")
            card = ModelCard.from_json(archive.read(KERAS_MEMBER).decode(), str(path))
            record = _record(archive) if RECORD_MEMBER in members else None
    except zipfile.BadZipFile as error:
        raise SerError(f"{path} is no .keras file") from error
    return ModelFile(_load(path), card, record)


def _load(path: Path) -> Any:
    import keras  # noqa: PLC0415 - a file that does not fit is refused without it

    import ser_train.layers  # noqa: F401, PLC0415 - registers what the file may hold

    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        first_line = (str(error).splitlines() or ["?"])[0]
        raise SerError(f"{path}: Keras cannot load it ({first_line})") from error


def _record(archive: zipfile.ZipFile) -> TrainingRecord:
    data = json.loads(archive.read(RECORD_MEMBER))
    return TrainingRecord(
        tuple(data["training_speakers"]),
        tuple(data["validation_speakers"]),
        tuple(data["test_speakers"]),
        int(data["seed"]),
    )
