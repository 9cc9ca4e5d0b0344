"""A capture process that speaks the protocol badly: ``bad_capture.py HOW``."""

import json
import os
import signal
import struct
import sys
import time
from array import array

RATE_HZ = 16000


def send(kind: bytes, payload: bytes) -> None:
    os.write(1, struct.pack("<cI", kind, len(payload)) + payload)


def open_device() -> None:
    fields = {"name": "bad", "sample_rate_hz": RATE_HZ, "channels": 1}
    send(b"O", json.dumps(fields).encode())


def audio() -> bytes:
    head = struct.pack("<dQQIH", time.monotonic(), 0, 0, 0, 1)
    return head + array("f", [0.25] * (RATE_HZ // 50)).tobytes()


def talk(seconds: float) -> None:
    os.read(0, 1)
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        send(b"A", audio())
        time.sleep(0.02)


def refuse_to_open(how: str) -> None:
    match how:
        case "refusing":
            send(b"F", b'{"message": "the device is busy"}')
            os._exit(2)
        case "raising":
            raise ValueError("of no use")
        case "exiting":
            os._exit(0)
        case "garbage":
            os.write(1, bytes(range(256)) * 100)
        case "huge":
            os.write(1, b"A" + b"\xff" * 4)
        case "untrue":
            send(b"O", b'{"name": "bad", "sample_rate_hz": 0, "channels": 1}')
        case "listing":
            send(b"D", b'{"devices": []}')
        case "silent":
            pass
        case _:
            return
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
    refuse_to_open(how)
    open_device()
    talk(1000.0 if how == "good" else 0.5)
    stop_talking(how)


if __name__ == "__main__":
    main(sys.argv[1])
