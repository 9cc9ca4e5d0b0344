"""Real-time speech emotion recognition.

`StreamRecognizer` turns a stream of samples into a `Prediction` per hop; `listen` is the live
loop over a microphone or any source, `alisten` the same for asyncio; `recognize_file` gives the
`Recognition` of a whole recording, `recognize_files` of many; `Utterance` is the one answer for
what was said between two silences, which `UtteranceTracker` makes of predictions; `Event` is what
happens beside them; `ModelCard` says what a model is; `SerError` is what a caller's mistake raises.

The names are loaded when they are first used, so that ``ser-live --help`` need not wait for
onnxruntime.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # "as" says that they are public
    from ser_live.batch import recognize_files as recognize_files
    from ser_live.engine.recognizer import StreamRecognizer as StreamRecognizer
    from ser_live.engine.segments import Segment as Segment
    from ser_live.engine.segments import Segmenter as Segmenter
    from ser_live.engine.utterances import Utterance as Utterance
    from ser_live.engine.utterances import UtteranceTracker as UtteranceTracker
    from ser_live.errors import SerError as SerError
    from ser_live.events import Event as Event
    from ser_live.live.async_listener import alisten as alisten
    from ser_live.live.listener import listen as listen
    from ser_live.live.recognition import Recognition as Recognition
    from ser_live.live.recognition import recognize_file as recognize_file
    from ser_live.model.card import ModelCard as ModelCard
    from ser_live.model.classifier import OnnxClassifier as OnnxClassifier
    from ser_live.prediction import Prediction as Prediction
    from ser_live.sources.microphone import Microphone as Microphone
    from ser_live.sources.push import PushSource as PushSource

# Nothing is sent anywhere: newer releases of onnxruntime would otherwise count their uses.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
_HOMES = {
    "Event": "ser_live.events",
    "Microphone": "ser_live.sources.microphone",
    "ModelCard": "ser_live.model.card",
    "OnnxClassifier": "ser_live.model.classifier",
    "Prediction": "ser_live.prediction",
    "PushSource": "ser_live.sources.push",
    "Recognition": "ser_live.live.recognition",
    "Segment": "ser_live.engine.segments",
    "Segmenter": "ser_live.engine.segments",
    "SerError": "ser_live.errors",
    "StreamRecognizer": "ser_live.engine.recognizer",
    "Utterance": "ser_live.engine.utterances",
    "UtteranceTracker": "ser_live.engine.utterances",
    "alisten": "ser_live.live.async_listener",
    "listen": "ser_live.live.listener",
    "recognize_file": "ser_live.live.recognition",
    "recognize_files": "ser_live.batch",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ser_live' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
