"""PortAudio and the microphones that it sees."""

import platform
import signal
from collections.abc import Iterator

from ser_live.doctor.child import run_children
from ser_live.doctor.finding import Finding
from ser_live.doctor.sound_system import look_around, mend
from ser_live.sources import input_devices
from ser_live.sources.devices import InputDevice, permission_hint

_LOAD_SECONDS = 5.0
_SAID_WHY = 3
_LOAD = f"""
import sys
from ser_live.errors import SerError
from ser_live.sources.devices import load_portaudio
try:
    print(load_portaudio().get_portaudio_version()[1])
except SerError as error:
    print(error, file=sys.stderr)
    sys.exit({_SAID_WHY})
"""


def check_portaudio() -> Iterator[Finding]:
    """Load PortAudio, which may be missing or hang, in a process of its own."""
    end = run_children(_LOAD, [()], _LOAD_SECONDS)[0]
    if end.code is None:
        sentence = f"it does not come up within {_LOAD_SECONDS:g} s"
        yield Finding("portaudio", "problem", sentence, _restart_hint())
    elif end.code == _SAID_WHY:
        yield Finding("portaudio", "problem", "it cannot be loaded", end.error)
    elif end.code < 0:
        sentence = f"it crashes while it looks for devices ({signal.Signals(-end.code).name})"
        yield Finding("portaudio", "problem", sentence, _crash_hint())
    elif end.code != 0:
        sentence = f"it cannot be loaded ({end.error or f'exit code {end.code}'})"
        remedy = "pip install --force-reinstall sounddevice"
        yield Finding("portaudio", "problem", sentence, remedy)
    else:
        version = end.out.partition(", revision")[0]
        yield Finding("portaudio", "ok", version, None, {"version": end.out})


def check_devices() -> Iterator[Finding]:
    """List the microphones."""
    devices = input_devices()
    for device in devices:
        yield _described(device)
    if not devices:
        yield Finding("devices", "problem", "no microphone", _plug_in_hint())


def _described(device: InputDevice) -> Finding:
    figures = {
        "index": device.index,
        "name": device.name,
        "channels": device.channels,
        "default_rate_hz": device.default_rate_hz,
        "rates_hz": list(device.rates_hz),
        "is_default": device.is_default,
    }
    rates = ", ".join(f"{rate_hz / 1000:g}" for rate_hz in device.rates_hz) or "no usual rate in"
    sentence = (
        f"{device.name!r}, {device.channels} channels, {device.default_rate_hz} Hz by itself, "
        f"takes {rates} kHz{', the default' if device.is_default else ''}"
    )
    return Finding(f"device {device.index}", "ok", sentence, None, figures)


def _plug_in_hint() -> str:
    if platform.system() != "Linux":
        return f"plug one in, or allow access to it: {permission_hint()}"
    found = look_around()
    if found.listening and not found.usable_cards:
        return (
            "let PortAudio reach the sound server: apt install libasound2-plugins, or the "
            "package pipewire-alsa; 'pactl list short sources' shows what it has"
        )
    return "see sound system" if mend(found) else f"plug one in; {permission_hint()}"


def _crash_hint() -> str:
    if platform.system() != "Linux":
        return "update the driver of the sound card"
    return (
        "mend ALSA's configuration (ALSA_CONFIG_PATH, ~/.asoundrc, /etc/asound.conf), or "
        "reinstall it: apt install --reinstall libasound2-data"
    )


def _restart_hint() -> str:
    if platform.system() != "Linux":
        return "unplug audio devices one by one, or restart the machine: a driver hangs"
    return "restart the sound server: systemctl --user restart pipewire-pulse, or pulseaudio -k"
