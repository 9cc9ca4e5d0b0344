"""A day of bad luck, from a seed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ser_live.testing import faults
from ser_live.testing.faults import Fault

RATE_HZ = 48000
CHANNELS = 1
_FORMATS = ((48000, 1), (48000, 1), (44100, 1), (22050, 2), (16000, 1))
_FIRST_MINUTE_SECONDS = 60.0
_LAST_SECONDS = 60.0
_FIRST_FAULTS: tuple[Fault, ...] = (
    faults.Jitter(1.0, 1.0, 0.2),
    faults.Zeros(1.0, 2.5),
    faults.Stall(4.0, 0.5),
    faults.Overrun(5.0, 0.3),
    faults.Overrun(5.5, 0.05),
    faults.Overrun(6.0, 0.2, is_known=False),
    faults.Backlog(6.5, 0.2),
    faults.Crash(7.0),
    faults.NotANumber(8.0, 0.1),
    faults.Clipping(8.0, 1.5),
    faults.Offset(10.0, 1.5),
    faults.ClockJump(12.0, 100.0),
    faults.WrongRate(12.0, 1.0, 1.001),
    faults.HangOnOpen(13.0, 1.0),
    faults.Unplug(13.0, 0.1, 44100, 1),
    faults.Unplug(15.0, 0.1, 22050, 2),
    faults.Unplug(16.0, 0.1, 16000, 1),
    faults.Unplug(17.0, 0.1, 44100, 1),
    faults.Unplug(18.0, 0.1, 22050, 2),
    faults.Unplug(19.0, 0.1, RATE_HZ, CHANNELS),
    faults.Stall(20.0, 1.0),
)


@dataclass(frozen=True, slots=True)
class Slowness:
    """The reader or the model is slow for a while."""

    at_seconds: float
    seconds: float
    """Time that the reader sleeps once, or that each answer of the model takes."""
    duration_seconds: float = 0.0
    """Time that the model stays so."""


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that goes wrong, each list in order."""

    faults: tuple[Fault, ...]
    sleeps: tuple[Slowness, ...]
    """Of the reader."""
    slow_models: tuple[Slowness, ...]


def script(seconds: float, faults_per_hour: float, seed: int) -> Script:
    """Return faults at random times; the first half minute has one of each kind.

    So all memory that any of them needs is there when the first minute is over, and what grows
    after it is a leak. The end is quiet, in the format of the beginning.
    """
    random = np.random.default_rng(seed)
    later = [
        _KINDS[int(random.integers(len(_KINDS)))](random, at)
        for at in _times(random, seconds, faults_per_hour)
    ]
    last = [faults.Unplug(seconds - _LAST_SECONDS, 0.1, RATE_HZ, CHANNELS)]
    chosen = [f for f in (*_FIRST_FAULTS, *later, *last) if 0.0 < f.at_seconds < seconds]
    sleeps = [Slowness(21.5, 11.0)]
    sleeps += [
        Slowness(at, float(random.choice((0.5, 2.0, 5.0, 15.0))))
        for at in _times(random, seconds, faults_per_hour / 10.0)
    ]
    slow_models = [Slowness(33.0, 0.6, 3.0)]
    slow_models += [
        Slowness(at, float(random.choice((0.05, 0.3, 0.6))), 20.0)
        for at in _times(random, seconds, faults_per_hour / 10.0)
    ]
    return Script(tuple(chosen), tuple(sleeps), tuple(slow_models))


def _times(random: np.random.Generator, seconds: float, per_hour: float) -> Iterator[float]:
    at = _FIRST_MINUTE_SECONDS
    while per_hour > 0.0:
        at += float(random.exponential(3600.0 / per_hour))
        if at >= seconds - _LAST_SECONDS:
            return
        yield at


def _length(random: np.random.Generator, least: float, most: float) -> float:
    """Any order of magnitude is as likely as any other."""
    return float(math.exp(random.uniform(math.log(least), math.log(most))))


def _unplug(random: np.random.Generator, at: float) -> Fault:
    rate_hz, channels = _FORMATS[int(random.integers(len(_FORMATS)))]
    away_seconds = _length(random, 0.05, 60.0)
    return faults.Unplug(at, away_seconds, rate_hz, channels, int(random.integers(4)))


_KINDS: tuple[Callable[[np.random.Generator, float], Fault], ...] = (
    lambda r, at: faults.Jitter(at, _length(r, 1.0, 20.0), float(r.uniform(0.0, 0.3))),
    lambda r, at: faults.Stall(at, _length(r, 0.05, 5.0)),
    lambda r, at: faults.Overrun(at, _length(r, 0.005, 2.0)),
    lambda r, at: faults.Overrun(at, _length(r, 0.005, 0.5), is_known=False),
    lambda r, at: faults.Backlog(at, _length(r, 0.005, 0.5)),
    _unplug,
    lambda r, at: faults.Crash(at),
    lambda r, at: faults.HangOnOpen(at, float(r.choice((1.0, 60.0)))),
    lambda r, at: faults.NotANumber(at, _length(r, 0.001, 1.0)),
    lambda r, at: faults.Zeros(at, _length(r, 0.1, 10.0)),
    lambda r, at: faults.Clipping(at, _length(r, 0.1, 10.0)),
    lambda r, at: faults.Offset(at, _length(r, 0.1, 10.0)),
    lambda r, at: faults.ClockJump(at, float(r.uniform(-5000.0, 5000.0))),
    lambda r, at: faults.WrongRate(at, _length(r, 1.0, 600.0), float(r.uniform(0.998, 1.002))),
)
