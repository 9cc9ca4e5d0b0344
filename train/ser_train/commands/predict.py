"""Name the emotion of whole recordings, with a ``.keras`` or an ``.onnx`` model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from ser_live import Event, listen
from ser_live.model.card import ModelCard
from ser_live.model.classifier import Classifier
from ser_live.model.prior import PriorChoice
from ser_live.prediction import Prediction, State
from ser_live.text import sanitize


@dataclass(frozen=True, slots=True)
class Answer:
    """The emotion of one recording."""

    path: Path
    state: State
    """As of a `Prediction`, for the whole recording."""
    label: str | None
    """The most probable one; None in silence and warming_up."""
    confidence: float
    """Probability of `label`; 0 without one."""
    probabilities: dict[str, float] | None
    """Of each label; None without one."""
    remarks: tuple[str, ...] = ()
    """Faults of the recording, one sentence each."""

    def line(self, as_json: bool) -> str:
        """Return one line, for a person or as JSON."""
        if not as_json:
            named = self.label if self.state == "speech" else self.state
            return f"{sanitize(self.path)}\t{named}\t{self.confidence:.3f}"
        shares = {label: round(share, 6) for label, share in (self.probabilities or {}).items()}
        answer = {"file": str(self.path), "state": self.state, "label": self.label}
        numbers = {"confidence": round(self.confidence, 6), "probabilities": shares or None}
        return json.dumps({**answer, **numbers})


def predict(path: Path, classifier: Classifier, prior: PriorChoice = None) -> Answer:
    """Let the live engine hear a recording, and sum up its predictions.

    Raises
    ------
    SerError
        If the file cannot be read or the network fails.
    """
    with listen(path, model=classifier, prior=prior, events=True) as items:
        heard = list(items)
    predictions = [item for item in heard if isinstance(item, Prediction)]
    events = [f"{sanitize(path)}: {e.kind}: {e.detail}" for e in heard if isinstance(e, Event)]
    return sum_up(path, predictions, classifier.card, (*items.source.notes, *events))


def sum_up(
    path: Path, predictions: Sequence[Prediction], card: ModelCard, remarks: tuple[str, ...] = ()
) -> Answer:
    """Average the windows of a recording so that each moment of speech counts once.

    A window that grows from an onset holds all that the shorter ones before it held, so only the
    longest counts; when it slides on, each counts by the time that it adds.
    """
    windows = {p.start_seconds: p for p in predictions if p.raw_probabilities is not None}
    if not windows:
        is_short = any(prediction.state == "warming_up" for prediction in predictions)
        return Answer(path, "warming_up" if is_short else "silence", None, 0.0, None, remarks)
    ends = np.array([window.end_seconds for window in windows.values()])
    added = ends - np.maximum([*windows], [0.0, *ends[:-1]])
    rows = [[*(window.raw_probabilities or {}).values()] for window in windows.values()]
    shares = added @ np.array(rows)
    probabilities = dict(zip(card.labels, (shares / shares.sum()).tolist(), strict=True))
    label, confidence = max(probabilities.items(), key=itemgetter(1))
    state: State = "uncertain" if confidence < card.smoothing.uncertain_below else "speech"
    return Answer(path, state, label, confidence, probabilities, remarks)
