"""Listen to frames that carry their numbers, and check that each stands where it belongs.

Prints the capture process's id as JSON, then at the end where every frame went. With ``--fork``
another process inherits all pipes first.
"""

import argparse
import dataclasses
import json
import os
import time

import numpy as np

from helpers.processes import captures
from ser_live.sources import Block, Microphone

MODULUS = 1 << 20


def fork() -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(60.0)
        os._exit(0)
    return pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--losses", type=int, help="end after so many losses of frames")
    parser.add_argument("--fork", action="store_true")
    arguments = parser.parse_args()
    position = missing = losses = wrong_frames = 0
    with Microphone() as source:
        (capture,) = captures()
        forked = fork() if arguments.fork else 0
        print(json.dumps({"capture": capture, "forked": forked}), flush=True)
        for item in source:
            if isinstance(item, Block):
                missing += item.missing_frames
                losses += item.missing_frames > 0
                position += item.missing_frames
                numbers = np.arange(position, position + len(item.samples)) % MODULUS
                wrong_frames += int(np.count_nonzero(item.samples[:, 0] != numbers))
                position += len(item.samples)
            if losses == arguments.losses:
                break
        counters = dataclasses.asdict(source.counters)
    print(json.dumps({"missing": missing, "wrong_frames": wrong_frames, **counters}))


if __name__ == "__main__":
    main()
