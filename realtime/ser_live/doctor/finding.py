"""Findings, the plan of all checks, and how the checks are run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal

from ser_live.errors import SerError
from ser_live.model.catalog import DEFAULT_MODEL, find_model, model_files, model_folder

Verdict = Literal["ok", "warning", "problem", "skipped"]

_SOURCES = ("numpy", "soundfile")
_ENGINE = (*_SOURCES, "onnxruntime", "soxr")


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check."""

    name: str
    """Subject of the check, in a word or two."""
    verdict: Verdict
    finding: str
    """One sentence."""
    remedy: str | None = None
    """One sentence; None where there is nothing to mend."""
    figures: Mapping[str, object] = field(default_factory=dict)
    """Measured values: plain JSON."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at."""

    name: str
    run: Callable[[], Iterable[Finding]]
    hint: str = ""
    """Shown while the check runs; empty for a check that takes no time."""
    needs: tuple[str, ...] = ()
    """Names of earlier findings; one that is a problem makes this check pointless."""


def judged(
    name: str,
    sentence: str,
    remedy: str | None,
    figures: Mapping[str, object],
    severity: Verdict = "problem",
) -> Finding:
    """Return a finding that is ok if there is no remedy, else as bad as ``severity`` says."""
    return Finding(name, "ok" if remedy is None else severity, sentence, remedy, figures)


def plan(model: str | None, device: str | None, has_microphone: bool) -> list[Check]:
    """Return all checks in their order.

    Parameters
    ----------
    model : str or None
        Name or path of a model to check beside the shipped ones, and to recognize with.
    device : str or None
        The microphone to listen to; None: the default one.
    has_microphone : bool
        False leaves out everything about microphones.

    Raises
    ------
    SerError
        If the model is not there.
    """
    files = {path.resolve(): f"model {path.stem}" for path in model_files()}
    has_none = model is None and not (model_folder() / f"{DEFAULT_MODEL}.onnx").is_file()
    chosen = None if has_none else find_model(model).resolve()
    if chosen is not None:
        files.setdefault(chosen, f"model {chosen.name}")
    recognition = (*_ENGINE, "speech gate", files[chosen] if chosen else "models")
    left_out = Finding("microphone", "skipped", "left out by --no-microphone")
    missing = f"the default model {DEFAULT_MODEL!r} is missing from {model_folder()}"
    remedy = "reinstall ser-live, or give one with --model"
    no_default = Finding("models", "problem", missing, remedy)
    demo, timing = "recognizing the demo voice", "recognizing as fast as possible"
    return [
        Check("python", _later("machine", "check_python")),
        Check("ser-live", _later("machine", "check_installation")),
        Check("packages", _later("machine", "check_packages"), "importing the required packages"),
        *(_microphone(device) if has_microphone else [Check("microphone", lambda: [left_out])]),
        *(
            Check(name, _later("engine", "check_model", name, path), f"loading {name}", _ENGINE)
            for path, name in files.items()
        ),
        *([] if chosen else [Check("models", lambda: [no_default])]),
        Check("speech gate", _later("engine", "check_gate"), "running the gate", _ENGINE),
        Check("engine", _later("engine", "check_recognition", chosen), demo, recognition),
        Check("headroom", _later("engine", "check_headroom", chosen), timing, recognition),
        Check("clock", _later("machine", "check_clock")),
        Check("memory", _later("machine", "check_memory")),
        Check("processors", _later("machine", "check_processors")),
    ]


def examine(
    checks: Iterable[Check], waiting: Callable[[str], AbstractContextManager[object]]
) -> Iterator[Finding]:
    """Run checks in their order and yield what they find as it comes.

    Parameters
    ----------
    checks : iterable of Check
        Checks that raise are findings, too.
    waiting : callable
        Entered with a check's hint while the check runs.
    """
    failed: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in failed]
        if missing:
            failed.add(check.name)
            yield Finding(check.name, "skipped", f"it needs {missing[0]}, see there")
            continue
        with waiting(check.hint):
            findings = _run(check)
        failed.update(finding.name for finding in findings if finding.verdict == "problem")
        yield from findings


def _run(check: Check) -> list[Finding]:
    findings = []
    try:
        for finding in check.run():
            findings.append(finding)  # what came before an error counts
    except SerError as error:
        # The last part of such a message says what to do.
        sentence, *remedies = str(error).rsplit("; ", 1)
        findings.append(Finding(check.name, "problem", sentence, next(iter(remedies), None)))
    except Exception as error:  # an error that no check foresaw is a finding, too
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        remedy = "please report this line together with the output of ser-live doctor --json"
        findings.append(Finding(check.name, "problem", f"the check failed ({reason})", remedy))
    return findings


def _later(module: str, function: str, *arguments: object) -> Callable[[], Iterable[Finding]]:
    """Import only when the check runs: what it needs may be what is broken."""
    return lambda: getattr(import_module(f"ser_live.doctor.{module}"), function)(*arguments)


def _microphone(device: str | None) -> list[Check]:
    load = (*_SOURCES, "sounddevice")
    needs = (*load, "portaudio")
    say_something = "listening to the microphone for two seconds: say something"
    level = _later("level", "check_level", device)
    return [
        Check("portaudio", _later("devices", "check_portaudio"), "starting PortAudio", load),
        Check("sound system", _later("devices", "check_sound_system")),
        Check("devices", _later("devices", "check_devices"), "asking the devices", needs),
        Check("level", level, say_something, (*needs, "devices")),
    ]
