"""Utterances: one answer for all that was said between two silences."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from ser_live.engine.segments import UNCERTAIN
from ser_live.errors import SerError
from ser_live.prediction import Prediction, fields_of
from ser_live.text import quoted

UtteranceChoice = bool | Literal["provisional"]
"""False: none; True: each one when it is over; "provisional": also what is known before."""

# A voice that comes back within 0.6 s goes on with its utterance, and 0.4 s of quiet close the
# gate (`GateSpec`): so much silence is left in which nothing is over.
_SETTLING_SECONDS = 0.2
# A window knows more, the more of the utterance it holds: on the validation speakers UAR rises
# from 65 % (windows count alike) to 71.5 %, flat from the 6th to the 12th power, and the label of
# the last hop has 67 %. Of long utterances the full windows count alike, the first ones hardly.
_LENGTH_POWER = 8


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech between two silences, and the one emotion of all of it.

    Examples
    --------
    >>> from ser_live import recognize_file
    >>> talk = recognize_file("talk.wav", utterances=True)
    >>> all(one.speech_seconds > 0 for one in talk.utterances)
    True
    """

    start_seconds: float
    """Onset, less the pre-roll of the window; on the stream's own clock."""
    end_seconds: float
    """End of the last prediction that found the speech gate open."""
    label: str
    """The emotion; "uncertain" where the confidence is too low, or the speech too short."""
    confidence: float
    """Pooled probability of the best guess; 0 if the speech was too short."""
    probabilities: dict[str, float] | None
    """Of each label, pooled over the windows; sums to 1; None if the speech was too short."""
    speech_seconds: float
    """Length without the pauses in which the gate was closed."""
    is_final: bool = True
    """False: it goes on, and this is what is known so far."""
    channel: str | None = None
    """Its channel, as of `Prediction`."""

    def to_dict(self) -> dict[str, object]:
        """Return the record as plain JSON values; without a channel where it has none."""
        return fields_of(self)


class UtteranceTracker:
    """Join the predictions of a stream into utterances, in constant memory.

    An utterance is over when a voice that comes back would begin a new window: after a short
    silence, at a gap, at the end of the stream. Without a speech gate the stream is one utterance.
    Of windows shorter than the hop each is one.

    Parameters
    ----------
    uncertain_below : float
        Confidence under which the label is "uncertain": that of the recognizer; may be set later.
    is_provisional : bool
        Also return, with each prediction, what is known of the utterance that goes on.

    Raises
    ------
    SerError
        If ``uncertain_below`` is no share.

    Examples
    --------
    >>> from ser_live import UtteranceTracker, listen, recognize_file
    >>> predictions = listen("talk.wav")
    >>> with predictions:
    ...     tracker = UtteranceTracker(predictions.recognizer.uncertain_below)
    ...     found = [one for item in predictions for one in tracker.process(item)]
    >>> found + tracker.flush() == list(recognize_file("talk.wav", utterances=True).utterances)
    True
    """

    def __init__(self, uncertain_below: float = 0.0, *, is_provisional: bool = False) -> None:
        if not isinstance(uncertain_below, int | float) or not 0.0 <= uncertain_below <= 1.0:
            raise SerError(
                f"uncertain_below is {quoted(uncertain_below)}, wanted 0 to 1, as a recognizer's"
            )
        self.uncertain_below = uncertain_below
        self._is_provisional = is_provisional
        self.reset()

    def reset(self) -> None:
        """Clear the stream: as new."""
        self._speakers: dict[str | None, _Speaker] = {}

    def process(self, prediction: Prediction) -> list[Utterance]:
        """Take the next prediction; return the utterance that it ends, and what is provisional."""
        speaker = self._speakers.setdefault(prediction.channel, _Speaker(prediction.channel))
        found = [self._judged(one) for one in speaker.process(prediction)]
        if self._is_provisional and prediction.label is not None:
            provisional = dataclasses.replace(speaker.utterance(), is_final=False)
            found.append(self._judged(provisional))
        return found

    def flush(self) -> list[Utterance]:
        """End the open utterances and return them; what comes later begins other ones."""
        return [self._judged(one) for speaker in self._speakers.values() for one in speaker.flush()]

    def _judged(self, utterance: Utterance) -> Utterance:
        if utterance.confidence >= self.uncertain_below:
            return utterance
        return dataclasses.replace(utterance, label=UNCERTAIN)


class _Speaker:
    """The utterance of one channel that is open, if any, and the end of the one before."""

    def __init__(self, channel: str | None) -> None:
        self._channel = channel
        self._before_seconds = 0.0  # end of the prediction before
        self._quiet_since_seconds: float | None = None
        self._start_seconds = self._end_seconds = 0.0
        self._speech_seconds = 0.0  # 0: none is open
        self._sums: dict[str, float] = {}

    def process(self, prediction: Prediction) -> list[Utterance]:
        is_silence = prediction.state == "silence"
        ended = self._take_silence(prediction) if is_silence else self._take_speech(prediction)
        self._before_seconds = prediction.end_seconds
        return ended

    def flush(self) -> list[Utterance]:
        if not self._speech_seconds:
            return []
        utterance = self.utterance()
        self._speech_seconds, self._sums = 0.0, {}
        return [utterance]

    def utterance(self) -> Utterance:
        total = sum(self._sums.values())
        shares = {label: weighted / total for label, weighted in self._sums.items()}
        best = max(shares, key=shares.__getitem__, default=UNCERTAIN)
        return Utterance(
            start_seconds=self._start_seconds,
            end_seconds=self._end_seconds,
            label=best,
            confidence=shares.get(best, 0.0),
            probabilities=shares or None,
            speech_seconds=self._speech_seconds,
            channel=self._channel,
        )

    def _take_silence(self, prediction: Prediction) -> list[Utterance]:
        if self._quiet_since_seconds is None:
            self._quiet_since_seconds = prediction.end_seconds
        silence_seconds = prediction.end_seconds - self._quiet_since_seconds
        return self.flush() if silence_seconds > _SETTLING_SECONDS - 1e-9 else []

    def _take_speech(self, prediction: Prediction) -> list[Utterance]:
        heard_from_seconds = self._before_seconds
        ended = self.flush() if prediction.start_seconds > self._end_seconds else []
        if not self._speech_seconds:
            # What the utterance before rests on already is no part of this one.
            if prediction.start_seconds >= self._end_seconds:
                heard_from_seconds = prediction.start_seconds
            self._start_seconds = heard_from_seconds
        self._quiet_since_seconds = None
        self._end_seconds = prediction.end_seconds
        self._speech_seconds += prediction.end_seconds - heard_from_seconds
        self._pool(prediction)
        return ended

    def _pool(self, prediction: Prediction) -> None:
        shares = prediction.raw_probabilities
        if shares is None:
            return
        # Another model took over: what it does not know cannot be pooled.
        sums = self._sums if self._sums.keys() == shares.keys() else dict.fromkeys(shares, 0.0)
        weight = (prediction.end_seconds - prediction.start_seconds) ** _LENGTH_POWER
        self._sums = {label: sums[label] + weight * share for label, share in shares.items()}


def tracker_of(choice: UtteranceChoice) -> UtteranceTracker | None:
    """Return a tracker for what a caller wants of utterances; None: nothing.

    Raises
    ------
    SerError
        For any other choice.
    """
    if choice not in (False, True, "provisional"):
        raise SerError(f"utterances is {quoted(choice)}, wanted True, False or 'provisional'")
    return UtteranceTracker(is_provisional=choice == "provisional") if choice else None
