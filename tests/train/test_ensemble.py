"""Several networks as one: their mean, one graph, one card, one training that resumes."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from helpers import tiny_corpora, tiny_network
from helpers.measured import CONFIGURATION, posteriors_of, write
from helpers.notes import Notes
from helpers.signals import at_random, demo_voice, run
from ser_export.exporting import export_model
from ser_live import SerError, StreamRecognizer
from ser_live.model.card import Corpus, ModelCard, SpectrumSpec, WindowSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.model.onnx_check import check_graph
from ser_train.commands.fit import FitJob, fit
from ser_train.commands.merge import merge
from ser_train.corpora import Clip
from ser_train.cross_validation.ledger import Posteriors
from ser_train.data.prepare import Prepared, prepare
from ser_train.data.recordings import Recordings
from ser_train.layers import MelAndPitch, Pooled193, Temperature
from ser_train.metrics import with_temperature
from ser_train.models import registry as networks
from ser_train.models.ensemble import combine
from ser_train.models.keras_file import load_model, save_model
from ser_train.models.recipe import WaveformAugmentation, WindowSampling
from ser_train.models.registry import Network, find_network
from ser_train.models.training_record import TrainingRecord
from ser_train.training.checkpoint import CHECKPOINT
from ser_train.training.pretrained import load_first

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_pictures")]

LABELS = ("neutral", "happy", "sad", "angry", "fearful")


def member(name: str, seed: int, softness: float = 1.0) -> keras.Model:
    """A network with random weights, statistics and temperature: no two answers are alike."""
    keras.utils.set_random_seed(seed)
    network = find_network(name)
    model = network.build(len(LABELS), network.spectrum.bins)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(random.normal(0, 0.3, shape))
            layer.moving_variance.assign(random.uniform(0.5, 2, shape))
        elif isinstance(layer, keras.layers.Normalization):
            layer.adapt(random.normal(-20, 15, (50, 193, 1)))
    logits = keras.Model(model.input, model.get_layer("logits").output)
    spread = float(np.std(logits(heard(network, 60, 4))))
    model.get_layer("temperature").temperature.assign(softness * spread)
    return model


def heard(network: Network, frames: int, windows: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    return random.exponential(size=(windows, frames, network.spectrum.bins)).astype(np.float32)


def save(path: Path, name: str, seed: int) -> Path:
    network = find_network(name)
    card = ModelCard(
        name=path.stem,
        labels=LABELS,
        licence="CC-BY-4.0",
        network=name,
        spectrum=network.spectrum,
        window=network.window,
        corpora=(Corpus("emodb", 100 + seed, 10, "CC-BY-4.0"),),
    )
    record = TrainingRecord(("a", "b"), (f"c{seed}",), ("d", f"e{seed}"), seed)
    save_model(path, member(name, seed, 1.0 + seed), card, record)
    return path


@pytest.mark.parametrize(
    "names", [("emotion-tcn", "emotion-tcn"), ("issa-emodb", "issa-ravdess", "issa-iemocap")]
)
def test_probabilities_are_the_mean_of_the_members(names: tuple[str, ...]) -> None:
    network = find_network(names[0])
    members = [member(name, seed, 0.5 + seed) for seed, name in enumerate(names)]
    whole = combine(members, network.front_end)
    for frames, windows in ((40, 1), (93, 3)):
        power = heard(network, frames, windows)
        answers = [np.asarray(model(power)) for model in members]
        assert np.abs(answers[0] - answers[1]).max() > 0.01
        # A softmax of a logarithm is only mathematically the identity.
        np.testing.assert_allclose(whole(power), np.mean(answers, axis=0), atol=1e-6)
    whole.get_layer("temperature").temperature.assign(2.0)
    flattened = np.sqrt(np.mean(answers, axis=0))
    flattened /= flattened.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(whole(power), flattened, atol=1e-6)


def count(model: keras.Model, kind: type) -> int:
    inner = sum(count(layer, kind) for layer in model.layers if isinstance(layer, keras.Model))
    return inner + sum(isinstance(layer, kind) for layer in model.layers)


@pytest.mark.parametrize(
    ("name", "kind"), [("emotion-tcn-3", MelAndPitch), ("issa-emodb-ensemble", Pooled193)]
)
def test_the_front_end_is_computed_once(name: str, kind: type) -> None:
    model = networks.create_model(name, 4)
    assert count(model, kind) == 1
    assert count(model, Temperature) == 4


def test_different_front_ends_of_one_name_are_refused() -> None:
    power = keras.Input((None, 1025), name="spectrum")
    flat = keras.layers.Flatten()(Pooled193(name="frontend")(power))
    scores = keras.layers.Dense(len(LABELS), activation="softmax", name="probabilities")(flat)
    with pytest.raises(SerError, match="front ends 'frontend' differ"):
        combine([keras.Model(power, scores), member("issa-emodb", 0)], "frontend")


@pytest.fixture(name="merged", scope="module")
def merged_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble")
    names = ("issa-emodb", "issa-ravdess", "issa-iemocap")
    files = [save(folder / f"m{k}.keras", name, k) for k, name in enumerate(names)]
    merge(files, folder / "all.keras", None)
    return folder / "all.keras"


def test_an_ensemble_is_not_adapted_as_a_whole(merged: Path) -> None:
    with pytest.raises(SerError, match="an ensemble of 3 networks; adapt the file of each one"):
        load_first(merged)


def test_a_merged_file_has_one_card(merged: Path) -> None:
    loaded = load_model(merged)
    card = loaded.card
    assert (card.name, card.labels, card.metrics) == ("all", LABELS, ())
    assert card.network == "issa-emodb+issa-ravdess+issa-iemocap"
    assert card.corpora == (Corpus("emodb", 102, 10, "CC-BY-4.0"),)
    assert card.licence == "CC-BY-4.0"
    assert "m0, m1, m2" in card.description
    assert loaded.record == TrainingRecord(("a", "b"), ("c0", "c1", "c2"), ("d",), 0)
    members = [load_model(merged.with_name(f"m{k}.keras")).model for k in range(3)]
    power = heard(find_network("issa-emodb"), 60, 2)
    answers = np.mean([model(power) for model in members], axis=0)
    np.testing.assert_allclose(loaded.model(power), answers, atol=1e-6)


def test_the_answers_of_a_cross_validation_temper_the_mean(tmp_path: Path) -> None:
    """Members lose their own temperatures: the answers are of networks without."""
    files = [save(tmp_path / f"m{seed}.keras", "issa-emodb", seed) for seed in range(2)]
    random = np.random.default_rng(0)
    folds: dict[tuple[int, int], Posteriors] = {}
    for fold in range(3):
        honest = random.dirichlet([0.4] * len(LABELS), 700)
        truth = (honest.cumsum(axis=1) > random.random((700, 1))).argmax(axis=1)
        one = replace(posteriors_of(fold, with_temperature(honest, 2.0), truth), labels=LABELS)
        folds |= {(0, fold): one, (1, fold): one}
    configuration = replace(CONFIGURATION, protocol="emodb-loso", network="issa-emodb")
    write(tmp_path / "report", folds, 3, configuration=configuration)
    card = merge(files, tmp_path / "all.keras", None, tmp_path / "report")
    assert card.calibration.temperature == pytest.approx(0.5, rel=0.1)
    assert "2100 clips held out" in card.calibration.method
    model = load_model(tmp_path / "all.keras").model
    own = float(model.get_layer("temperature").temperature)
    assert own == pytest.approx(card.calibration.temperature)
    members = [model.get_layer(f"member{k}").get_layer("temperature") for k in (1, 2)]
    assert [float(layer.temperature) for layer in members] == [1.0, 1.0]
    with pytest.raises(SerError, match=r"holds 2 seeds of issa-emodb .*; wanted 3 seeds of issa-"):
        merge([*files, files[0]], tmp_path / "b.keras", None, tmp_path / "report")


def check_export(source: Path, folder: Path, members: int) -> OnnxClassifier:
    """Export, compare with Keras, and check that batches give the bits of single windows."""
    export = export_model(source, folder / "all.onnx", [], lambda _: None)
    assert export.verification.worst_difference <= 1e-5
    assert export.batch_is_bitwise
    assert export.emulated_dilations == 0
    check_graph(export.path.read_bytes(), "all.onnx")
    graph = onnx.load(export.path).graph
    assert [value.name for value in graph.output] == ["probabilities"]
    assert export.nodes < 150 * members
    classifier = OnnxClassifier.load(export.path)
    power = heard(find_network(export.card.network), 90, 7)
    batch = classifier.batch_probabilities(power)
    single = [classifier.probabilities(window) for window in power]
    np.testing.assert_array_equal(batch, single)
    return classifier


def test_published_ensemble_exports_to_one_graph_and_runs_live(
    merged: Path, tmp_path: Path
) -> None:
    classifier = check_export(merged, tmp_path, 3)
    voice = demo_voice(16000, 6.0)
    whole = run(StreamRecognizer(classifier), iter([voice]))
    assert sum(prediction.probabilities is not None for prediction in whole) > 5
    assert whole == run(StreamRecognizer(classifier), at_random(3)(voice))


def test_sequence_ensemble_exports_to_one_graph(tmp_path: Path) -> None:
    files = [save(tmp_path / f"m{seed}.keras", "emotion-tcn", seed) for seed in range(2)]
    merge(files, tmp_path / "all.keras", "mine")
    classifier = check_export(tmp_path / "all.keras", tmp_path, 2)
    assert classifier.card.name == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("calm", *LABELS[1:])},
        {"spectrum": SpectrumSpec(fft_samples=2048, hop_samples=256)},
        {"window": WindowSpec(seconds=2.0)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_members_that_do_not_fit_are_refused(
    change: dict[str, Any], merged: Path, tmp_path: Path
) -> None:
    first, other, target = (
        merged.with_name("m0.keras"),
        tmp_path / "other.keras",
        tmp_path / "all.keras",
    )
    loaded = load_model(first)
    assert loaded.record is not None
    save_model(other, loaded.model, replace(loaded.card, **change), loaded.record)
    ((field, value),) = change.items()
    with pytest.raises(SerError, match=rf"other.keras: its {field} is {re.escape(str(value))}, .*"):
        merge([first, other], target, None)
    assert not target.exists()


def test_features_of_several_windows_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(networks.NETWORKS, POOLED.name, POOLED)
    path = tiny_corpora.write_sound(tmp_path / "long.wav", "sad", 3, seconds=2.5)
    clips = [Clip(path, "sad", "x/1", "x")]
    cut = WindowSampling(speeds=(1.0, 1.1), shortest_seconds=0.4, longest_seconds=0.8)
    network = replace(POOLED, recipe=replace(POOLED.recipe, windows=cut))
    folder = tmp_path / "cache"

    def prepared(train: bool) -> Prepared:
        return prepare(clips, network, folder, Notes(), skip=False, train=train)

    several, alone = prepared(True), prepared(False)
    windows = several.features[0].windows
    assert windows.shape == (6, 193, 1)
    assert len({window.tobytes() for window in windows}) == 6
    np.testing.assert_array_equal(several.speech(0, None), windows[0])
    np.testing.assert_array_equal(alone.speech(0, None), windows[0])
    assert alone.features[0].windows.shape == (1, 193, 1)
    np.testing.assert_array_equal(prepared(True).features[0].windows, windows)  # from the disk

    def drawn(seed: int) -> list[bytes]:
        source = several.source([0], network.recipe, seed)
        random = np.random.default_rng(0)
        return [source.draw(np.array([0]), random, epoch)[0].tobytes() for epoch in range(40)]

    assert set(drawn(0)) == {window.tobytes() for window in windows}
    assert drawn(0) == drawn(0) != drawn(1)
    renamed = replace(network, name="another")
    prepare(clips, renamed, folder, Notes(), skip=False)
    assert len(list((folder / "features").glob("*.npz"))) == 2  # networks share what they hear


def test_features_of_changed_copies_rest_on_the_clips_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(networks.NETWORKS, POOLED.name, POOLED)
    sounds = [(f"{label}.wav", label, seed) for seed, label in enumerate(("sad", "happy"))]
    clips = [
        Clip(tiny_corpora.write_sound(tmp_path / name, label, seed, seconds=1.5), label, "x/1", "x")
        for name, label, seed in sounds
    ]
    cut = WindowSampling(shortest_seconds=0.5, short_below_seconds=0.8, longest_seconds=1.0)

    def windows(folder: str, train: bool = True, **settings: Any) -> list[np.ndarray]:
        waveforms = WaveformAugmentation(copies=4, babble_probability=1.0, **settings)
        recipe = replace(POOLED.recipe, windows=cut, waveforms=waveforms)
        network = replace(POOLED, recipe=recipe)
        ready = prepare(clips, network, tmp_path / folder, Notes(), skip=False, train=train)
        return [item.windows for item in ready.features]

    first = windows("one")
    assert [array.shape for array in first] == [(5, 193, 1)] * 2
    for array, alone in zip(first, windows("one", train=False), strict=True):
        assert len({window.tobytes() for window in array}) == 5
        np.testing.assert_array_equal(array[:1], alone)
    files = set((tmp_path / "one" / "features").iterdir())
    assert len(files) == 4
    files.pop().unlink()  # interrupted before the last one
    np.testing.assert_array_equal(first, windows("one"))
    np.testing.assert_array_equal(first, windows("other"))
    assert not np.array_equal(first, windows("one", speed_probability=1.0))
    clips.reverse()
    np.testing.assert_array_equal(first[::-1], windows("third"))


def build_pooled(n_labels: int, bins: int) -> keras.Model:
    """A tiny network over the published features, with statistics of the training clips."""
    spectrum = keras.Input((None, bins), name="spectrum")
    features = Pooled193(mel_in_decibels=True, name="frontend")(spectrum)
    x = keras.layers.Normalization(axis=1, name="standardize")(features)
    x = keras.layers.BatchNormalization(momentum=0.8)(keras.layers.Flatten()(x))
    return tiny_network.ending_in_labels(spectrum, keras.layers.Dropout(0.2)(x), n_labels)


POOLED = replace(
    tiny_network.NETWORK,
    name="pooled",
    spectrum=SpectrumSpec(2048, 512),
    build=build_pooled,
    recipe=replace(tiny_network.NETWORK.recipe, windows=None, augmentation=None),
    front_end="frontend",
)


@pytest.fixture(name="job", scope="module")
def finished_job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FitJob]:
    """An ensemble that was trained without a break; its networks stay registered."""
    folder = tmp_path_factory.mktemp("pooled")
    corpus = tiny_corpora.write_ravdess(folder / "ravdess", range(1, 7), takes=2)
    job = tiny_network.job(Recordings((corpus,)), folder, network="pooled+pooled", epochs=3, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, POOLED.name, POOLED)
        fit(job, Notes())
        yield job


def test_a_resumed_ensemble_is_bitwise_the_uninterrupted_one(job: FitJob, tmp_path: Path) -> None:
    members = job.network.count("+") + 1
    assert [path.name for path in job.run_folder.iterdir() if path.is_dir()] == []
    assert (job.run_folder / CHECKPOINT).is_file()
    again = replace(job, run_folder=tmp_path / "run", output=tmp_path / "again.keras")
    for number, epoch, resume in ((1, 2, False), (2, 1, True), (2, 2, True)):
        with pytest.raises(KeyboardInterrupt):
            fit(replace(again, resume=resume), Notes(f"epoch {epoch}/", f"member {number} of"))
        with pytest.raises(SerError, match="--resume"):
            fit(again, Notes())
    notes = Notes()
    fit(replace(again, resume=True), notes)
    assert f"member {members} of {members}: {job.network.split('+')[0]}" in notes.notes
    assert not any(note.startswith("member 1 of") for note in notes.notes)
    whole = tiny_network.weights(job.output)
    tiny_network.require_equal(whole, tiny_network.weights(again.output))


def test_a_trained_ensemble_has_a_card_and_is_measured(job: FitJob) -> None:
    loaded = load_model(job.output)
    assert loaded.card.network == job.network
    temperature = float(loaded.model.get_layer("temperature").temperature)
    assert temperature == pytest.approx(loaded.card.calibration.temperature)
    assert temperature != 1.0
    inner = [layer for layer in loaded.model.layers if isinstance(layer, keras.Model)]
    assert len(inner) == job.network.count("+") + 1
    kernels = [layer.get_layer("logits").get_weights()[0] for layer in inner]
    assert not np.array_equal(kernels[0], kernels[1])
    uar = loaded.card.metrics[0]
    assert (uar.name, uar.count) == ("UAR", 4)
