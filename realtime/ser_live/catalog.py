"""The models at hand: names become files."""

import os
from pathlib import Path

from ser_live.errors import SerError

DEFAULT_MODEL = "emotion"


def model_folder() -> Path:
    """Where the shipped models lie: inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent.parent / "models"


def model_files() -> list[Path]:
    """Give the shipped model files, sorted by name."""
    return sorted(model_folder().glob("*.onnx"))


def find_model(model: str | os.PathLike[str] | None) -> Path:
    """Give the file of a model.

    Parameters
    ----------
    model : str, path or None
        None: the default model; a name without folder and ending: a shipped model; else a path.

    Raises
    ------
    SerError
        If there is no such file; the message lists the shipped names.
    """
    wanted = DEFAULT_MODEL if model is None else os.fspath(model)
    path = Path(wanted)
    if path.suffix == ".onnx" or path.parent != Path():
        found = path
    else:
        found = model_folder() / f"{wanted}.onnx"
    if not found.is_file():
        names = ", ".join(file.stem for file in model_files()) or "none"
        raise SerError(
            f"no model {wanted!r}: wanted a path to an .onnx file or the name of a shipped "
            f"model ({names})"
        )
    return found
