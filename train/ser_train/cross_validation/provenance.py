"""Which code and which libraries made a figure."""

import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("keras", "tensorflow", "ser-live")
_ROOT = Path(__file__).parents[3]
_CODE = ("realtime", "train", "export", "pyproject.toml")


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


def commit(root: Path = _ROOT) -> str | None:
    """Give the commit of the source tree; "-dirty" behind it says that code differs from it.

    A report that grows in the same checkout is no code.

    Returns
    -------
    str or None
        None where the package does not lie in a checkout of its own, or without git.
    """
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *_CODE)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
