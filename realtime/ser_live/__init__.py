"""Real-time speech emotion recognition.

`StreamRecognizer` turns a stream of samples into a `Prediction` per hop; `ModelCard` says what
a model is; `SerError` is what a caller's mistake raises; `listen` is the live loop.
"""

from ser_live.card import ModelCard
from ser_live.errors import SerError
from ser_live.prediction import Prediction
from ser_live.recognizer import StreamRecognizer

__version__ = "0.1.0"
__all__ = ["ModelCard", "Prediction", "SerError", "StreamRecognizer"]
