"""What a stream must give: the same samples through a recognizer of our own, offline."""

import numpy as np

from ser_live.engine.recognizer import StreamRecognizer
from ser_live.model.classifier import OnnxClassifier
from tools.load.caller import Comparable, comparable
from tools.load.voice import Voice

_PIECE_BLOCKS = 100


def true_predictions(
    model: OnnxClassifier,
    voice: Voice,
    first_block: int,
    blocks: int,
    hop_ms: int,
    is_ended: bool = True,
) -> list[Comparable]:
    """Recognize blocks of a voice offline.

    Parameters
    ----------
    model : OnnxClassifier
        That the server has.
    voice : Voice
        What was said.
    first_block, blocks : int
        Which part of it.
    hop_ms : int
        From one prediction to the next.
    is_ended : bool
        The stream was ended, so the unfinished hop may have a prediction too.
    """
    recognizer = StreamRecognizer(model, voice.sample_rate_hz, hop_seconds=hop_ms / 1000.0)
    found = []
    for start in range(0, blocks, _PIECE_BLOCKS):
        order = np.arange(start, min(start + _PIECE_BLOCKS, blocks)) + first_block
        samples = voice.samples[order % len(voice.samples)]
        found += recognizer.process(samples.ravel())
    found += recognizer.flush() if is_ended else []
    return [comparable(prediction.to_dict()) for prediction in found]


def differences(got: list[Comparable], true: list[Comparable]) -> int:
    """Count the predictions that are not the same, missing ones and ones too many included."""
    pairs = zip(got, true, strict=False)
    return sum(one != other for one, other in pairs) + abs(len(got) - len(true))
