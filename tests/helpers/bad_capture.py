"""A capture process that speaks the protocol badly: ``bad_capture.py HOW``."""

import os
import signal
import struct
import sys
import time
from array import array

RATE_HZ = 16000


def message(kind: bytes, payload: bytes) -> bytes:
    return struct.pack("<cI", kind, len(payload)) + payload


OPENED = message(b"O", b'{"name": "bad", "sample_rate_hz": %d, "channels": 1}' % RATE_HZ)


def audio() -> bytes:
    head = struct.pack("<dQQIH", time.monotonic(), 0, 0, 0, 1)
    return head + array("f", [0.25] * (RATE_HZ // 50)).tobytes()


def talk(seconds: float) -> None:
    os.read(0, 1)
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        os.write(1, message(b"A", audio()))
        time.sleep(0.02)


FIRST_WORDS = {
    "refusing": message(b"F", b'{"message": "the device is busy"}'),
    "raising": b"",
    "exiting": b"",
    "garbage": bytes(range(256)) * 100,
    "huge": b"A" + b"\xff" * 4,
    "untrue": message(b"O", b'{"name": "bad", "sample_rate_hz": 0, "channels": 1}'),
    "listing": message(b"D", b'{"devices": []}'),
    "silent": b"",
}


def refuse_to_open(how: str) -> None:
    os.write(1, FIRST_WORDS[how])
    match how:
        case "refusing":
            os._exit(2)
        case "raising":
            raise ValueError("of no use")
        case "exiting":
            os._exit(0)
    time.sleep(1000)


def stop_talking(how: str) -> None:
    match how:
        case "crashing":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "breaking off":
            os.write(1, struct.pack("<cI", b"A", 5000) + audio()[:1000])
            os._exit(0)
        case "closing":
            os.close(1)
        case "babbling":
            os.write(1, b"no message at all")
    time.sleep(1000)


def main(how: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how in FIRST_WORDS:
        refuse_to_open(how)
    os.write(1, OPENED)
    talk(1000.0 if how == "good" else 0.5)
    stop_talking(how)


if __name__ == "__main__":
    main(sys.argv[1])
