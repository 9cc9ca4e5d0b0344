"""Two seconds of a microphone, whatever it does."""

import itertools
import threading
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.sources import Block, Source
from ser_live.sources.devices import permission_hint

_SECONDS = 2.0
_SETTLING_SECONDS = 0.25  # opening a device clicks
_LISTEN_SECONDS = 6.0
_CLOSE_SECONDS = 2.0
_LATE_SECONDS = 0.75


@dataclass(frozen=True, slots=True)
class Recording:
    """What came of a microphone in a few seconds."""

    name: str
    sample_rate_hz: int
    """What the device promises."""
    samples: NDArray[np.float32]
    """Shape (frames, channels), without the settling time."""
    measured_rate_hz: float | None
    """Frames per second of wall clock; None where too little came."""
    missing_frames: int
    overruns: int
    late_blocks: int
    """Times that nothing came for three quarters of a second."""
    notices: tuple[str, ...]
    """What the source said."""
    broken_samples: int = 0
    """NaN or infinite ones, which became zero."""


def record(source: Source) -> Recording:
    """Record two seconds; whatever the source does, this ends within eight.

    Raises
    ------
    SerError
        If the source fails or gives nothing.
    """
    taker = _Taker(source)
    thread = threading.Thread(target=taker.run, daemon=True)
    closer = threading.Thread(target=source.close, daemon=True)
    thread.start()
    try:
        _wait_for(thread, _LISTEN_SECONDS)
    finally:  # also when Ctrl-C ends the wait
        if thread.is_alive():
            closer.start()
            _wait_for(closer, _CLOSE_SECONDS)
    if taker.error is not None:
        raise taker.error
    return taker.recording()


class _Taker:
    """What a thread takes from a source that may hang."""

    def __init__(self, source: Source) -> None:
        self.error: Exception | None = None
        self._source = source
        self._blocks: list[Block] = []
        self._came_at: list[float] = []
        self._notices: list[str] = []
        self._format: tuple[str, int] | None = None

    def run(self) -> None:
        """Fill up."""
        try:
            with self._source as source:
                self._format = source.name, source.sample_rate_hz
                wanted = round((_SECONDS + _SETTLING_SECONDS) * source.sample_rate_hz)
                frames = 0
                for block in source:
                    if not isinstance(block, Block):
                        self._notices.append(block.detail)
                        continue
                    self._came_at.append(time.monotonic())
                    self._blocks.append(block)
                    frames += len(block.samples)
                    if frames >= wanted:
                        break
        except Exception as error:  # it belongs to the thread that waits
            self.error = error

    def recording(self) -> Recording:
        """Give what has come up to now."""
        blocks, came_at = list(self._blocks), list(self._came_at)
        if self._format is None or not blocks:
            what = "does not open" if self._format is None else "opens, but gives no sound"
            raise SerError(
                f"the microphone {what} within {_LISTEN_SECONDS:g} s; restart the sound server or "
                f"plug the device in again; {permission_hint()}"
            )
        name, rate_hz = self._format
        raw = np.concatenate([_as_float(block.samples) for block in blocks])
        finite = np.isfinite(raw)
        samples = np.where(finite, raw, np.float32(0))
        settling = min(round(_SETTLING_SECONDS * rate_hz), len(samples) // 2)
        waits = (after - before for before, after in itertools.pairwise(came_at))
        return Recording(
            name=name,
            sample_rate_hz=rate_hz,
            samples=samples[settling:],
            measured_rate_hz=_measured_rate_hz(blocks, came_at),
            missing_frames=sum(block.missing_frames for block in blocks),
            overruns=sum(block.overruns for block in blocks),
            late_blocks=sum(wait > _LATE_SECONDS for wait in waits),
            notices=tuple(self._notices),
            broken_samples=int(raw.size - np.count_nonzero(finite)),
        )


def _measured_rate_hz(blocks: list[Block], came_at: list[float]) -> float | None:
    """Fit a line through the counts of frames over their capture times."""
    times = [
        came if block.end_captured_at is None else block.end_captured_at
        for block, came in zip(blocks, came_at, strict=True)
    ]
    if len(times) < 4 or times[-1] - times[0] < _SECONDS / 2.0:
        return None
    counts = np.cumsum([len(block.samples) + block.missing_frames for block in blocks])
    return float(np.polyfit(np.array(times) - times[0], counts, 1)[0])


def _as_float(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    floats = samples.astype(np.float32)
    return floats / np.float32(32768) if samples.dtype == np.int16 else floats


def _wait_for(thread: threading.Thread, seconds: float) -> None:
    """Join in small steps: Ctrl-C cannot end a long wait on every system."""
    deadline = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(0.1)
