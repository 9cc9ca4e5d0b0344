"""Capture in a thread of this process, where no capture process can be started."""

import atexit
import contextlib
import logging
import sys
import threading
from functools import cache
from typing import ClassVar
from weakref import WeakSet

from ser_live.errors import SerError
from ser_live.interpreter import interpreter
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.capture_process import CaptureProcess
from ser_live.sources.devices import InputDevice, load_portaudio

_log = logging.getLogger(__name__)

_END_SECONDS = 1.5


class CaptureThread(CaptureProcess):
    """Do in this process what a capture process does; one device, once.

    A driver that crashes takes the program with it, and after one that hangs no device opens
    before the program is started again. The parameters are those of `CaptureProcess`.
    """

    _launching = threading.Lock()
    _launched: ClassVar[WeakSet["CaptureThread"]] = WeakSet()

    def open(self) -> protocol.Opened:
        """Open the device in a thread of its own, and raise SerError as a process would."""
        opened = super().open()
        # PortAudio may hang if it ends under a device. What is registered after its own way out,
        # so once a device is open, comes before it.
        atexit.register(self.close)
        return opened

    def close(self) -> None:
        """End capture; a driver that hangs is left alone."""
        super().close()
        atexit.unregister(self.close)
        if self._pump is not None:
            self._orders.end()
            if self._is_running(_END_SECONDS):
                _log.warning("the driver of the sound device hangs; it is left alone")

    def _launch(self) -> None:
        from ser_live.sources.capture_worker import Orders  # noqa: PLC0415 - a process needs none

        _log_limits()
        with self._launching:
            others = [other for other in self._launched if other._is_running(_END_SECONDS)]
            if any(other._is_closed for other in others):
                raise SerError("the driver of a sound device hangs; start this program again")
            self._orders = Orders()
            with self._closing:  # a close in another thread either sees the pump, or comes before
                self._pump = threading.Thread(target=self._run, args=(not others,), daemon=True)
                self._pump.start()
            self._launched.add(self)

    def _run(self, is_alone: bool) -> None:
        from ser_live.sources import capture_worker  # noqa: PLC0415 - a process needs none

        if is_alone:
            _look_for_devices()
        capture_worker.run(capture_worker.parse(self._words), self._orders, self._take)
        if self._orders.stream is not None:
            self._orders.stream.close()

    def _order(self, frames: int) -> None:
        self._orders.give(frames)

    def _is_running(self, timeout_seconds: float) -> bool:
        """Tell whether it runs, after a wait for the end of one that was closed."""
        if self._pump is not None and self._is_closed:
            self._pump.join(timeout_seconds)
        return self._pump is not None and self._pump.is_alive()


def open_capture(
    device: str | int | None = None, sample_rate_hz: int | None = None, channels: int | None = None
) -> CaptureProcess:
    """Return what captures: a process, or a thread where none can be started."""
    kind = CaptureProcess if interpreter() else CaptureThread
    return kind(device, sample_rate_hz, channels)


def input_devices() -> list[InputDevice]:
    """Return the devices that can record, with the usual rates that they accept.

    Raises
    ------
    SerError
        Without the PortAudio library, or if it does not answer within 15 seconds.
    """
    return open_capture().devices()


@cache
def _log_limits() -> None:
    """Tell once how this differs."""
    _log.info(
        "%s cannot be started as a Python interpreter: capture runs in this process, which a "
        "driver that hangs or crashes takes with it",
        sys.executable or "this program",
    )


@cache
def _is_portaudio_ours() -> bool:
    """Tell whether no other part of the program had loaded PortAudio when capture began."""
    return "sounddevice" not in sys.modules


def _look_for_devices() -> None:
    """Let PortAudio look for devices again: it knows those that were there when it was loaded.

    Not where another part of the program plays or records, whose streams that would end.
    """
    if _is_portaudio_ours() and "sounddevice" in sys.modules:
        portaudio = load_portaudio()
        with contextlib.suppress(portaudio.PortAudioError):  # the device will say why
            portaudio._terminate()
            portaudio._initialize()
