"""Microphone at the rate that it likes best, opened again when it was lost."""

import dataclasses
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Protocol, Self

from ser_live.errors import SerError
from ser_live.sources import capture_protocol as protocol
from ser_live.sources.capture_clock import CaptureTimes, asleep_seconds
from ser_live.sources.capture_process import Capture
from ser_live.sources.capture_thread import open_capture
from ser_live.sources.contract import Block, Notice, SourceCounters
from ser_live.sources.ring import FrameRing

_log = logging.getLogger(__name__)

_BLOCK_SECONDS = 0.25
_SHORTEST_BUFFER_SECONDS = 0.5  # twice what the capture process may send at a time
_LONGEST_BUFFER_SECONDS = 3600.0
_LOOK_SECONDS = 0.25  # no more often than audio comes
_STALL_SECONDS = 0.75  # three times what a device may wait before it hands over
_START_SECONDS = 5.0  # a sound server that has just been started takes its time
_SHORTEST_SLEEP_SECONDS = 0.5  # less is an inexact clock
_BACK_OFF_SECONDS = (0.1, 0.25, 0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 5.0)

OpenCapture = Callable[[str | int | None, int | None, int | None], Capture]


class Clock(Protocol):
    """Time, which a test can replace."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        ...

    def wait(self, event: threading.Event, timeout_seconds: float) -> bool:
        """Wait for an event, but no longer than that, and return whether it is set."""
        ...


class SystemClock:
    """Time of this machine."""

    def monotonic(self) -> float:
        """Return seconds that only grow; all processes see the same."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_seconds: float) -> bool:
        """Wait for an event, but no longer than that, and return whether it is set."""
        return event.wait(timeout_seconds)


class Microphone:
    """Samples of an input device, as they are captured.

    A process of its own captures, and is killed and started again when the device is lost; where
    none can be started, as in a frozen program, a thread does that. A reader that is slower than
    the device loses the oldest samples; every `Block` says how many frames are missing before it,
    whatever the reason.

    Parameters
    ----------
    device : str, int or None
        Index, name or part of a name; None: the system's default. After a loss it is looked for
        by the name that it had.
    buffer_seconds : float
        Audio that waits for a reader, at most; 0.5 to 3600.
    reconnect : bool
        False: a lost device raises SerError instead of being opened again.
    open_capture : callable
        Opens what captures; see `ser_live.testing`.
    clock : Clock
        Tells the time and waits.

    Raises
    ------
    SerError
        For an impossible buffer; on entering, if the device does not open.

    Examples
    --------
    >>> from ser_live import Microphone, listen
    >>> microphone = Microphone("USB")  # a part of a name that ``ser-live --list-devices`` shows
    >>> predictions = listen(microphone)  # which opens it when the first one is asked for
    >>> microphone.device
    'USB'
    """

    is_live = True
    notes: tuple[str, ...] = ()
    """Empty: what a microphone loses is in its counters."""
    channels: int
    sample_rate_hz: int

    def __init__(
        self,
        device: str | int | None = None,
        buffer_seconds: float = 10.0,
        reconnect: bool = True,
        open_capture: OpenCapture = open_capture,
        clock: Clock | None = None,
    ) -> None:
        if not _SHORTEST_BUFFER_SECONDS <= buffer_seconds <= _LONGEST_BUFFER_SECONDS:
            raise SerError(
                f"buffer_seconds is {buffer_seconds!r}, wanted {_SHORTEST_BUFFER_SECONDS:g} to "
                f"{_LONGEST_BUFFER_SECONDS:g}"
            )
        self.device = device
        self.buffer_seconds = buffer_seconds
        self.reconnect = reconnect
        self.name = "microphone"
        self._open_capture = open_capture
        self._clock = SystemClock() if clock is None else clock
        self._capture: Capture | None = None
        self._heard: Capture | None = None
        self._ring: FrameRing | None = None
        self._dropped_capture = 0
        self._restarts = 0
        self._lost_at: float | None = None
        self._due_frames: int | None = None  # on the ring's count
        self._times = CaptureTimes()
        self._asleep_seconds = asleep_seconds()
        self._messages = 0  # also those that only say that frames came
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._capture = self._open_capture(self.device, None, None)
        self._take_format(self._capture.open())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block | Notice]:
        started_at = self._clock.monotonic()
        self._start(self._parts()[1])
        while not self._closed.is_set():
            reason = yield from self._blocks_until_loss()
            if not self._closed.is_set():
                yield from self._recover(reason, started_at)

    @property
    def counters(self) -> SourceCounters:
        """Account of every frame up to now."""
        if self._ring is None:
            return SourceCounters()
        heard, lost = self._ring.counters, self._dropped_capture
        return dataclasses.replace(
            heard,
            captured=heard.captured + lost,
            dropped_capture=lost,
            restarts=self._restarts,
            callback=None if self._capture is None else self._capture.callback,
        )

    def skip_to_newest(self, keep_seconds: float) -> None:
        """Drop the frames that wait, save the newest; the next block says how many that were."""
        if self._ring is not None:
            self._ring.skip(round(keep_seconds * self.sample_rate_hz))

    def expect(self, seconds: float) -> None:
        """Take the hint that nothing is due before so much more than what was given."""
        ring, _ = self._parts()
        heard_frames = ring.written_frames - ring.waiting_frames
        self._due_frames = heard_frames + math.ceil(seconds * self.sample_rate_hz)

    def close(self) -> None:
        """Stop capturing, within two seconds whatever hangs."""
        self._closed.set()
        if self._capture is not None:
            self._capture.close()

    def _blocks_until_loss(self) -> Generator[Block, None, str]:
        """Yield blocks until none come any more; return the reason."""
        ring, capture = self._parts()
        heard, quiet_seconds, limit_seconds = self._messages, 0.0, _START_SECONDS
        looked_at = self._clock.monotonic()
        while not self._closed.is_set():
            if self._due_frames is not None:
                # Only now: it wakes the process, and what was heard before is in use already.
                capture.expect(self._due_frames - ring.written_frames)
                self._due_frames = None
            capture.wait(_LOOK_SECONDS)
            yield from self._waiting_blocks()
            now = self._clock.monotonic()
            if self._messages != heard:
                heard, quiet_seconds, limit_seconds = self._messages, 0.0, _STALL_SECONDS
            else:
                # Time in which the reader was away, or the whole system slept, proves nothing.
                quiet_seconds += min(now - looked_at, 2 * _LOOK_SECONDS)
            looked_at = now
            if capture.failure is not None and ring.waiting_frames == 0:
                return capture.failure
            if quiet_seconds >= limit_seconds:
                return "no samples any more" if limit_seconds == _STALL_SECONDS else "no samples"
        return "closed"

    def _waiting_blocks(self) -> Iterator[Block]:
        ring, _ = self._parts()
        most_frames = round(_BLOCK_SECONDS * self.sample_rate_hz)
        while not self._closed.is_set() and (block := ring.read(most_frames)) is not None:
            yield block

    def _recover(self, reason: str, started_at: float) -> Iterator[Block | Notice]:
        """Open the device again, by its name, until that works or the source is closed.

        What was lost since the first start is missing, if it was lost before the first frame.
        """
        ring, capture = self._parts()
        capture.close()
        self._heard = None
        yield from self._waiting_blocks()  # what came while it was being closed
        lost_at = ring.captured_at if ring.written_frames else started_at
        self._lost_at = lost_at
        if not self.reconnect:
            raise SerError(
                f"{self.name}: the device stopped ({reason}); is it still plugged in? "
                "It may come back by itself if you allow it to reconnect"
            )
        yield Notice("device_lost", f"{self.name}: {reason}; trying to open it again")
        for attempt in itertools.count():
            pause_seconds = _BACK_OFF_SECONDS[min(attempt, len(_BACK_OFF_SECONDS) - 1)]
            if self._clock.wait(self._closed, pause_seconds):
                return
            try:
                self._reopen()
                break
            except SerError as error:
                _log.info("%s: attempt %d failed: %s", self.name, attempt + 1, error)
        if not self._closed.is_set():
            self._restarts += 1
            away_seconds = self._clock.monotonic() - lost_at
            yield Notice("device_restored", f"{self.name}: back after {away_seconds:.1f} s")

    def _reopen(self) -> None:
        """Open at the rate that it had, or as it likes now, and wait for the first samples."""
        rate_hz, channels = self.sample_rate_hz, self.channels
        self._capture = self._open_capture(self.name, rate_hz, channels)
        if self._closed.is_set():
            raise SerError("closed")
        opened = self._capture.open()
        if (opened.sample_rate_hz, opened.channels) != (rate_hz, channels):
            self._take_format(opened)
        ring, capture = self._parts()
        written = ring.written_frames
        deadline = self._clock.monotonic() + _START_SECONDS
        self._start(capture)
        while ring.written_frames == written and not self._closed.is_set():
            capture.wait(_LOOK_SECONDS)
            if capture.failure is not None or self._clock.monotonic() > deadline:
                capture.close()
                raise SerError(capture.failure or "it opens and gives no samples")

    def _take_format(self, opened: protocol.Opened) -> None:
        self.name = opened.name
        self.sample_rate_hz = opened.sample_rate_hz
        self.channels = opened.channels
        frames = round(self.buffer_seconds * self.sample_rate_hz)
        # Frames of one ring share a format.
        before = SourceCounters() if self._ring is None else self._ring.counters
        self._ring = FrameRing(frames, self.channels, self.sample_rate_hz, before)

    def _start(self, capture: Capture) -> None:
        def deliver(audio: protocol.Audio) -> None:
            if capture is self._heard:  # one that was given up may still say something
                self._deliver(audio)

        self._heard, self._due_frames = capture, None
        self._times.begin(self._clock.monotonic())
        capture.start(deliver)

    def _deliver(self, audio: protocol.Audio) -> None:
        """Take what was captured: in a thread of its own, that never waits for the reader."""
        ring, _ = self._parts()
        self._messages += 1
        if len(audio.samples) == 0:
            return
        captured_at = self._times.process(audio.captured_at, self._clock.monotonic())
        missing_frames = audio.missing_frames
        # After a loss the clocks tell how long the gap is: the process that counted has gone.
        if self._lost_at is not None:
            start_at = captured_at - len(audio.samples) / ring.sample_rate_hz
            away_seconds = max(0.0, start_at - self._lost_at)
            missing_frames = max(missing_frames, round(away_seconds * ring.sample_rate_hz))
            self._lost_at = None
        # Neither clock nor device knows of a sleep of the system: to them no time has passed.
        slept_seconds = asleep_seconds() - self._asleep_seconds
        if slept_seconds > _SHORTEST_SLEEP_SECONDS:
            self._asleep_seconds += slept_seconds
            missing_frames += round(slept_seconds * ring.sample_rate_hz)
        self._dropped_capture += audio.dropped_frames
        ring.write(audio.samples, captured_at, audio.overruns, missing_frames)

    def _parts(self) -> tuple[FrameRing, Capture]:
        if self._ring is None or self._capture is None:
            raise SerError("microphone: not open; use the source in a with statement")
        return self._ring, self._capture
