"""What Linux offers to record from: sound servers, sound cards, and the right to use them."""

import contextlib
import os
import platform
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ser_live.doctor.finding import Finding, Verdict

_CONNECT_SECONDS = 1.0
_PULSE_PORT = 4713


@dataclass(frozen=True, slots=True)
class SoundSystem:
    """What was found."""

    listening: tuple[str, ...]
    """Sound servers that take a connection."""
    dead: tuple[str, ...]
    """Those that should be there and do not."""
    elsewhere: str | None
    """Runtime folder of a server that the environment does not name."""
    cards: int
    """Devices in ``/dev/snd`` that record."""
    usable_cards: int
    """Of these: what this user may open."""
    in_audio_group: bool
    surroundings: str
    """"container", "WSL" or "machine"."""


def check_sound_system() -> Iterator[Finding]:
    """Look for something that PortAudio can record from."""
    if platform.system() != "Linux":
        yield Finding(
            "sound system",
            "skipped",
            f"{platform.system()} brings its own; who may hear the microphone is in its settings",
        )
        return
    found = look_around()
    remedy = mend(found)
    verdict: Verdict = "ok" if remedy is None else "warning"
    yield Finding("sound system", verdict, _sentence(found), remedy, asdict(found))


def look_around() -> SoundSystem:
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
    if not parts:
        parts.append("no sound server")
    if found.cards:
        parts.append(f"{found.usable_cards} of {found.cards} sound cards may be opened")
    else:
        parts.append("no sound card that records")
    where = "" if found.surroundings == "machine" else f"; this is a {found.surroundings}"
    return ", ".join(parts) + where.replace("a WSL", "WSL")


def _servers() -> dict[str, str]:
    """Give the addresses at which sound servers are expected: sockets' paths, or host:port."""
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
    """Give a session's runtime folder that has a sound server and is not ours."""
    ours = os.environ.get("XDG_RUNTIME_DIR", "")
    for path in Path("/run/user").glob("*/pulse/native"):
        if str(path.parent.parent) != ours.rstrip("/"):
            return str(path.parent.parent)
    return None


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
