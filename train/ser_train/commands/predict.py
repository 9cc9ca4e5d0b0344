"""Name the emotion of whole recordings, with a ``.keras`` or an ``.onnx`` model."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, ModelCard
from ser_train.audio import read_audio
from ser_train.data.spectra import heard_bounds, speech_bounds, whole_clip_spectrum


@dataclass(frozen=True, slots=True)
class Answer:
    """The emotion of one recording."""

    path: Path
    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    """One for each label."""

    def line(self, as_json: bool) -> str:
        """Return one line, for a person or as JSON."""
        best = int(self.probabilities.argmax())
        label, confidence = self.labels[best], float(self.probabilities[best])
        if not as_json:
            return f"{self.path}\t{label}\t{confidence:.3f}"
        shares = (round(float(share), 6) for share in self.probabilities)
        answer = {
            "file": str(self.path),
            "label": label,
            "confidence": round(confidence, 6),
            "probabilities": dict(zip(self.labels, shares, strict=True)),
        }
        return json.dumps(answer)


@dataclass(frozen=True, slots=True)
class Predictor:
    """A model that names the emotion of recordings."""

    card: ModelCard
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """Power of shape (frames, bins) to the probability of each label."""

    def predict(self, path: Path) -> Answer:
        """Average the probabilities of windows that overlap by half, over the speech of a file.

        Raises
        ------
        SerError
            If the file cannot be read.
        """
        power = whole_clip_spectrum(path, read_audio(path), self.card.spectrum)
        rows = [self.run(window) for window in self._windows(power)]
        return Answer(path, self.card.labels, np.mean(rows, axis=0, dtype=np.float64))

    def _windows(self, power: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        spec = self.card.spectrum
        length = round(self.card.window.seconds * SAMPLE_RATE_HZ / spec.hop_samples)
        start, stop = heard_bounds(*speech_bounds(power), spec)
        stop = min(len(power), stop)
        while True:
            yield power[start : min(start + length, stop)]
            if start + length >= stop:
                return
            start = min(start + length // 2, stop - length)


def load_predictor(path: Path) -> Predictor:
    """Load a model by the ending of its name.

    Raises
    ------
    SerError
        If the file is missing, has another ending, or does not fit.
    """
    if path.suffix == ".onnx":
        from ser_live.model.classifier import OnnxClassifier  # noqa: PLC0415 - only this kind needs it

        classifier = OnnxClassifier.load(path)
        return Predictor(classifier.card, classifier.probabilities)
    if path.suffix != ".keras":
        raise SerError(f"{path}: a model file ends in .keras or .onnx")
    from ser_train.models.keras_file import load_model  # noqa: PLC0415 - Keras takes seconds

    loaded = load_model(path)

    def run(power: NDArray[np.float32]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = loaded.model(power[None], training=False).numpy()[0]
        return probabilities

    return Predictor(loaded.card, run)
