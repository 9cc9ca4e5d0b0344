"""Input devices: what there is, and which one a person means."""

import platform
import shutil
from dataclasses import dataclass
from typing import Any

from ser_live.errors import SerError

_PACKAGE_COMMANDS = (
    ("apt", "apt install libportaudio2"),
    ("dnf", "dnf install portaudio"),
    ("pacman", "pacman -S portaudio"),
    ("zypper", "zypper install portaudio"),
    ("apk", "apk add portaudio"),
    ("brew", "brew install portaudio"),
)


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A device that can record."""

    index: int
    name: str
    channels: int
    """Most input channels."""
    default_rate_hz: int


def load_portaudio() -> Any:
    """Import sounddevice, or say how its library is installed on this system."""
    try:
        import sounddevice  # noqa: PLC0415 - only who opens a microphone pays for PortAudio
    except OSError as error:
        raise SerError(
            f"the microphone needs the PortAudio library ({error}): {_install_hint()}; "
            "--file, --stdin and --demo work without it"
        ) from error
    return sounddevice


def input_devices() -> list[InputDevice]:
    """Give the devices that can record.

    Raises
    ------
    SerError
        Without the PortAudio library.
    """
    return [
        InputDevice(
            index=int(device["index"]),
            name=str(device["name"]),
            channels=int(device["max_input_channels"]),
            default_rate_hz=round(device["default_samplerate"]),
        )
        for device in load_portaudio().query_devices()
        if device["max_input_channels"] > 0
    ]


def find_input_device(wanted: str | int | None) -> InputDevice:
    """Give the input device that is meant.

    Parameters
    ----------
    wanted : str, int or None
        Index; or a name, or a part of one, in any case; None: the system's default.

    Raises
    ------
    SerError
        If there is none, or a part of a name fits several; the message lists what there is.
    """
    devices = input_devices()
    if not devices:
        raise SerError(
            f"no input device; PortAudio sees {_all_devices()}; plug in a microphone or allow "
            "access to it, or use --file, --stdin or --demo"
        )
    if wanted is None:
        found = _default_device(devices)
    elif isinstance(wanted, int) or wanted.isdecimal():
        found = [device for device in devices if device.index == int(wanted)]
    else:
        name = wanted.casefold()
        found = [device for device in devices if device.name.casefold() == name]
        found = found or [device for device in devices if name in device.name.casefold()]
    if len(found) == 1:
        return found[0]
    asked = "default input device" if wanted is None else f"input device {wanted!r}"
    if not found:
        raise SerError(f"no {asked}; there is {_listed(devices)}")
    raise SerError(f"{asked} fits {_listed(found)}; give the index or more of the name")


def _default_device(devices: list[InputDevice]) -> list[InputDevice]:
    index = int(load_portaudio().default.device[0])
    return [device for device in devices if device.index == index] or devices[:1]


def _listed(devices: list[InputDevice]) -> str:
    return ", ".join(f"{device.index} {device.name!r}" for device in devices)


def _all_devices() -> str:
    names = [f"{device['index']} {device['name']!r}" for device in load_portaudio().query_devices()]
    return "only outputs: " + ", ".join(names) if names else "no device at all"


def _install_hint() -> str:
    for tool, command in _PACKAGE_COMMANDS:
        if shutil.which(tool):
            return f"install it with '{command}'"
    if platform.system() in ("Windows", "Darwin"):
        return "the sounddevice wheel brings it: 'pip install --force-reinstall sounddevice'"
    return "install your system's portaudio package"
