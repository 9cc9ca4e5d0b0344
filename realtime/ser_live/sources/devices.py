"""Input devices: the list of them, and the one that a name or an index means.

Only the capture process calls this: PortAudio may hang, and that process can be killed.
"""

import contextlib
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
_USUAL_RATES_HZ = (8000, 16000, 22050, 32000, 44100, 48000, 96000)
_SOUND_SERVERS = ("pulse", "pipewire", "default")
_SOUND_SERVER_RATE_HZ = 48000
_PERMISSION_HINTS = {
    "Darwin": "System Settings, Privacy & Security, Microphone: allow your terminal",
    "Windows": "Settings, Privacy & security, Microphone: let desktop apps use it",
    "Linux": "on Linux: 'pactl list short sources' shows what the sound server has, and group "
    "'audio' may use a device directly",
}


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A device that can record."""

    index: int
    name: str
    channels: int
    """Most input channels."""
    default_rate_hz: int
    is_default: bool
    rates_hz: tuple[int, ...] = ()
    """Usual rates that it accepts with up to two channels; empty where they were not tried."""


def load_portaudio() -> Any:
    """Import sounddevice; SerError says how its library is installed on this system."""
    try:
        import sounddevice  # noqa: PLC0415 - only a microphone needs PortAudio
    except OSError as error:
        raise SerError(
            f"the microphone needs the PortAudio library ({error}): {_install_hint()}; "
            "--file, --stdin and --demo work without it"
        ) from error
    return sounddevice


def portaudio_inputs(*, with_rates: bool = False) -> list[InputDevice]:
    """Return the devices that can record.

    Parameters
    ----------
    with_rates : bool
        Also try which rates they accept; opens each of them several times.

    Raises
    ------
    SerError
        Without the PortAudio library.
    """
    portaudio = load_portaudio()
    found = [device for device in portaudio.query_devices() if device["max_input_channels"] > 0]
    indices = [int(device["index"]) for device in found]
    default = int(portaudio.default.device[0])
    # Some systems have inputs but no default one.
    default = default if default in indices else next(iter(indices), -1)
    return [
        InputDevice(
            index=int(device["index"]),
            name=str(device["name"]),
            channels=int(device["max_input_channels"]),
            default_rate_hz=_own_rate_hz(device),
            is_default=int(device["index"]) == default,
            rates_hz=_accepted_rates(device) if with_rates else (),
        )
        for device in found
    ]


def _own_rate_hz(device: dict[str, Any]) -> int:
    """Return the rate to try first."""
    # ALSA's ways to a sound server name 44.1 kHz whatever it runs at; servers run at 48.
    rate_hz: float = device["default_samplerate"]
    return _SOUND_SERVER_RATE_HZ if device["name"] in _SOUND_SERVERS else round(rate_hz)


def _accepted_rates(device: dict[str, Any]) -> tuple[int, ...]:
    portaudio = load_portaudio()
    accepted = []
    for rate_hz in _USUAL_RATES_HZ:
        with contextlib.suppress(portaudio.PortAudioError):
            portaudio.check_input_settings(
                device=device["index"],
                channels=min(2, device["max_input_channels"]),
                dtype="float32",
                samplerate=rate_hz,
            )
            accepted.append(rate_hz)
    return tuple(accepted)


def find_input_device(wanted: str | int | None) -> InputDevice:
    """Return the input device of a name or an index.

    Parameters
    ----------
    wanted : str, int or None
        Index; or a name, or a part of one, in any case; None: the system's default.

    Raises
    ------
    SerError
        If there is none, or a part of a name fits several; the message lists what there is.
    """
    devices = portaudio_inputs()
    if not devices:
        names = [f"{each['index']} {each['name']!r}" for each in load_portaudio().query_devices()]
        seen = "only outputs: " + ", ".join(names) if names else "no device at all"
        raise SerError(
            f"no input device; PortAudio sees {seen}; plug in a microphone or allow access to it, "
            "or use --file, --stdin or --demo"
        )
    if wanted is None:
        found = [device for device in devices if device.is_default]
    elif isinstance(wanted, int) or wanted.isdecimal():
        found = [device for device in devices if device.index == int(wanted)]
    else:
        name = wanted.casefold()
        found = [device for device in devices if device.name.casefold() == name]
        found = found or [device for device in devices if name in device.name.casefold()]
    if len({device.name for device in found}) == 1:
        return found[0]  # on Windows one device stands there once per host API
    asked = "default input device" if wanted is None else f"input device {wanted!r}"
    if not found:
        raise SerError(f"no {asked}; there is {_listed(devices)}")
    raise SerError(f"{asked} fits {_listed(found)}; give the index or more of the name")


def _listed(devices: list[InputDevice]) -> str:
    return ", ".join(f"{device.index} {device.name!r}" for device in devices)


def permission_hint() -> str:
    """Return where this system keeps the permission to record."""
    return _PERMISSION_HINTS.get(platform.system(), "see your system's privacy settings")


def silence_hint() -> str:
    """Return what to look at if a microphone gives nothing but silence."""
    if platform.system() == "Linux":
        return "is it muted, or the wrong source? see 'pactl list sources', or alsamixer"
    return f"is it muted? {permission_hint()}"


def _install_hint() -> str:
    for tool, command in _PACKAGE_COMMANDS:
        if shutil.which(tool):
            return f"install it with '{command}'"
    if platform.system() in ("Windows", "Darwin"):
        return "the sounddevice wheel brings it: 'pip install --force-reinstall sounddevice'"
    return "install your system's portaudio package"
