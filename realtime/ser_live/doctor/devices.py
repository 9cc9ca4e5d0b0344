"""The sound system, PortAudio, and the microphones that it sees."""

import contextlib
import os
import platform
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ser_live.doctor.finding import Finding, judged
from ser_live.doctor.machine import NO_INTERPRETER, run_python
from ser_live.interpreter import interpreter

_CONNECT_SECONDS = 1.0
_PULSE_PORT = 4713
_LOAD_SECONDS = 5.0
_MEND_ALSA = (
    "mend ALSA's configuration (ALSA_CONFIG_PATH, ~/.asoundrc, /etc/asound.conf), or "
    "reinstall it: apt install --reinstall libasound2-data"
)
_RESTART_SERVER = (
    "restart the sound server: systemctl --user restart pipewire-pulse, or pulseaudio -k"
)
_RESTART_MACHINE = "unplug audio devices one by one, or restart the machine: a driver hangs"
_LOAD = """
from ser_live.sources.devices import load_portaudio
print(load_portaudio().get_portaudio_version()[1])
"""


@dataclass(frozen=True, slots=True)
class SoundSystem:
    """Sound servers, sound cards, and the right to use them on Linux."""

    listening: tuple[str, ...]
    """Sound servers that take a connection."""
    dead: tuple[str, ...]
    """Those that should be there and do not."""
    elsewhere: str | None
    """Runtime folder of a server that the environment does not name."""
    cards: int
    """Devices in ``/dev/snd`` that record."""
    usable_cards: int
    """Of these: those that this user may open."""
    in_audio_group: bool
    surroundings: str
    """"container", "WSL" or "machine"."""


def check_portaudio() -> Iterator[Finding]:
    """Load PortAudio, which may be missing, crash or hang, in a process of its own."""
    if interpreter() is None:
        yield Finding("portaudio", "skipped", NO_INTERPRETER)
        return
    end = run_python(_LOAD, [()], _LOAD_SECONDS)[0]
    if end.code == 0:
        version = end.out.partition(", revision")[0]
        yield Finding("portaudio", "ok", version, None, {"version": end.out})
        return
    # A SerError of ours says what to do; its name stands before it in the traceback.
    sentence, remedy = "it cannot be loaded", end.error.partition("SerError: ")[2]
    if end.code is None:
        sentence = f"it does not come up within {_LOAD_SECONDS:g} s"
        remedy = _for_system(_RESTART_SERVER, _RESTART_MACHINE)
    elif end.code < 0:
        sentence = f"it crashes while it looks for devices ({signal.Signals(-end.code).name})"
        remedy = _for_system(_MEND_ALSA, "update the driver of the sound card")
    elif not remedy:
        sentence += f" ({end.error or f'exit code {end.code}'})"
        remedy = "pip install --force-reinstall sounddevice"
    yield Finding("portaudio", "problem", sentence, remedy)


def check_sound_system() -> Iterator[Finding]:
    """Look for something that PortAudio can record from."""
    if platform.system() != "Linux":
        sentence = "brings its own; its settings say which programs may use the microphone"
        yield Finding("sound system", "skipped", f"{platform.system()} {sentence}")
        return
    found = find_sound_system()
    yield judged("sound system", _sentence(found), mend(found), asdict(found), "warning")


def check_devices() -> Iterator[Finding]:
    """List the microphones."""
    from ser_live.sources import input_devices  # noqa: PLC0415 - the sound system needs no numpy

    devices = input_devices()
    for device in devices:
        rates = ", ".join(f"{rate / 1000:g}" for rate in device.rates_hz) or "no usual rate in"
        sentence = (
            f"{device.name!r}, {device.channels} channels, {device.default_rate_hz} Hz by itself, "
            f"takes {rates} kHz{', the default' if device.is_default else ''}"
        )
        yield Finding(f"device {device.index}", "ok", sentence, None, asdict(device))
    if not devices:
        yield Finding("devices", "problem", "no microphone", _plug_in_hint())


def find_sound_system() -> SoundSystem:
    """Look for sound servers and cards on Linux."""
    reached = {name: _listens(address) for name, address in _servers().items()}
    cards = list(Path("/dev/snd").glob("pcmC*c"))
    return SoundSystem(
        listening=tuple(name for name, listens in reached.items() if listens),
        dead=tuple(name for name, listens in reached.items() if not listens),
        elsewhere=_elsewhere(),
        cards=len(cards),
        usable_cards=sum(os.access(card, os.R_OK | os.W_OK) for card in cards),
        in_audio_group=_in_audio_group(),
        surroundings=_surroundings(),
    )


def mend(found: SoundSystem) -> str | None:
    """Say what would give PortAudio something to record from; None if there is something."""
    if found.listening or found.usable_cards:
        return None
    if found.elsewhere is not None:
        return f"run it as the user of the desktop session, with XDG_RUNTIME_DIR={found.elsewhere}"
    if found.cards and found.surroundings == "container":
        return "start the container with --group-add audio"
    if found.cards and not found.in_audio_group:
        return "join the group audio: sudo usermod -aG audio $USER, then log in again"
    if found.dead:
        return "start the sound server: systemctl --user restart pipewire-pulse, or pulseaudio -D"
    return {
        "container": "start the container with --device /dev/snd --group-add audio, or mount the "
        "socket of the sound server and name it in PULSE_SERVER",
        "WSL": "update to WSLg, which brings a microphone (wsl --update), or record in Windows "
        "and pipe into ser-live --stdin",
    }.get(found.surroundings, "plug in a microphone, or pipe sound into ser-live --stdin")


def _sentence(found: SoundSystem) -> str:
    parts = [f"{name} listens" for name in found.listening]
    parts += [f"{name} does not listen" for name in found.dead]
    cards = "no sound card that records"
    if found.cards:
        cards = f"{found.usable_cards} of {found.cards} sound cards may be opened"
    parts = [*(parts or ["no sound server"]), cards]
    where = {"container": "; this is a container", "WSL": "; this is WSL"}
    return ", ".join(parts) + where.get(found.surroundings, "")


def _servers() -> dict[str, str]:
    """Return the addresses at which sound servers are expected: sockets' paths, or host:port."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    named = os.environ.get("PULSE_SERVER", "").split()
    if named:
        # As in {machine}unix:/path, tcp:host:port or simply a host.
        address = named[0].rpartition("}")[2].removeprefix("unix:").removeprefix("tcp:")
        servers = {"PulseAudio of PULSE_SERVER": address}
    else:
        sockets = (runtime / "pulse" / "native", Path("/run/pulse/native"))
        found = [str(path) for path in sockets if path.exists()]
        servers = {"PulseAudio": found[0]} if found else {}
    pipewire = runtime / "pipewire-0"
    return servers | ({"PipeWire": str(pipewire)} if pipewire.exists() else {})


def _listens(address: str) -> bool:
    try:
        if address.startswith("/"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(address)
        else:
            host, _, port = address.partition(":")
            place = (host, int(port or _PULSE_PORT))
            socket.create_connection(place, timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _elsewhere() -> str | None:
    """Return a session's runtime folder that has a sound server and is not ours."""
    ours = os.environ.get("XDG_RUNTIME_DIR", "").rstrip("/")
    folders = (str(path.parent.parent) for path in Path("/run/user").glob("*/pulse/native"))
    return next((folder for folder in folders if folder != ours), None)


def _in_audio_group() -> bool:
    if sys.platform == "win32":
        return False
    import grp  # noqa: PLC0415 - Windows has none

    with contextlib.suppress(KeyError):
        return grp.getgrnam("audio").gr_gid in (os.getegid(), *os.getgroups())
    return False


def _surroundings() -> str:
    if "microsoft" in platform.release().lower():
        return "WSL"
    marks = ("/.dockerenv", "/run/.containerenv")
    if any(Path(mark).exists() for mark in marks) or "container" in os.environ:
        return "container"
    return "machine"


def _plug_in_hint() -> str:
    from ser_live.sources.devices import permission_hint  # noqa: PLC0415

    if platform.system() != "Linux":
        return f"plug one in, or allow access to it: {permission_hint()}"
    found = find_sound_system()
    if found.listening and not found.usable_cards:
        return (
            "let PortAudio reach the sound server: apt install libasound2-plugins, or the "
            "package pipewire-alsa; 'pactl list short sources' shows what it has"
        )
    return "see sound system" if mend(found) else f"plug one in; {permission_hint()}"


def _for_system(linux: str, other: str) -> str:
    return linux if platform.system() == "Linux" else other
