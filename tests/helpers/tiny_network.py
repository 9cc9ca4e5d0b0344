"""A network that learns miniature corpora in seconds, registered beside the real ones."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers import tiny_corpora
from ser_live.model.card import SpectrumSpec, WindowSpec
from ser_train.data.recordings import Recordings
from ser_train.models import registry as networks
from ser_train.models.recipe import Augmentation, Recipe, WindowSampling
from ser_train.models.registry import Network

if TYPE_CHECKING:  # TensorFlow takes seconds, and not every test that is collected needs it
    from ser_train.commands.fit import FitJob
    from ser_train.metrics import Scores


def build(n_labels: int, bins: int, mels: int = 20) -> Any:
    import keras  # noqa: PLC0415

    from ser_train.layers import LogMel  # noqa: PLC0415

    spectrum = keras.Input((None, bins), name="spectrum")
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(
        keras.layers.Permute((2, 3, 1))(LogMel(mels=mels, name="frontend")(spectrum))
    )
    x = keras.layers.Dropout(0.2)(keras.layers.BatchNormalization(momentum=0.8)(x))
    return ending_in_labels(spectrum, x, n_labels)


def ending_in_labels(spectrum: Any, x: Any, n_labels: int) -> Any:
    """Return the model from a spectrum over (batch, features) to the layers that all end in."""
    import keras  # noqa: PLC0415

    from ser_train.layers import with_probabilities  # noqa: PLC0415

    return with_probabilities(spectrum, keras.layers.Dense(n_labels, name="logits")(x))


def with_ordinary(model: Any) -> Any:
    """Return a model that also tells ordinary talk from its probabilities' features."""
    import keras  # noqa: PLC0415

    features = model.get_layer("logits").input
    ordinary = keras.layers.Dense(1, activation="sigmoid", name="ordinary")(features)
    return keras.Model(model.input, {"probabilities": model.output, "ordinary": ordinary})


NETWORK = Network(
    name="tiny",
    spectrum=SpectrumSpec(),
    window=WindowSpec(seconds=1.0),
    build=build,
    pooled="pooled",
    recipe=Recipe(
        epochs=4,
        batch_clips=4,
        learning_rate=0.05,
        weight_decay=0.01,
        ema_momentum=0.5,
        label_smoothing=0.05,
        mixup=0.2,
        windows=WindowSampling(
            speeds=(1.0, 1.1), shortest_seconds=0.3, short_below_seconds=0.5, longest_seconds=0.8
        ),
        augmentation=Augmentation(),
    ),
)


def register(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Make the network known, or one that differs from it in the fields named."""
    network = dataclasses.replace(NETWORK, **changes)
    monkeypatch.setitem(networks.NETWORKS, network.name, network)


def job(recordings: Recordings, folder: Path, **more: Any) -> "FitJob":
    """Let the network learn into a folder; of RAVDESS actors, the fifth and the sixth are held."""
    from ser_train.commands.fit import FitJob  # noqa: PLC0415

    told: dict[str, Any] = {
        "network": NETWORK.name,
        "output": folder / "out.keras",
        "validation_speakers": ("ravdess/05",),
        "test_speakers": ("ravdess/06",),
    }
    return FitJob(
        recordings=recordings,
        run_folder=folder / "run",
        cache_folder=folder / "cache",
        **{**told, **more},
    )


@dataclass(frozen=True)
class Fitted:
    """A training that is finished."""

    job: "FitJob"
    scores: "Scores | None"
    """Of the test speaker."""


def fit_once(folder: Path) -> Fitted:
    """Train for happy and sad: four actors train, the fifth is watched, the sixth is tested."""
    from helpers.notes import Notes  # noqa: PLC0415
    from ser_train.commands.fit import fit  # noqa: PLC0415

    corpus = tiny_corpora.write_ravdess(folder / "ravdess", range(1, 7), takes=2)
    card = {"description": "Two emotions.", "limits": "Buzzes."}
    told = job(Recordings((corpus,)), folder, epochs=8, seed=3, **card)
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        return Fitted(told, fit(told, Notes()))


def weights(path: Path) -> list[np.ndarray]:
    from ser_train.models.keras_file import load_model  # noqa: PLC0415

    return [np.asarray(value) for value in load_model(path).model.get_weights()]


def require_equal(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    """All weights, bit for bit."""
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
