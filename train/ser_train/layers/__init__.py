"""Registered Keras layers: importing this package lets Keras load every ``.keras`` file of ours."""

from ser_train.layers.head import (
    AttentiveStatistics,
    LogMeanProbability,
    Temperature,
    with_probabilities,
)
from ser_train.layers.mel_and_pitch import FloorSubtraction, LogMel, MelAndPitch, Pitchgram
from ser_train.layers.pooled193 import Pooled193
from ser_train.layers.speech_encoder import LowerEncoder, SpeechEncoder, UpperEncoder

__all__ = [
    "AttentiveStatistics",
    "FloorSubtraction",
    "LogMeanProbability",
    "LogMel",
    "LowerEncoder",
    "MelAndPitch",
    "Pitchgram",
    "Pooled193",
    "SpeechEncoder",
    "Temperature",
    "UpperEncoder",
    "with_probabilities",
]
