"""Talk to a ser-live server from Python: a stream, live, or a whole file.

`Stream` sends samples and gives back `Prediction`, `Segment` and `Event`, and `Utterance` where it
is asked for; `AsyncStream` is its twin for asyncio; `recognize_file` sends a whole recording.
``server`` is the address that ``ser-serve`` printed, its token included.

>>> from ser_live.client import Stream
>>> with Stream(server, sample_rate_hz=16000) as stream:
...     for block in blocks:  # int16 or float samples, or bytes, of any length
...         stream.send(block)
...         for item in stream.received():  # what has come so far
...             pass
...     stream.end()
...     for item in stream:  # the rest: every sample sent is answered for
...         pass
>>> stream.ended.received_samples == stream.ended.processed_samples
True

It needs the package ``websockets``, which comes with the extra ``serve``, and neither numpy
nor onnxruntime as long as samples are given as bytes.
"""

from ser_live.client.address import DEFAULT_SERVER
from ser_live.client.files import Recognition, recognize_file
from ser_live.client.messages import Item, ServerError
from ser_live.client.stream import AsyncStream, Stream
from ser_live.stream_protocol import Ended, ServedModel, Started

__all__ = [
    "DEFAULT_SERVER",
    "AsyncStream",
    "Ended",
    "Item",
    "Recognition",
    "ServedModel",
    "ServerError",
    "Started",
    "Stream",
    "recognize_file",
]
