"""Fake of sounddevice for the capture process, without a sound card: ``FAKE_AUDIO`` says what goes
wrong there, and a test that imports it may set the names below. The value of a frame is its number,
modulo `MODULUS`, so that nothing can get lost unseen.
"""

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

MODULUS = 1 << 20
MODE = os.environ.get("FAKE_AUDIO", "")

default = SimpleNamespace(device=(0, 0))
devices = [("fake", 2)]  # name, input channels
default_rate_hz = 48000.0
refused: set[tuple[int, int]] = set()  # rate, channels
tried: list[tuple[int, int]] = []
overflows: set[int] = set()  # numbers of blocks
broken_block = last_block = -1
looks = 1  # for devices
is_over = threading.Event()


class PortAudioError(Exception):
    pass


if MODE == "missing":
    raise OSError("PortAudio library not found")
if MODE == "uninitialized":
    raise PortAudioError("Error initializing PortAudio: Unanticipated host error")


def _terminate() -> None:
    global looks  # noqa: PLW0603
    looks += 1


def _initialize() -> None:
    pass


def query_devices() -> list[dict[str, object]]:
    if MODE == "hangs":
        is_over.wait(1000)
    if MODE == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if MODE == "fails":
        raise PortAudioError("Error\nquerying device")
    return [
        {
            "index": index,
            "name": name,
            "max_input_channels": channels,
            "default_samplerate": default_rate_hz,
        }
        for index, (name, channels) in enumerate([] if MODE == "none" else devices)
    ]


def check_input_settings(*, samplerate: int, channels: int, **_: object) -> None:
    if (samplerate, channels) in refused:
        raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")


class InputStream:
    """Calls back in real time from a thread."""

    def __init__(
        self,
        *,
        samplerate: int,
        blocksize: int,
        channels: int,
        callback: Callable[..., None],
        finished_callback: Callable[[], None],
        **_: object,
    ) -> None:
        tried.append((samplerate, channels))
        check_input_settings(samplerate=samplerate, channels=channels)
        self.samplerate, self.channels = float(samplerate), channels
        self._blocksize = blocksize
        self._callback, self._finished_callback = callback, finished_callback
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        if MODE == "refuses":
            raise PortAudioError("Device unavailable")
        self._thread.start()
        if MODE == "floods":
            threading.Thread(target=_flood, daemon=True).start()

    def close(self, ignore_errors: bool = True) -> None:
        is_over.set()
        if self._thread.ident:
            self._thread.join()
        is_over.clear()

    def _run(self) -> None:
        times = SimpleNamespace(inputBufferAdcTime=0.0, currentTime=0.0)
        begun_at, frames = time.monotonic(), 0
        for block in itertools.count():
            if MODE == "stalls" and frames > self.samplerate / 2:
                time.sleep(1000)
            numbers = np.arange(frames, frames + self._blocksize) % MODULUS
            frames += self._blocksize
            due_seconds = frames / self.samplerate
            if MODE == "hurries":  # once its clock is believed
                due_seconds = min(due_seconds, 0.5 + (due_seconds - 0.5) / 4.0)
            if MODE == "late":
                due_seconds = max(due_seconds, 0.4)
            if is_over.wait(max(0.0, begun_at + due_seconds - time.monotonic())):
                return
            samples = np.repeat(numbers.astype(np.float32)[:, None], self.channels, axis=1)
            if block == broken_block:
                samples = samples[:, :0]
            status = SimpleNamespace(input_overflow=block in overflows)
            self._callback(samples, self._blocksize, times, status)
            if block == last_block or (MODE == "ends" and frames > self.samplerate / 2):
                break
        self._finished_callback()


def _flood() -> None:
    line = b"ALSA lib pcm_pulse.c:761:(pulse_prepare) PulseAudio: Unable to create stream\n" * 800
    while True:
        os.write(sys.stderr.fileno(), line)
