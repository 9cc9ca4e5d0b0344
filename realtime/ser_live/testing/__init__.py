"""Faults on demand: test your own program against everything that microphones do.

`FakeMicrophone` is the real `ser_live.sources.Microphone` on a scripted device, in virtual time:
a minute of it takes a fraction of a second, and every run is the same.

>>> from ser_live import listen
>>> from ser_live.testing import FakeMicrophone, Unplug, demo_voice
>>> microphone = FakeMicrophone(
...     demo_voice(), [Unplug(at_seconds=3.0, away_seconds=2.0)], seconds=8.0
... )
>>> with listen(microphone, events=True, clock=microphone.clock.monotonic) as items:
...     for item in items:
...         if hasattr(item, "kind"):
...             print(item.kind, item.detail)
device_lost fake microphone: the device is gone; trying to open it again
device_restored fake microphone: back after 2.9 s
gap 2.880 s are missing

The faults, all times in seconds of the device's time:

===============  ===============================================================================
`Jitter`         blocks come late, each by another time, but in order
`Stall`          nothing comes for a while, then everything at once
`Overrun`        the device loses frames and reports it, with or without telling how many
`Backlog`        the capture process gives frames up for want of room
`Unplug`         the device goes and comes back, also at another rate or after refusals
`Crash`          the audio callback raises
`HangOnOpen`     an attempt to open the device hangs
`NotANumber`     samples are NaN or infinite
`Zeros`          every sample is zero
`Clipping`       the level is too high
`Offset`         a constant is added
`ClockJump`      the clock of the capture times jumps
`WrongRate`      more or fewer frames per second come than the device says
===============  ===============================================================================

`SlowModel` makes recognition as slow as you want, on the same clock; `write_tiny_model` makes a
model that loads in no time. Nothing here is needed at run time.
"""

from ser_live.sources import demo_voice
from ser_live.testing.clock import Alarm, VirtualClock
from ser_live.testing.device import FakeDevice, Signal
from ser_live.testing.faults import (
    Backlog,
    Clipping,
    ClockJump,
    Crash,
    Fault,
    HangOnOpen,
    Jitter,
    LastingFault,
    NotANumber,
    Offset,
    Overrun,
    Stall,
    Unplug,
    WrongRate,
    Zeros,
)
from ser_live.testing.microphone import FakeMicrophone
from ser_live.testing.models import SlowModel, tiny_card, write_tiny_model
from ser_live.testing.sound import speech_like

__all__ = [
    "Alarm",
    "Backlog",
    "Clipping",
    "ClockJump",
    "Crash",
    "FakeDevice",
    "FakeMicrophone",
    "Fault",
    "HangOnOpen",
    "Jitter",
    "LastingFault",
    "NotANumber",
    "Offset",
    "Overrun",
    "Signal",
    "SlowModel",
    "Stall",
    "Unplug",
    "VirtualClock",
    "WrongRate",
    "Zeros",
    "demo_voice",
    "speech_like",
    "tiny_card",
    "write_tiny_model",
]
