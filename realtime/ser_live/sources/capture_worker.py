"""Capture process: a microphone on one side, messages on a pipe on the other.

PortAudio cannot be trusted to come back when a device or a sound server dies under it, so it
lives in a process that can be killed: ``python -m ser_live.sources.capture_worker``, started by
`Microphone`. It opens the device, says so, waits for a line on stdin, and then writes what it
captures to stdout (`ser_live.sources.capture_protocol`). Each line is a number: before so many
frames of its stream it need not write, for nothing is due. It ends when stdin ends, so it never
outlives its parent.
"""

import argparse
import contextlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import BinaryIO

from ser_live.command_line import USER_ERROR
from ser_live.errors import SerError
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.device_stream import DeviceStream
from ser_live.sources.devices import find_input_device, portaudio_inputs

_FIGURES_SECONDS = 1.0
_LOOK_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the capture process and return its exit code."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    # The pipe is for messages alone: what native libraries print to stdout must not get into it.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    orders = _Orders()
    for obedience in (orders.obey, _end_with_parent):
        threading.Thread(target=obedience, daemon=True).start()
    try:
        if arguments.list:
            _tell(pipe, protocol.Devices(tuple(portaudio_inputs(with_rates=True))))
        else:
            _capture(arguments, pipe, orders)
    except SerError as error:
        _tell(pipe, protocol.Failed(str(error)))
        return USER_ERROR
    except Exception as error:  # the parent has to hear of it, whatever it is
        traceback.print_exc()
        reason = " ".join(str(error).split())
        _tell(
            pipe, protocol.Failed(f"the capture process failed ({type(error).__name__}: {reason})")
        )
        return USER_ERROR
    return 0


def _capture(arguments: argparse.Namespace, pipe: BinaryIO, orders: "_Orders") -> None:
    device = find_input_device(arguments.device)
    stream = DeviceStream(device, arguments.rate, arguments.channels)
    _tell(pipe, protocol.Opened(stream.name, stream.sample_rate_hz, stream.channels))
    orders.stream = stream
    orders.go.wait()
    stream.start()
    told_at = time.monotonic()
    # Figures by the clock, not by the block: a hint may let few blocks come.
    while True:
        stream.wait(_FIGURES_SECONDS)
        failure = stream.failure
        for audio in stream.audio():  # also what came before a failure
            _tell(pipe, audio)
        if failure is not None:
            raise SerError(failure)
        if time.monotonic() - told_at >= _FIGURES_SECONDS:
            told_at = time.monotonic()
            _tell(pipe, stream.callback_latency())


class _Orders:
    """Orders of the parent."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.stream: DeviceStream | None = None

    def obey(self) -> None:
        """Wait for the order to start, then for the end of stdin: no process listens any more."""
        while line := sys.stdin.buffer.readline():
            if self.stream is not None and line.strip().isdigit():
                self.stream.wanted_frames = int(line)
            self.go.set()
        os._exit(0)  # at once: PortAudio's own way out may hang on a device that is gone


def _tell(pipe: BinaryIO, message: protocol.Message) -> None:
    try:
        pipe.write(protocol.encode(message))
        pipe.flush()
    except OSError:  # the process that listened has gone
        os._exit(0)


def _end_with_parent() -> None:
    """End with the parent: a process that it forked may hold stdin open after its end."""
    parent = os.getppid()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel before 5.3, or the parent has just ended
            select.select([os.pidfd_open(parent)], [], [])
    while os.getppid() == parent:  # no other system tells of the end of a parent
        time.sleep(_LOOK_SECONDS)
    os._exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ser_live.sources.capture_worker", description=__doc__
    )
    parser.add_argument("--device", help="name or index; default: the default microphone")
    parser.add_argument("--rate", type=int, help="try this rate first; default: the device's own")
    parser.add_argument("--channels", type=int, help="try so many channels first")
    parser.add_argument("--list", action="store_true", help="tell the input devices instead")
    return parser


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)  # at once: PortAudio's own way out may hang on a device that is gone
