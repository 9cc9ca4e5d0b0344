"""Which code and which libraries made a figure."""

import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("keras", "tensorflow", "ser-live")
_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Taken when a training begins: files may change under it."""

    versions: dict[str, str]
    commit: str | None

    @classmethod
    def now(cls) -> "Provenance":
        """Look at what is installed and checked out."""
        return cls(versions(), commit())


def versions() -> dict[str, str]:
    """Give the versions of what is installed of Keras, TensorFlow and ser-live."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Give the commit of the source tree; "-dirty" behind it says that files differ from it.

    Returns
    -------
    str or None
        None where the package does not lie in a checkout of its own, or without git.
    """
    if not (_ROOT / ".git").exists():
        return None
    command = ("git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40")
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None
