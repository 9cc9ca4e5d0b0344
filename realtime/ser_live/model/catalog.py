"""Catalog of the shipped models: from names to files."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from ser_live.errors import SerError
from ser_live.text import sanitize

DEFAULT_MODEL = "emotion"
LIGHT_MODEL = "emotion-light"
"""The same labels for small machines and crowded servers."""
_ORDER = (DEFAULT_MODEL, LIGHT_MODEL, "ravdess8", "emodb7", "issa-ravdess")


def model_folder() -> Path:
    """Return the folder of the shipped models: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent.parent / "models"


def model_files() -> list[Path]:
    """Return the shipped model files: those of general use first, then by name."""
    ranks = {name: rank for rank, name in enumerate(_ORDER)}
    files = sorted(model_folder().glob("*.onnx"))
    return sorted(files, key=lambda file: ranks.get(file.stem, len(ranks)))


def find_model(model: str | os.PathLike[str] | None) -> Path:
    """Return the file of a model.

    Parameters
    ----------
    model : str, path or None
        None: the default model; a name without folder and ending: a shipped model; else a path.

    Raises
    ------
    SerError
        If there is no such file; the message lists the shipped names. Also for a Keras file.
    """
    wanted = DEFAULT_MODEL if model is None else model
    with suppress(TypeError, ValueError):  # of what cannot be the name of a file
        path = Path(wanted)
        refuse_keras(path)
        if path.suffix != ".onnx" and path.parent == Path():
            path = model_folder() / f"{path}.onnx"
        if _may_be_read(path):
            return path
    names = ", ".join(file.stem for file in model_files()) or "none"
    raise SerError(
        f"there is no model '{sanitize(wanted)}'; wanted a path to an .onnx file or the name of a "
        f"shipped model ({names})"
    )


def model_sha256(model: str | os.PathLike[str] | None) -> str:
    """Return the fingerprint of a model's file.

    Raises
    ------
    SerError
        If there is no such model or it cannot be read.
    """
    path = find_model(model)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SerError(f"{path}: cannot read the model ({error.strerror or error})") from error


def refuse_keras(path: Path) -> None:
    """Raise SerError for a Keras file, which no runtime command runs."""
    if path.suffix.lower() == ".keras":
        name, onnx = sanitize(path), sanitize(path.with_suffix(".onnx"))
        raise SerError(f"{name} is a Keras model; make one that runs: ser-export {name} -o {onnx}")


def _may_be_read(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # reading it will say why not
        return True
