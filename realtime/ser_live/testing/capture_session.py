"""Capture as the process would send it, from a `FakeDevice`."""

import math

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.sources import capture_protocol as protocol
from ser_live.testing.device import FakeDevice, within
from ser_live.testing.faults import Backlog, LastingFault, Overrun, WrongRate


class CaptureSession:
    """Stretch of capture: blocks from its start until the device is lost.

    Parameters
    ----------
    device : FakeDevice
        The device.
    start_seconds : float
        The device's time.
    """

    def __init__(self, device: FakeDevice, start_seconds: float) -> None:
        self.device = device
        self.is_over = False
        self._losses = device.losses
        self._block = math.ceil(start_seconds / device.block_seconds - 1e-6)
        self._due_seconds = start_seconds
        self._carry = 0.0
        self._gaps: set[LastingFault] = set()
        self._missing = self._given_up = 0
        self._untold_seconds = 0.0
        self._has_given = False
        self._look_ahead()

    @property
    def due_seconds(self) -> float:
        """The device's time at which the next block is handed over."""
        return self._due_seconds

    def take(self) -> list[protocol.Audio]:
        """Hand over the block that is due, in pieces where frames are lost inside it.

        Raises
        ------
        SerError
            If the device was lost.
        """
        start, end = self._span
        self.device.pass_to(end - 1e-9, is_capturing=True)
        if self.device.losses != self._losses:
            raise SerError(self.device.ended_by)
        faults = self.device.faults_between(start, end)
        times, step_seconds = self._times(faults)
        pieces = self._pieces(times, step_seconds, faults)
        self._block += 1
        self._look_ahead()
        return pieces

    @property
    def _span(self) -> tuple[float, float]:
        block_seconds = self.device.block_seconds
        return self._block * block_seconds, (self._block + 1) * block_seconds

    def _look_ahead(self) -> None:
        start, end = self._span
        self.is_over = start >= self.device.seconds - 1e-9
        due = end + self.device.delay_seconds(start, end)
        self._due_seconds = max(self._due_seconds, due)

    def _times(self, faults: list[LastingFault]) -> tuple[NDArray[np.float64], float]:
        """Return the capture times of a block's frames, and how far apart they are."""
        rate_hz = self.device.sample_rate_hz
        first, stop = (round(seconds * rate_hz) for seconds in self._span)
        count = stop - first
        ratios = [fault.ratio for fault in faults if isinstance(fault, WrongRate)]
        if not ratios:
            return np.arange(first, stop, dtype=np.float64) / rate_hz, 1.0 / rate_hz
        wanted = count * math.prod(ratios) + self._carry
        come = int(wanted)
        self._carry = wanted - come
        self._untold_seconds += (count - come) / rate_hz
        step_seconds = count / rate_hz / max(1, come)
        times = first / rate_hz + np.arange(come, dtype=np.float64) * step_seconds
        return times, step_seconds

    def _pieces(
        self, times: NDArray[np.float64], step_seconds: float, faults: list[LastingFault]
    ) -> list[protocol.Audio]:
        gaps = [fault for fault in faults if isinstance(fault, Overrun | Backlog)]
        kept = np.ones(times.size, bool)
        for gap in gaps:
            kept &= ~within(times, gap)
        pieces = []
        for part in np.split(np.arange(times.size), np.flatnonzero(np.diff(kept)) + 1):
            if part.size and kept[part[0]]:
                pieces.append(self._audio(times[part], step_seconds, faults))
            elif part.size:
                self._lose(times[part], gaps)
        return pieces

    def _lose(self, times: NDArray[np.float64], gaps: list[Overrun | Backlog]) -> None:
        """Remember lost frames until something comes after them."""
        given_up = np.zeros(times.size, bool)
        unknown = np.zeros(times.size, bool)
        for gap in gaps:
            inside = within(times, gap)
            if inside.any():
                self._gaps.add(gap)
            if isinstance(gap, Backlog):
                given_up |= inside
            elif not gap.is_known:
                unknown |= inside
        unknown &= ~given_up
        self._given_up += int(given_up.sum())
        self._missing += int((~unknown).sum())
        self._untold_seconds += int(unknown.sum()) / self.device.sample_rate_hz

    def _audio(
        self, times: NDArray[np.float64], step_seconds: float, faults: list[LastingFault]
    ) -> protocol.Audio:
        device, end_seconds = self.device, float(times[-1]) + step_seconds
        audio = protocol.Audio(
            samples=device.hear(times, faults),
            captured_at=end_seconds + device.clock_offset_seconds,
            missing_frames=self._missing,
            dropped_frames=self._given_up,
            overruns=sum(isinstance(fault, Overrun) for fault in self._gaps),
        )
        # Where a capture begins anew, its capture time tells everything.
        if device.end_seconds == 0.0 or self._has_given:
            device.untold_seconds += self._untold_seconds
        self._has_given = True
        device.captured_frames += times.size + self._given_up
        device.end_seconds = end_seconds
        self._gaps.clear()
        self._missing = self._given_up = 0
        self._untold_seconds = 0.0
        return audio
