"""Python, this package, and what it needs."""

import importlib.metadata
import platform
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from ser_live import __version__
from ser_live.doctor.child import Ended, run_children
from ser_live.doctor.finding import Finding

_OLDEST_PYTHON = (3, 11)
_IMPORT_SECONDS = 20.0
_IMPORT = "import importlib, sys; importlib.import_module(sys.argv[1])"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?[^;]*$")


def check_python() -> Iterator[Finding]:
    """Look at the interpreter."""
    version, bits = platform.python_version(), 64 if sys.maxsize > 2**32 else 32
    figures = {
        "version": version,
        "implementation": platform.python_implementation(),
        "bits": bits,
        "platform": platform.platform(),
        "executable": sys.executable,
    }
    sentence = f"{version}, {bits} bit, on {platform.platform()}"
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    if sys.version_info < _OLDEST_PYTHON or bits == 32:
        remedy = f"install a 64-bit Python {oldest} or newer and ser-live in it"
        yield Finding("python", "problem", sentence, remedy, figures)
    else:
        yield Finding("python", "ok", sentence, None, figures)


def check_installation() -> Iterator[Finding]:
    """Look at where this package comes from."""
    folder = Path(__file__).resolve().parent.parent
    installed = _installed_version("ser-live")
    figures = {"version": __version__, "installed": installed, "folder": str(folder)}
    sentence = f"{__version__}, imported from {folder}"
    if installed is not None and installed != __version__:
        yield Finding(
            "ser-live",
            "warning",
            f"{sentence}, but {installed} is installed",
            "remove the copy that you do not mean from PYTHONPATH, or run pip install again",
            figures,
        )
    else:
        yield Finding("ser-live", "ok", sentence, None, figures)


def check_packages() -> Iterator[Finding]:
    """Look at the required packages: there, new enough, and importable."""
    wanted = requirements()
    versions = {name: _installed_version(name) for name in wanted}
    # Importing sounddevice starts PortAudio, which has a check of its own.
    names = [name for name in wanted if name != "sounddevice"]
    modules = [[name.replace("-", "_")] for name in names]
    ends = dict(zip(names, run_children(_IMPORT, modules, _IMPORT_SECONDS), strict=True))
    good = []
    for name, oldest in wanted.items():
        fault = _fault(versions[name], oldest, ends.get(name))
        if fault is None:
            good.append(f"{name} {versions[name] or '(version unknown)'}")
            continue
        figures = {"version": versions[name], "oldest": oldest}
        remedy = f"pip install --upgrade --force-reinstall '{name}>={oldest}'"
        yield Finding(name, "problem", fault, remedy, figures)
    if not wanted:
        sentence = "neither an installation nor a pyproject.toml says what is required"
        yield Finding("packages", "warning", sentence, "install ser-live with pip")
    if good:
        yield Finding("packages", "ok", ", ".join(good), None, {"versions": versions})


def requirements() -> dict[str, str]:
    """Give the required packages with their oldest versions.

    A checkout's ``pyproject.toml`` says it first: what was installed from it may be older.
    """
    project = Path(__file__).resolve().parents[3] / "pyproject.toml"
    lines: list[str] = []
    if project.is_file():
        table = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        lines = table.get("dependencies", []) if table.get("name") == "ser-live" else []
    if not lines and _installed_version("ser-live") is not None:
        lines = importlib.metadata.requires("ser-live") or []
    matches = [_REQUIREMENT.match(line) for line in lines if "extra ==" not in line]
    return {match[1].lower(): match[2] or "0" for match in matches if match}


def _fault(version: str | None, oldest: str, end: Ended | None) -> str | None:
    if end is not None and end.code != 0:
        if end.code is None:
            reason = f"its import takes longer than {_IMPORT_SECONDS:g} s"
        else:
            reason = f"its import fails ({end.error or f'exit code {end.code}'})"
        return f"{version or 'not installed'}: {reason}"
    if version is None:
        return "not installed" if end is None else None
    if _release(version) < _release(oldest):
        return f"{version} is too old, wanted {oldest} or newer"
    return None


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _release(version: str) -> list[int]:
    """Give the numbers of a version, without what follows a release."""
    numbers = [int(number) for number in re.findall(r"\d+", re.split(r"[^0-9.]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
