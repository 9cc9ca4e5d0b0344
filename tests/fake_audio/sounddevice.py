"""What the capture process needs of sounddevice, without a sound card: ``FAKE_AUDIO`` says what
goes wrong. The value of a frame is its number, modulo `MODULUS`, so that nothing can get lost
unseen.
"""

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


class PortAudioError(Exception):
    pass


if MODE == "missing":
    raise OSError("PortAudio library not found")
if MODE == "uninitialized":
    raise PortAudioError("Error initializing PortAudio: Unanticipated host error")


def query_devices() -> list[dict[str, object]]:
    if MODE == "hangs":
        time.sleep(1000)
    if MODE == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if MODE == "fails":
        raise PortAudioError("Error\nquerying device")
    if MODE == "none":
        return []
    device = {"index": 0, "name": "fake", "max_input_channels": 2, "default_samplerate": 48000.0}
    return [device]


def check_input_settings(**_: object) -> None:
    pass


class InputStream:
    """Calls back in real time from a thread."""

    def __init__(
        self,
        *,
        samplerate: int,
        blocksize: int,
        device: int,
        channels: int,
        dtype: str,
        callback: Callable[..., None],
        finished_callback: Callable[[], None],
    ) -> None:
        self.samplerate, self.channels = float(samplerate), channels
        self._blocksize = blocksize
        self._callback, self._finished_callback = callback, finished_callback

    def start(self) -> None:
        if MODE == "refuses":
            raise PortAudioError("Device unavailable")
        threading.Thread(target=self._run, daemon=True).start()
        if MODE == "floods":
            threading.Thread(target=_flood, daemon=True).start()

    def _run(self) -> None:
        times = SimpleNamespace(inputBufferAdcTime=0.0, currentTime=0.0)
        status = SimpleNamespace(input_overflow=False)
        begun_at, frames = time.monotonic(), 0
        while not (MODE == "ends" and frames > self.samplerate / 2):
            if MODE == "stalls" and frames > self.samplerate / 2:
                time.sleep(1000)
            numbers = np.arange(frames, frames + self._blocksize) % MODULUS
            frames += self._blocksize
            due_seconds = frames / self.samplerate
            if MODE == "hurries":  # once its clock is believed
                due_seconds = min(due_seconds, 0.5 + (due_seconds - 0.5) / 4.0)
            if MODE == "late":
                due_seconds = max(due_seconds, 0.4)
            time.sleep(max(0.0, begun_at + due_seconds - time.monotonic()))
            samples = np.repeat(numbers.astype(np.float32)[:, None], self.channels, axis=1)
            self._callback(samples, self._blocksize, times, status)
        self._finished_callback()


def _flood() -> None:
    line = b"ALSA lib pcm_pulse.c:761:(pulse_prepare) PulseAudio: Unable to create stream\n" * 800
    while True:
        os.write(sys.stderr.fileno(), line)
