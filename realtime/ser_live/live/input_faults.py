"""Faults of the input: lost samples, silence, clipping, an offset, channels, a wrong format."""

import math
from collections import Counter, deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.resample import as_float, clipped_frames
from ser_live.events import Event, EventKind
from ser_live.model.card import LONGEST_WINDOW_SECONDS
from ser_live.prediction import Prediction
from ser_live.sources.sample_format import likely_format

_SILENT_SECONDS = 2.0
# A recording may have been edited, with pauses that hold nothing.
_SILENT_SECONDS_OF_RECORDING = 10.0
_CLIPPED_SHARE = 0.001
_OFFSET = 0.02
_OFFSET_GONE = 0.01
_QUIET_SECONDS = 10
# Power of the mean over the channels, over what it is where they have nothing in common.
_CANCELLED = 0.1
_CHANNELS_SECONDS = 3
_POWER_MEMORY = 0.7  # of each second, in the next one: pauses, which may be noise, weigh little
_ALONE = 0.95
_FAINT = 0.01
_FAINTEST_POWER = 1e-8
_FORMAT_SECONDS = 30
_NARROW_HZ = 8000
_NARROW_BAND = (
    "8 kHz is the band of a telephone; expect the figures by telephone, some points lower"
)
_FORMAT_VALUES = 1 << 12
_MOST_VALUES = 1 << 19  # a second of 64 channels at 384 kHz would be 100 MB
_ONE_CHANNEL = "use_channels 'split' recognizes each one apart, 'left' the first one alone"


class Gaps:
    """Stretches of the timeline that were lost, filled or replaced."""

    def __init__(self) -> None:
        self.replaced_samples = 0
        self.degraded_predictions = 0
        self._stretches: deque[tuple[float, float]] = deque()

    def add(self, start_seconds: float, end_seconds: float) -> None:
        """Remember a stretch; its length is 0 where it is unknown how much is missing."""
        self._stretches.append((start_seconds, end_seconds))

    def fill(self, samples: NDArray[Any], start_frame: int, sample_rate_hz: int) -> NDArray[Any]:
        """Replace NaN and infinity by zero, in a copy, and remember where they were.

        Parameters
        ----------
        samples : ndarray, shape (frames, channels)
        start_frame : int
            Place of the first one on the timeline.
        sample_rate_hz : int
        """
        if samples.dtype == np.int16 or (finite := np.isfinite(samples)).all():
            return samples
        # The recognizer refuses NaN: its filters would never get rid of one.
        self.replaced_samples += int(samples.size - np.count_nonzero(finite))
        bad = start_frame + np.flatnonzero(~finite.all(axis=1))
        self.add(bad[0] / sample_rate_hz, (bad[-1] + 1) / sample_rate_hz)
        return np.where(finite, samples, samples.dtype.type(0))

    def degrade(self, prediction: Prediction) -> bool:
        """Return whether a gap lies in the window of a prediction, and count it if so."""
        start, end = prediction.start_seconds, prediction.end_seconds
        # No window reaches further back than the longest one that a card may ask for.
        while self._stretches and self._stretches[0][1] < end - LONGEST_WINDOW_SECONDS:
            self._stretches.popleft()
        degraded = any(start < gap[1] and gap[0] < end for gap in self._stretches)
        self.degraded_predictions += degraded
        return degraded


class InputMonitor:
    """Watch the samples of a source and tell what is wrong: of a live one once per episode.

    Of a recording each finding is told once, and at its end how often it came. Shares, means and
    powers are those of whole seconds of the stream, so the findings are the same however it is
    cut into blocks, which are kept for that long. Of a second with more than half a million values
    the beginning is judged.

    Parameters
    ----------
    sample_rate_hz, channels : int
        Of the samples.
    is_recording : bool
        The source has an end and may have been edited.
    silence_hint : str
        What to do about a live source that gives nothing.
    picked : tuple of int
        Channels that are heard, each apart; none: all of them, as a mix.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int,
        *,
        is_recording: bool = False,
        silence_hint: str = "",
        picked: tuple[int, ...] = (),
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self._picked = picked
        self._heard_channels = len(picked) or channels
        self._judged_frames = min(sample_rate_hz, _MOST_VALUES // self._heard_channels)
        self.is_recording = is_recording
        self._silence_hint = f"; {silence_hint}" if silence_hint and not is_recording else ""
        self._silent_seconds = _SILENT_SECONDS_OF_RECORDING if is_recording else _SILENT_SECONDS
        self._told: Counter[EventKind] = Counter()
        self._end_frame = 0
        self._heard_values = 0
        self._level = np.nan
        self._constant_values = 0
        self._is_silent = False
        self._is_offset = False
        self._seconds_since_clipping = _QUIET_SECONDS
        self._channels_seconds = 0
        self._powers = np.zeros(2)  # of the sum of the channels, and the sum of theirs
        self._alone = np.zeros((2, channels))  # seconds and power while the others are silent
        self._blocks: list[NDArray[Any]] = []  # of this second
        self._frames = 0

    def process(self, samples: NDArray[Any], start_frame: int) -> list[Event]:
        """Take a block and return what showed in it.

        Parameters
        ----------
        samples : ndarray, shape (frames, channels), int16 or float
            Finite; full scale is 1.0 for floats.
        start_frame : int
            Place of the first one on the timeline.
        """
        found: list[Event] = []
        start = 0
        samples = samples[:, self._picked] if self._picked else samples
        while start < len(samples):
            block = samples[start : start + self.sample_rate_hz - self._frames]  # of this second
            if self._frames < self._judged_frames:  # an empty slice would keep all of the block
                self._blocks.append(block[: self._judged_frames - self._frames])
            self._frames += len(block)
            start += len(block)
            self._end_frame = start_frame + start
            if self._frames == self.sample_rate_hz:
                found += self._judge()
        return found

    def flush(self) -> list[Event]:
        """Return what shows at the end of a recording; nothing of another source."""
        if not self.is_recording or not self._end_frame:
            return []
        found = self._judge() if self._blocks else []
        totals = {kind: f"{n} times in all" for kind, n in self._told.items() if n > 1}
        if self._constant_values == self._heard_values:
            totals["input_silent"] = f"every sample of it is {self._level:g}: there is no sound"
        end_seconds = self._end_frame / self.sample_rate_hz
        return found + [Event(kind, end_seconds, detail) for kind, detail in totals.items()]

    def _judge(self) -> list[Event]:
        """Judge the second that has come together, and begin the next one."""
        second = np.concatenate(self._blocks)
        start, self._heard_values = self._heard_values, self._heard_values + second.size
        frames, self._blocks, self._frames = self._frames, [], 0
        values = as_float(second)
        is_told = self.sample_rate_hz > _NARROW_HZ or self._told["input_narrow_band"]
        details: dict[EventKind, str] = {
            "input_silent": self._silence(values.ravel()),
            "input_narrow_band": "" if is_told else _NARROW_BAND,
        }
        if 2 * frames >= self.sample_rate_hz:  # a shorter rest tells nothing else
            details["input_format"] = self._format(second.ravel(), start)
            is_wrong = details["input_format"] or self._told["input_format"]
            if not is_wrong:  # else levels mean nothing
                # Floats may be no audio, which the recognizer refuses; squares would overflow.
                channels = np.clip(values.T, -4.0, 4.0, order="C")
                details["input_clipping"] = self._clipping(clipped_frames(second))
                details["input_offset"] = self._offset(float(channels.mean()))
                details["input_channels"] = self._channels(channels)
        found = [kind for kind, detail in details.items() if detail]
        told = [kind for kind in found if not (self.is_recording and self._told[kind])]
        self._told.update(found)
        at_seconds = self._end_frame / self.sample_rate_hz
        return [Event(kind, at_seconds, details[kind]) for kind in told]

    def _silence(self, values: NDArray[np.float32]) -> str:
        """Find that a value has stayed the same for long, on all channels."""
        long_values = round(self._silent_seconds * self._judged_frames) * self._heard_channels
        changes = np.flatnonzero(values[1:] != values[:-1]) + 1
        before = self._constant_values if values[0] == self._level else 0
        first = before + int(changes[0] if changes.size else values.size)
        # What begins and ends within this second is not long.
        self._constant_values = values.size - int(changes[-1]) if changes.size else first
        self._level = float(values[-1])
        self._is_silent = self._constant_values >= long_values
        if not before < long_values <= first:  # else it is told already
            return ""
        return f"every sample is {values[0]:g} for {self._silent_seconds:g} s{self._silence_hint}"

    def _clipping(self, clipped: int) -> str:
        share = clipped / self._judged_frames
        clips = share >= _CLIPPED_SHARE
        quiet = self._seconds_since_clipping >= _QUIET_SECONDS
        self._seconds_since_clipping = 0 if clips else self._seconds_since_clipping + 1
        if not clips or not quiet:
            return ""
        advice = "the level was too high" if self.is_recording else "lower the input level"
        return f"{100 * share:.1f} % of the frames of a second clip; {advice}"

    def _offset(self, mean: float) -> str:
        before, least = self._is_offset, _OFFSET_GONE if self._is_offset else _OFFSET
        self._is_offset = abs(mean) >= least
        if before or not self._is_offset or self._is_silent:
            return ""
        detail = f"the mean is {mean:+.3f} of full scale, not 0; the input has a fault"
        return f"{detail}: try another input or cable, or a high-pass filter"

    def _channels(self, channels: NDArray[np.float32]) -> str:
        """Find what the mean over the channels does to a voice; once, for it rarely changes."""
        powers = channels.var(axis=1)
        total, loudest = powers.sum(), int(powers.argmax())
        if self._picked or len(powers) == 1 or total < _FAINTEST_POWER:
            return ""
        if self._told["input_channels"]:
            return ""
        self._powers = _POWER_MEMORY * self._powers + (channels.sum(axis=0).var(), total)
        self._channels_seconds += 1
        if powers[loudest] >= _ALONE * total:
            self._alone[:, loudest] += (1.0, powers[loudest])
        share = self._powers[0] / self._powers[1]
        least_seconds = 1 if self.is_recording else _CHANNELS_SECONDS  # a recording may be short
        if share < _CANCELLED and self._channels_seconds >= least_seconds:
            level_db = 10.0 * math.log10(max(share / len(powers), 1e-9))
            return f"the channels cancel each other in the mix ({level_db:.0f} dB); {_ONE_CHANNEL}"
        seconds, power = self._alone
        is_voice = (seconds >= _CHANNELS_SECONDS) & (power > _FAINT * power.max())
        if len(voices := np.flatnonzero(is_voice) + 1) < 2:
            return ""
        return f"channels {voices[0]} and {voices[1]} sound in turn, mixed into one; {_ONE_CHANNEL}"

    def _format(self, values: NDArray[Any], start: int) -> str:
        """Find out, at the start of the stream, that the samples have another format."""
        is_start = start < _FORMAT_SECONDS * self.sample_rate_hz * self._heard_channels
        if not is_start or self._told["input_format"]:
            return ""
        return likely_format(values[:_FORMAT_VALUES], self._heard_channels, start)
