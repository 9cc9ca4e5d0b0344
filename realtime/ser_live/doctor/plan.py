"""Which checks there are, in which order, and what each of them needs."""

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from pathlib import Path

from ser_live.doctor.finding import Check, Finding
from ser_live.errors import SerError
from ser_live.model.catalog import DEFAULT_MODEL, find_model, model_files, model_folder

_SOURCES = ("numpy", "soundfile")
_ENGINE = (*_SOURCES, "onnxruntime", "soxr")


def plan(model: str | None, device: str | None, has_microphone: bool) -> list[Check]:
    """Give all checks in their order.

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
    chosen = _chosen(model)
    if chosen is not None:
        files.setdefault(chosen, f"model {chosen.name}")
    return [
        _check("python", "packages", "check_python"),
        _check("ser-live", "packages", "check_installation"),
        _check("packages", "packages", "check_packages", hint="importing the required packages"),
        *(_microphone(device) if has_microphone else [Check("microphone", _left_out)]),
        *(
            _check(name, "engine", "check_model", name, path, hint=f"loading {name}", needs=_ENGINE)
            for path, name in files.items()
        ),
        *([] if chosen else [Check("models", _no_default)]),
        _check("speech gate", "engine", "check_gate", hint="running the gate", needs=_ENGINE),
        *_recognition(chosen, (*_ENGINE, "speech gate", files[chosen] if chosen else "models")),
        _check("clock", "machine", "check_clock"),
        _check("memory", "machine", "check_memory"),
        _check("processors", "machine", "check_processors"),
    ]


def _microphone(device: str | None) -> list[Check]:
    needs = (*_SOURCES, "sounddevice", "portaudio")
    listening = "listening to the microphone for two seconds: say something"
    return [
        _check("portaudio", "devices", "check_portaudio", hint="starting PortAudio",
               needs=(*_SOURCES, "sounddevice")),
        _check("sound system", "sound_system", "check_sound_system"),
        _check("devices", "devices", "check_devices", hint="asking the devices", needs=needs),
        _check("level", "level", "check_level", device, hint=listening, needs=(*needs, "devices")),
    ]  # fmt: skip


def _recognition(model: Path | None, needs: tuple[str, ...]) -> list[Check]:
    hearing, timing = "recognizing the demo voice", "recognizing as fast as possible"
    return [
        _check("engine", "engine", "check_hearing", model, hint=hearing, needs=needs),
        _check("headroom", "engine", "check_headroom", model, hint=timing, needs=needs),
    ]


def _check(
    name: str,
    module: str,
    function: str,
    *arguments: object,
    hint: str = "",
    needs: tuple[str, ...] = (),
) -> Check:
    run = partial(_run, f"ser_live.doctor.{module}", function, *arguments)
    return Check(name, run, hint, needs)


def _run(module: str, function: str, *arguments: object) -> Iterable[Finding]:
    """Import only now: what a check needs may be what is broken."""
    findings: Iterable[Finding] = getattr(import_module(module), function)(*arguments)
    return findings


def _chosen(model: str | None) -> Path | None:
    try:
        return find_model(model).resolve()
    except SerError:
        if model is not None:
            raise
        return None


def _left_out() -> Iterable[Finding]:
    yield Finding("microphone", "skipped", "left out by --no-microphone")


def _no_default() -> Iterable[Finding]:
    sentence = f"the default model {DEFAULT_MODEL!r} is missing from {model_folder()}"
    yield Finding("models", "problem", sentence, "reinstall ser-live, or give one with --model")
