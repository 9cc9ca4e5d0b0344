"""How loud a microphone is, and whether its frames come as they should."""

import math
import platform
from collections.abc import Iterator

import numpy as np

from ser_live.doctor.finding import Finding, Verdict
from ser_live.doctor.recording import Recording, record
from ser_live.sources import Microphone
from ser_live.sources.devices import permission_hint

_QUIET_DBFS = -70.0
_FULL_SCALE = 1.0 - 2.0**-15
_CLIPPED_SHARE = 0.001
_LARGEST_OFFSET = 0.02
_CANCELLED_DB = 12.0
_LARGEST_RATE_ERROR = 0.03
_OFF_DBFS = -200.0


def check_level(device: str | None) -> Iterator[Finding]:
    """Listen to a microphone and judge what it gives.

    Parameters
    ----------
    device : str or None
        Index, name or part of a name; None: the system's default.
    """
    recording = record(Microphone(device))
    yield from judge_level(recording)
    yield judge_capture(recording)


def judge_level(recording: Recording) -> list[Finding]:
    """Judge the samples: one finding per trouble, or one that all is well."""
    samples = recording.samples
    mix = samples.mean(axis=1, dtype=np.float64)
    figures = {
        "peak_dbfs": _dbfs(float(np.abs(samples).max())),
        "rms_dbfs": _dbfs(float(mix.std())),
        "loudest_channel_rms_dbfs": _dbfs(float(samples.std(axis=0, dtype=np.float64).max())),
        "offset": float(mix.mean()),
        "clipped_share": float(np.mean(np.abs(samples) >= _FULL_SCALE)),
        "seconds": len(samples) / recording.sample_rate_hz,
    }
    level = (
        f"{recording.name!r}: peak {figures['peak_dbfs']:.1f} dBFS, "
        f"rms {figures['rms_dbfs']:.1f} dBFS"
    )
    troubles = [*_too_little(recording.name, level, figures), *_too_much(level, figures)]
    if not troubles:
        return [Finding("level", "ok", level, None, figures)]
    return [
        Finding("level", verdict, words, remedy, figures) for verdict, words, remedy in troubles
    ]


def _too_little(
    name: str, level: str, figures: dict[str, float]
) -> Iterator[tuple[Verdict, str, str]]:
    rms_dbfs, channel_dbfs = figures["rms_dbfs"], figures["loudest_channel_rms_dbfs"]
    if channel_dbfs <= _OFF_DBFS:
        is_zero = figures["peak_dbfs"] <= _OFF_DBFS
        what = "digital silence" if is_zero else "nothing but a constant"
        yield "problem", f"{name!r} gives {what}", _silence_hint()
    elif rms_dbfs < channel_dbfs - _CANCELLED_DB:
        remedy = "choose a mono profile of the device: one of its channels is turned over"
        yield "warning", f"{level}; the channels cancel each other", remedy
    elif rms_dbfs < _QUIET_DBFS:
        remedy = "raise the input level of the microphone; is it muted or far away?"
        yield "warning", f"{level}; that is very quiet", remedy


def _too_much(level: str, figures: dict[str, float]) -> Iterator[tuple[Verdict, str, str]]:
    if figures["clipped_share"] > _CLIPPED_SHARE:
        remedy = "lower the input level of the microphone until loud speech stays below -6 dBFS"
        yield "warning", f"{level}; {figures['clipped_share']:.1%} of it is clipped", remedy
    if abs(figures["offset"]) > _LARGEST_OFFSET:
        remedy = "take another input or cable: such an offset comes from the hardware"
        yield "warning", f"{level}; a constant {figures['offset']:+.3f} is added to it", remedy


def judge_capture(recording: Recording) -> Finding:
    """Judge how the frames came."""
    rate_hz, measured_hz = recording.sample_rate_hz, recording.measured_rate_hz
    figures = {
        "rate_hz": rate_hz,
        "measured_rate_hz": measured_hz,
        "channels": recording.samples.shape[1],
        "missing_frames": recording.missing_frames,
        "overruns": recording.overruns,
        "late_blocks": recording.late_blocks,
        "broken_samples": recording.broken_samples,
        "notices": list(recording.notices),
    }
    counts = {
        "frame missing": recording.missing_frames,
        "overrun": recording.overruns,
        "late block": recording.late_blocks,
        "NaN or infinity": recording.broken_samples,
    }
    faults = [f"{count} x {what}" for what, count in counts.items() if count]
    remedy = "close what else uses the processor or the device"
    if measured_hz is not None and abs(measured_hz / rate_hz - 1.0) > _LARGEST_RATE_ERROR:
        faults.append("it does not keep its rate")
        remedy = "choose another device: the driver of this one is mistaken about its rate"
    if measured_hz is None:
        faults.append(f"only {len(recording.samples) / rate_hz:.1f} s came in time")
    if measured_hz is None or recording.notices:
        remedy = "restart the sound server, or plug the device in again, elsewhere"
    faults += recording.notices
    measured = "unknown" if measured_hz is None else f"{measured_hz:.0f} Hz"
    sentence = f"{rate_hz} Hz promised, {measured} measured"
    if faults:
        return Finding("capture", "warning", f"{sentence}; {', '.join(faults)}", remedy, figures)
    return Finding("capture", "ok", f"{sentence}, nothing lost, nothing late", None, figures)


def _dbfs(amplitude: float) -> float:
    """Give an amplitude in dB of full scale; the rms of a full sine is -3.01."""
    return 20.0 * math.log10(max(amplitude, 10.0 ** (_OFF_DBFS / 20.0)))


def _silence_hint() -> str:
    if platform.system() == "Linux":
        return "unmute it or choose another source: 'pactl list sources', or alsamixer"
    return permission_hint()
