"""Fields of a recipe that the user sets: read as their type, checked, and shown."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import tiny_corpora, tiny_network
from helpers.notes import Notes
from ser_live import SerError
from ser_train.commands.cli import cross_validate
from ser_train.cross_validation.plan import CrossValidation
from ser_train.data.recordings import Recordings
from ser_train.models.keras_file import load_model
from ser_train.models.recipe import Recipe, with_settings
from ser_train.models.registry import NETWORKS

RECIPE = NETWORKS["emotion-tcn"].recipe


def changed(*words: str) -> Recipe:
    return with_settings(
        RECIPE, [(path, value) for path, _, value in (w.partition("=") for w in words)]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_every_recipe_comes_through(name: str) -> None:
    recipe = NETWORKS[name].recipe
    assert with_settings(recipe, ()) is recipe
    assert with_settings(recipe, [("recipe.epochs", str(recipe.epochs))]) == recipe


def test_values_are_read_as_their_type() -> None:
    recipe = changed(
        "recipe.learning_rate=1e-3",
        "recipe.optimiser=rmsprop",
        "recipe.balanced_corpora=false",
        "recipe.augmentation.noise_snr_db=10,40",
        "recipe.windows.speeds=[1, 0.9]",
        "recipe.waveforms.copies=2",  # None before
    )
    assert (recipe.learning_rate, recipe.optimiser) == (1e-3, "rmsprop")
    assert not recipe.balanced_corpora
    assert recipe.augmentation is not None
    assert recipe.windows is not None
    assert recipe.waveforms is not None
    assert recipe.augmentation.noise_snr_db == (10.0, 40.0)
    assert recipe.windows.speeds == (1.0, 0.9)
    assert recipe.waveforms.copies == 2
    assert recipe.epochs == RECIPE.epochs
    assert changed("recipe.augmentation=null").augmentation is None


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("recipe.learning_rate=fast", "recipe.learning_rate is 'fast', wanted a number"),
        ("recipe.learning_rate=-1", "recipe.learning_rate is -1.0, wanted 0 or more"),
        ("recipe.learning_rate.x=1", "recipe.learning_rate is .*, wanted a number"),
        (
            "recipe.rate=1",
            "unknown field 'rate'; the fields are epochs, batch_clips,",
        ),
        ("recipe.epochs=0", "recipe.epochs is 0, wanted 1 or more"),
        ("recipe.epochs=1.5", "wanted a whole number"),
        ("recipe.label_smoothing=2", "wanted 0 to 1"),
        ("recipe.optimiser=sgd", "wanted adamw or rmsprop"),
        ("recipe.windows.speeds=1.1,1", "the first of them 1"),
        ("recipe.augmentation.noise_snr_db=40,10", "wanted the lower number first"),
        ("recipe.augmentation.noise_snr_db=1,2,3", "has 3 values, wanted 2"),
        ("recipe.windows.longest_seconds=1.5", "wanted none smaller than the one before"),
        ("recipe=1", "recipe is 1, wanted an object"),
        ("window.seconds=2", "wanted a field of the recipe"),
    ],
)
def test_what_is_no_setting_is_one_line(word: str, reason: str) -> None:
    with pytest.raises(SerError, match=f"^--set.*{reason}"):
        changed(word)


def build(n_labels: int, bins: int) -> Any:
    import keras  # noqa: PLC0415 - TensorFlow takes seconds

    from ser_train.layers import LogMel  # noqa: PLC0415

    spectrum = keras.Input((None, bins), name="spectrum")
    x = keras.layers.Permute((2, 3, 1))(LogMel(mels=20)(spectrum))
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(8, activation="relu")(x)
    return tiny_network.ending_in_labels(spectrum, x, n_labels)


@pytest.mark.integration
@pytest.mark.usefixtures("no_pictures")
def test_settings_train_and_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With half of the precision, in which nothing is saved."""
    import keras  # noqa: PLC0415

    from ser_train.commands.fit import fit  # noqa: PLC0415

    tiny_network.register(monkeypatch, build=build)
    corpus = tiny_corpora.write_ravdess(tmp_path / "ravdess", range(1, 7))
    settings = (("recipe.learning_rate", "0.02"), ("recipe.epochs", "1"))
    weights = []
    for number, precision in enumerate(("false", "true")):
        job = tiny_network.job(Recordings((corpus,)), tmp_path, description="Buzzes.")
        job = dataclasses.replace(job, run_folder=tmp_path / str(number))
        job = dataclasses.replace(job, settings=(*settings, ("recipe.mixed_precision", precision)))
        notes = Notes()
        fit(job, notes)
        assert any(note.startswith("epoch 1/1 ") for note in notes.notes)
        loaded = load_model(job.output)
        weights.append(loaded.model.get_weights())
        assert loaded.model.dtype_policy.name == "float32"
        assert {layer.dtype_policy.name for layer in loaded.model.layers} == {"float32"}
        words = f"learning_rate = 0.02, recipe.epochs = 1, recipe.mixed_precision = {precision}."
        assert loaded.card.description == f"Buzzes. Trained with recipe.{words}"
    figures = json.loads((job.run_folder / "metrics.json").read_text())
    assert figures["settings"] == {**dict(settings), "recipe.mixed_precision": "true"}
    assert not all(map(np.array_equal, *weights))
    assert keras.config.dtype_policy().name == "float32"
    other = CrossValidation(
        recordings=job.recordings,
        network="tiny",
        protocol="loso",
        report_folder=tmp_path / "report",
        cache_folder=tmp_path / "cache",
        folds=(0,),
        settings=settings,
    )
    cross_validate(other, Notes())
    report = (other.report_folder / "report.md").read_text(encoding="utf-8")
    assert "Set: recipe.learning_rate = 0.02, recipe.epochs = 1." in report
    assert "--set recipe.learning_rate=0.02 --set recipe.epochs=1" in report
    with pytest.raises(SerError, match="rows with"):
        cross_validate(dataclasses.replace(other, settings=settings[1:]), Notes())
