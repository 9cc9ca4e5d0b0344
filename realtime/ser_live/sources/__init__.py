"""Sources of samples: microphone, file, raw PCM. The only part that knows devices."""

from ser_live.sources.capture_thread import input_devices
from ser_live.sources.contract import Block, Notice, Source, SourceCounters
from ser_live.sources.files import DEMO_NOTICE, DEMO_PATH, FileSource, Pace, demo_voice
from ser_live.sources.microphone import Microphone
from ser_live.sources.raw import RawSource
from ser_live.stream_protocol import SampleFormat

__all__ = [
    "DEMO_NOTICE",
    "DEMO_PATH",
    "Block",
    "FileSource",
    "Microphone",
    "Notice",
    "Pace",
    "RawSource",
    "SampleFormat",
    "Source",
    "SourceCounters",
    "demo_voice",
    "input_devices",
]
