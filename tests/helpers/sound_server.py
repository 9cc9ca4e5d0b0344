"""A private PulseAudio server whose speaker is the default microphone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

REALTIME = Path(__file__).parents[2] / "realtime"
PROGRAMS = ("pulseaudio", "pactl", "paplay")
SPEAKER = "spk"
_ALSA = "".join(f"{name} {{ type pulse }}\n" for name in ("pcm.pulse", "ctl.pulse"))
_ALSA += "".join(f"{name} {{ type pulse }}\n" for name in ("pcm.!default", "ctl.!default"))
# Without norewinds captures stall for two seconds now and then.
SINK = f"module-null-sink sink_name={SPEAKER} rate=48000 norewinds=1"
_SCRIPT = f"""\
load-module module-native-protocol-unix
load-module {SINK}
set-default-source {SPEAKER}.monitor
"""
_START_SECONDS = 20.0


def wait_for(condition: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_installed() -> bool:
    return all(shutil.which(program) for program in PROGRAMS)


class SoundServer:
    """Everything lies in one folder of its own; processes join it through `environment`."""

    def __init__(self, folder: Path) -> None:
        runtime, config = folder / "runtime", folder / "config"
        for path in (runtime, config / "pulse"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A client must not start another server while this one is meant to be dead.
        (config / "pulse" / "client.conf").write_text("autospawn = no\n")
        (folder / "server.pa").write_text(_SCRIPT)
        (folder / "alsa.conf").write_text(_ALSA)
        self.folder = folder
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(config),
            "ALSA_CONFIG_PATH": str(folder / "alsa.conf"),
            "HOME": str(folder),
        }
        for name in ("PULSE_SERVER", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
            self.environment.pop(name, None)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "-F"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self.folder / "server.pa")],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while f"{SPEAKER}.monitor" not in self.control("info", check=False):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order."""
        self.signal(signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        """Let it die without a word to its clients."""
        self.signal(signal.SIGKILL)
        self._reap()

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    @property
    def exit_code(self) -> int | None:
        """None while it runs, or was told to end."""
        return None if self._process is None else self._process.poll()

    def control(self, *arguments: str, check: bool = True) -> str:
        """Run ``pactl`` and return what it prints."""
        process = subprocess.run(
            ["pactl", *arguments],
            env=self.environment,
            check=check,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return process.stdout

    def python(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start Python where the microphone is this server's."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            env={**self.environment, "PYTHONPATH": str(REALTIME)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_recorders(self, count: int, timeout_seconds: float = 20.0) -> None:
        """Wait until so many programs record."""
        wait_for(lambda: self.recorders() == count, timeout_seconds)

    def recorders(self) -> int:
        """Return the number of programs that record."""
        return len(self.control("list", "short", "source-outputs").splitlines())

    def play(self, file: Path) -> "subprocess.Popen[bytes]":
        """Start to speak a file into the microphone."""
        return subprocess.Popen(
            ["paplay", f"--device={SPEAKER}", str(file)],
            env=self.environment,
            stderr=subprocess.DEVNULL,  # a server that dies makes it complain
        )

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
