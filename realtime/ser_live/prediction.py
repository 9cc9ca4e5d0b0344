"""Predictions of the recognizer: one frozen record per hop."""

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["speech", "silence", "uncertain", "warming_up"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds that one prediction cost, by stage."""

    resample_seconds: float = 0.0
    gate_seconds: float = 0.0
    spectrum_seconds: float = 0.0
    inference_seconds: float = 0.0
    smoothing_seconds: float = 0.0

    @property
    def total_seconds(self) -> float:
        """Sum of the stages."""
        return float(sum(getattr(self, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Prediction:
    """Emotion recognized at one point of the stream.

    Examples
    --------
    >>> from ser_live import recognize_file
    >>> first = recognize_file("talk.wav").predictions[0]
    >>> first.end_seconds, first.state, first.label
    (0.25, 'silence', None)
    """

    index: int
    """Number of the hop, from 0."""
    start_seconds: float
    """Start of the audio that the prediction rests on, on the stream's own clock."""
    end_seconds: float
    """End of that audio."""
    state: State
    """speech, silence, uncertain (confidence under the card's threshold) or warming_up."""
    label: str | None
    """The steady label; in state uncertain the best guess; None in silence and warming_up."""
    confidence: float
    """Calibrated probability of `label`, of the smoothed distribution; 0 without a label."""
    probabilities: dict[str, float] | None
    """Smoothed probability of each label; sums to 1."""
    raw_probabilities: dict[str, float] | None
    """The same of this window alone."""
    changed: bool
    """Label or state differs from the prediction before."""
    degraded: bool = False
    """A gap, an overrun or replaced samples lie in the window."""
    lag_seconds: float | None = field(default=None, compare=False)
    """Now minus the capture time of the sample at `end_seconds`; None where unknown."""
    timing: Timing | None = field(default=None, compare=False)
    """Cost of this prediction."""
    channel: str | None = None
    """Its channel, where several are recognized apart: left or right of two, else 1, 2 ..."""

    def to_dict(self) -> dict[str, object]:
        """Return the record as plain JSON values: the line that ``ser-live --json`` prints."""
        record = fields_of(self)
        if self.timing is not None:
            record["timing"] = fields_of(self.timing)
        return record


def fields_of(record: Any) -> dict[str, object]:
    """Return the fields of a slotted record, without a channel where it has none."""
    # dataclasses.asdict copies deeply, which takes a hundred times as long.
    fields = {name: getattr(record, name) for name in record.__slots__}
    if fields.get("channel", "") is None:
        del fields["channel"]
    return fields
