"""Registered Keras layers: importing this package lets Keras load every ``.keras`` file of ours."""

from ser_train.layers.averaging import LogMeanProbability
from ser_train.layers.logmel import LogMel
from ser_train.layers.mel_and_pitch import MelAndPitch
from ser_train.layers.noise_floor import FloorSubtraction
from ser_train.layers.pitchgram import Pitchgram
from ser_train.layers.pooled193 import Pooled193
from ser_train.layers.pooling import AttentiveStatistics
from ser_train.layers.temperature import Temperature

__all__ = [
    "AttentiveStatistics",
    "FloorSubtraction",
    "LogMeanProbability",
    "LogMel",
    "MelAndPitch",
    "Pitchgram",
    "Pooled193",
    "Temperature",
]
