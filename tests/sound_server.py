"""A private PulseAudio server whose speaker is the default microphone."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

PROGRAMS = ("pulseaudio", "pactl", "paplay")
_ALSA = "".join(f"{name} {{ type pulse }}\n" for name in ("pcm.pulse", "ctl.pulse"))
_ALSA += "".join(f"{name} {{ type pulse }}\n" for name in ("pcm.!default", "ctl.!default"))


def is_installed() -> bool:
    return all(shutil.which(program) for program in PROGRAMS)


class SoundServer:
    """Everything lies in one folder of its own; processes join it through `environment`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runtime, config = folder / "runtime", folder / "config"
        for path in (runtime, config):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        alsa = folder / "alsa.conf"
        alsa.write_text(_ALSA)
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(config),
            "ALSA_CONFIG_PATH": str(alsa),
            "HOME": str(folder),
        }
        for name in ("PULSE_SERVER", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
            self.environment.pop(name, None)
        self._pid_file = runtime / "pulse" / "pid"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        # Without norewinds captures stall for two seconds now and then.
        sink = "module-null-sink sink_name=spk rate=48000 norewinds=1"
        command = ["pulseaudio", "-n", "--daemonize=yes", "--exit-idle-time=-1"]
        self._run([*command, "-L", "module-native-protocol-unix", "-L", sink])
        self._run(["pactl", "set-default-source", "spk.monitor"])

    def stop(self) -> None:
        if not self._pid_file.exists():
            return
        pid = int(self._pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5.0
        while _is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)

    def play(self, file: Path) -> "subprocess.Popen[bytes]":
        """Start to speak a file into the microphone."""
        return subprocess.Popen(["paplay", "--device=spk", str(file)], env=self.environment)

    def _run(self, command: list[str]) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=20)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
