"""Level of a microphone, and the way its frames come."""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ser_live.doctor.finding import Finding, Verdict, judged
from ser_live.engine.resample import as_float, clipped_frames
from ser_live.errors import SerError
from ser_live.sources import Block, Microphone, Notice, Source
from ser_live.sources.devices import permission_hint, silence_hint

_SECONDS = 2.0
_SETTLING_SECONDS = 0.25  # opening a device clicks
_LATE_SECONDS = 0.75

_QUIET_DBFS = -70.0
_CLIPPED_SHARE = 0.001
_LARGEST_OFFSET = 0.02
_CANCELLED_DB = 12.0
_LARGEST_RATE_ERROR = 0.03
_OFF_DBFS = -200.0


@dataclass(frozen=True, slots=True)
class Capture:
    """The way in which the frames of a recording came."""

    rate_hz: int
    """As the device promises."""
    measured_rate_hz: float | None
    """Frames per second of wall clock; None where too little came."""
    channels: int
    missing_frames: int
    overruns: int
    late_blocks: int
    """Times that nothing came for three quarters of a second."""
    broken_samples: int
    """NaN or infinite ones, which became zero."""
    notices: tuple[str, ...]
    """Events that the source reported."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A few seconds of a microphone."""

    name: str
    samples: NDArray[np.float32]
    """Shape (frames, channels), without the settling time."""
    capture: Capture


def check_level(device: str | None) -> Iterator[Finding]:
    """Listen to a microphone and judge its level and its frames.

    Parameters
    ----------
    device : str or None
        Index, name or part of a name; None: the system's default.
    """
    recording = record(Microphone(device))
    yield from judge_level(recording)
    yield judge_capture(recording)


def record(source: Source) -> Recording:
    """Record two seconds, or less if the device is lost; a `Microphone` that hangs ends it, too.

    Parameters
    ----------
    source : Source
        Not open yet.

    Raises
    ------
    SerError
        If the source fails or gives nothing.
    """
    came: list[tuple[float, Block | Notice]] = []
    with source:
        left = round((_SECONDS + _SETTLING_SECONDS) * source.sample_rate_hz)
        for item in source:
            came.append((time.monotonic(), item))
            if isinstance(item, Block):
                left -= len(item.samples)
            if left <= 0 or (isinstance(item, Notice) and item.kind == "device_lost"):
                break
    if not any(isinstance(item, Block) for _, item in came):
        raise SerError(
            "the microphone opens, but gives no sound; restart the sound server or plug the "
            f"device in again; {permission_hint()}"
        )
    return _recording(source, came)


def judge_level(recording: Recording) -> list[Finding]:
    """Judge the samples: one finding per problem, or one that all is well."""
    samples = recording.samples
    mix = samples.mean(axis=1, dtype=np.float64)
    figures = {
        "peak_dbfs": _dbfs(float(np.abs(samples).max())),
        "rms_dbfs": _dbfs(float(mix.std())),
        "loudest_channel_rms_dbfs": _dbfs(float(samples.std(axis=0, dtype=np.float64).max())),
        "offset": float(mix.mean()),
        "clipped_share": clipped_frames(samples) / len(samples),
        "seconds": len(samples) / recording.capture.rate_hz,
    }
    level = (
        f"{recording.name!r}: peak {figures['peak_dbfs']:.1f} dBFS, "
        f"rms {figures['rms_dbfs']:.1f} dBFS"
    )
    problems = list(_level_problems(recording.name, level, figures))
    return [Finding("level", *problem, figures) for problem in problems] or [
        Finding("level", "ok", level, None, figures)
    ]


def judge_capture(recording: Recording) -> Finding:
    """Judge how the frames came."""
    capture = recording.capture
    rate_hz, measured_hz = capture.rate_hz, capture.measured_rate_hz
    counts = {
        "frame missing": capture.missing_frames,
        "overrun": capture.overruns,
        "late block": capture.late_blocks,
        "NaN or infinity": capture.broken_samples,
    }
    faults = [f"{count} x {fault}" for fault, count in counts.items() if count]
    remedy = "close other programs that use the processor or the device"
    if measured_hz is not None and abs(measured_hz / rate_hz - 1.0) > _LARGEST_RATE_ERROR:
        faults.append("it does not keep its rate")
        remedy = "choose another device: the driver of this one is mistaken about its rate"
    if measured_hz is None:
        faults.append(f"only {len(recording.samples) / rate_hz:.1f} s came in time")
    if measured_hz is None or capture.notices:
        remedy = "restart the sound server, or plug the device in again, elsewhere"
    faults += capture.notices
    measured = "unknown" if measured_hz is None else f"{measured_hz:.0f} Hz"
    told = f"; {', '.join(faults)}" if faults else ", nothing lost, nothing late"
    sentence = f"{rate_hz} Hz promised, {measured} measured{told}"
    return judged("capture", sentence, remedy if faults else None, asdict(capture), "warning")


def _recording(source: Source, came: Sequence[tuple[float, Block | Notice]]) -> Recording:
    blocks = [item for _, item in came if isinstance(item, Block)]
    came_at = [at for at, item in came if isinstance(item, Block)]
    raw = np.concatenate([as_float(block.samples) for block in blocks])
    finite = np.isfinite(raw)
    settling = min(round(_SETTLING_SECONDS * source.sample_rate_hz), len(raw) // 2)
    waits = (after - before for before, after in itertools.pairwise(came_at))
    capture = Capture(
        rate_hz=source.sample_rate_hz,
        measured_rate_hz=_measured_rate_hz(blocks, came_at),
        channels=raw.shape[1],
        missing_frames=sum(block.missing_frames for block in blocks),
        overruns=sum(block.overruns for block in blocks),
        late_blocks=sum(wait > _LATE_SECONDS for wait in waits),
        broken_samples=int(raw.size - np.count_nonzero(finite)),
        notices=tuple(item.detail for _, item in came if isinstance(item, Notice)),
    )
    return Recording(source.name, np.where(finite, raw, np.float32(0))[settling:], capture)


def _measured_rate_hz(blocks: Sequence[Block], came_at: Sequence[float]) -> float | None:
    """Fit a line through the counts of frames over their capture times."""
    times = [
        came if block.end_captured_at is None else block.end_captured_at
        for block, came in zip(blocks, came_at, strict=True)
    ]
    if len(times) < 4 or times[-1] - times[0] < _SECONDS / 2.0:
        return None
    counts = np.cumsum([len(block.samples) + block.missing_frames for block in blocks])
    return float(np.polyfit(np.array(times) - times[0], counts, 1)[0])


def _level_problems(
    name: str, level: str, figures: dict[str, float]
) -> Iterator[tuple[Verdict, str, str]]:
    rms_dbfs, channel_dbfs = figures["rms_dbfs"], figures["loudest_channel_rms_dbfs"]
    if channel_dbfs <= _OFF_DBFS:
        is_zero = figures["peak_dbfs"] <= _OFF_DBFS
        signal = "digital silence" if is_zero else "nothing but a constant"
        yield "problem", f"{name!r} gives {signal}", silence_hint()
    elif rms_dbfs < channel_dbfs - _CANCELLED_DB:
        remedy = "choose a mono profile of the device: one of its channels is turned over"
        yield "warning", f"{level}; the channels cancel each other", remedy
    elif rms_dbfs < _QUIET_DBFS:
        remedy = "raise the input level of the microphone; is it muted or far away?"
        yield "warning", f"{level}; that is very quiet", remedy
    if figures["clipped_share"] > _CLIPPED_SHARE:
        remedy = "lower the input level of the microphone until loud speech stays below -6 dBFS"
        yield "warning", f"{level}; {figures['clipped_share']:.1%} of it is clipped", remedy
    if abs(figures["offset"]) > _LARGEST_OFFSET:
        remedy = "take another input or cable: such an offset comes from the hardware"
        yield "warning", f"{level}; a constant {figures['offset']:+.3f} is added to it", remedy


def _dbfs(amplitude: float) -> float:
    """Return an amplitude in dB of full scale; the rms of a full sine is -3.01."""
    return 20.0 * math.log10(max(amplitude, 10.0 ** (_OFF_DBFS / 20.0)))
