"""Python, packages, clock, memory and processors."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_live import __version__
from ser_live.doctor.finding import Finding, judged
from ser_live.hardware import free_bytes, processor_name, usable_processors
from ser_live.interpreter import interpreter, interpreter_environment

NO_INTERPRETER = "this program is no Python interpreter, which would have to be started for it"
_IMPORT_SECONDS = 20.0
_IMPORT = "import importlib, sys; importlib.import_module(sys.argv[1])"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?[^;]*$")
_COARSE_SECONDS = 0.02
_SCARCE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Ended:
    """End of a Python program in a process of its own."""

    code: int | None
    """Exit code, negative for a signal; None: it was killed because its time was up."""
    out: str
    error: str
    """Last line of its stderr: of a traceback, the exception."""


def run_python(
    code: str, argument_lists: Sequence[Sequence[str]], timeout_seconds: float
) -> list[Ended]:
    """Run a program once for each list of arguments, all at the same time.

    Each runs in a process of its own, because it may crash or hang, and finds modules where this
    process finds them.
    """
    environment = {**interpreter_environment(), "PYTHONUTF8": "1"}
    processes = [
        subprocess.Popen(
            [interpreter() or "python3", "-P", "-c", code, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for arguments in argument_lists
    ]
    try:
        return [_end(process, timeout_seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()


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
    remedy = None if bits == 64 else "install a 64-bit Python and ser-live in it"
    yield judged("python", f"{version}, {bits} bit, on {platform.platform()}", remedy, figures)


def check_installation() -> Iterator[Finding]:
    """Look at where this package comes from."""
    folder = Path(__file__).resolve().parent.parent
    installed, remedy = _installed_version("ser-live"), None
    figures = {"version": __version__, "installed": installed, "folder": str(folder)}
    sentence = f"{__version__}, imported from {folder}"
    if installed is not None and installed != __version__:
        sentence += f", but {installed} is installed"
        remedy = "remove the copy that you do not mean from PYTHONPATH, or run pip install again"
    yield judged("ser-live", sentence, remedy, figures, "warning")


def check_packages() -> Iterator[Finding]:
    """Look at the required packages: there, new enough, and importable."""
    if interpreter() is None:
        yield Finding("packages", "skipped", NO_INTERPRETER)
        return
    wanted = requirements()
    versions = {name: _installed_version(name) for name in wanted}
    # Importing sounddevice starts PortAudio, which has a check of its own.
    names = [name for name in wanted if name != "sounddevice"]
    modules = [[name.replace("-", "_")] for name in names]
    ends = dict(zip(names, run_python(_IMPORT, modules, _IMPORT_SECONDS), strict=True))
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
    """Return the required packages with their oldest versions.

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


def check_clock() -> Iterator[Finding]:
    """Measure the smallest step of the clock that dates samples."""
    info = time.get_clock_info("monotonic")
    tick_seconds = min(_tick_seconds() for _ in range(5))
    figures = {
        "tick_seconds": tick_seconds,
        "resolution_seconds": info.resolution,
        "implementation": info.implementation,
    }
    # On a fine clock the step is the cost of reading it: a bound from above.
    step, remedy = "under 10 us" if tick_seconds < 1e-5 else f"{tick_seconds:.2g} s", None
    if tick_seconds > _COARSE_SECONDS:
        remedy = "take Python 3.13 or newer, whose clock is finer; until then lags are rough"
    yield judged("clock", f"a step of time.monotonic is {step}", remedy, figures, "warning")


def check_memory() -> Iterator[Finding]:
    """Look at the free memory."""
    free, remedy = free_bytes(), None
    if free is None:
        yield Finding("memory", "skipped", "this system does not say how much is free")
        return
    sentence = f"{free / 2**30:.1f} GiB free"
    if free < _SCARCE_BYTES:
        sentence = f"only {free / 2**20:.0f} MiB free"
        remedy = "close other programs: ser-live takes up to 140 MiB"
    yield judged("memory", sentence, remedy, {"free_bytes": free}, "warning")


def check_processors() -> Iterator[Finding]:
    """List the processors and how many of them this process may use."""
    name, count, usable = processor_name(), os.cpu_count() or 1, usable_processors()
    figures = {"name": name, "count": count, "usable": usable, "machine": platform.machine()}
    share = "" if usable == count else f", {usable} of them for this process"
    yield Finding("processors", "ok", f"{count} x {name}{share}", None, figures)


def _end(process: "subprocess.Popen[bytes]", timeout_seconds: float) -> Ended:
    try:
        out, error = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a hanging driver holds even that up
            process.communicate(timeout=1.0)
        return Ended(None, "", "")
    lines = error.decode(errors="replace").strip().splitlines() or [""]
    return Ended(process.returncode, out.decode(errors="replace").strip(), lines[-1])


def _fault(version: str | None, oldest: str, end: Ended | None) -> str | None:
    if end is not None and end.code != 0:
        reason = f"its import fails ({end.error or f'exit code {end.code}'})"
        if end.code is None:
            reason = f"its import takes longer than {_IMPORT_SECONDS:g} s"
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
    """Return the numbers of a version, without what follows a release."""
    numbers = [int(number) for number in re.findall(r"\d+", re.split(r"[^0-9.]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def _tick_seconds() -> float:
    start = time.monotonic()
    while (now := time.monotonic()) == start:
        pass
    return now - start
