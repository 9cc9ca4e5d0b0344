"""Listen to a microphone, keep what it captured: ``capture.py DEVICE MODEL SECONDS WAV``.

Prints the predictions as JSON lines, then one line with the source's counters.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator

import numpy as np
import soundfile

from ser_live.live.listener import listen
from ser_live.sources import Block, Microphone, Notice


class Recorder(Microphone):
    """A microphone that remembers its blocks."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self.blocks: list[Block] = []

    def __iter__(self) -> Iterator[Block | Notice]:
        for item in super().__iter__():
            if isinstance(item, Block):
                self.blocks.append(item)
            yield item


def main(device: str, model: str, seconds: str, wav: str) -> None:
    source = Recorder(device)
    with listen(source, model=model) as predictions:
        for prediction in predictions:
            print(json.dumps(prediction.to_dict()), flush=True)
            if prediction.end_seconds >= float(seconds):
                break
    samples = np.concatenate([block.samples for block in source.blocks])
    soundfile.write(wav, samples, source.sample_rate_hz, subtype="FLOAT")
    print(json.dumps(dataclasses.asdict(source.counters)))


if __name__ == "__main__":
    main(*sys.argv[1:])
