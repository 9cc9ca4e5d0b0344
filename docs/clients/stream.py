"""Send raw audio to ser-serve as it comes, and print each change.

    arecord -q -t raw -f S16_LE -r 16000 | python stream.py http://127.0.0.1:8321
    ffmpeg -v error -i talk.mp3 -f s16le -ac 1 -ar 16000 - | python stream.py "ADDRESS#token=TOKEN"

It needs: pip install ser-live websockets
"""

import sys

from ser_live import Prediction, SerError
from ser_live.client import Item, Stream

RATE_HZ = 16000
BLOCK_BYTES = RATE_HZ // 10 * 2


def show(item: Item) -> None:
    """Print a change; other items are `Segment`, `Event`, and `Utterance` where asked for."""
    if isinstance(item, Prediction) and item.changed:
        told = item.label or item.state
        print(f"{item.end_seconds:.2f} {told} {item.confidence:.2f}", flush=True)


def main(server: str = "http://127.0.0.1:8321") -> None:
    """Stream stdin to its end."""
    with Stream(server, sample_rate_hz=RATE_HZ, format="s16le") as stream:
        while block := sys.stdin.buffer.read(BLOCK_BYTES):
            stream.send(block)
            for item in stream.received():  # what has come so far
                show(item)
        stream.end()
        for item in stream:  # the rest: every sample is answered for
            show(item)
    print(f"{stream.ended.processed_samples} samples recognized", file=sys.stderr)


try:
    main(*sys.argv[1:])
except SerError as error:  # not there, or it refuses, or it ends the stream, and why
    sys.exit(f"{error}")
