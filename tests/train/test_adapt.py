"""A trained model made one's own: what it keeps, what it learns, what it says of itself."""

import dataclasses
import hashlib
import itertools
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from helpers import tiny_corpora, tiny_network
from helpers.in_process import call, error_of
from helpers.notes import Notes
from helpers.tiny_corpora import clips_of
from ser_live import SerError
from ser_live.model.card import LONGEST_NAME
from ser_train.commands import cli
from ser_train.commands.adapt import adapt
from ser_train.commands.fit import FitJob
from ser_train.data.feature_cache import ClipFeatures
from ser_train.data.prepare import Prepared
from ser_train.data.recordings import Recordings
from ser_train.data.splits import Split
from ser_train.evaluation.calibration import Comparison, Measured, compare
from ser_train.metrics import score
from ser_train.models.keras_file import load_model, save_model
from ser_train.models.recipe import Recipe
from ser_train.models.registry import create_model
from ser_train.models.training_record import TrainingRecord
from ser_train.reports.markdown import comparison_lines, worse
from ser_train.reports.model_card import adapted_record
from ser_train.training.fine_tuning import stages_for
from ser_train.training.pretrained import frozen_normalisation, head_of, with_labels

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_pictures")]

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="base")
def base_model(fitted: tiny_network.Fitted, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model for happy and sad, by four speakers, whose network is known."""
    tiny_network.register(monkeypatch)
    return fitted.job.output


def write_table(
    folder: Path, speakers: str = "abcd", labels: tuple[str, ...] = ("happy", "sad", "angry")
) -> Path:
    rows = ["path,label,speaker"]
    for speaker, label, take in itertools.product(speakers, labels, range(3)):
        path = folder / f"{speaker}-{label}-{take}.wav"
        tiny_corpora.write_sound(path, label, seed=100 * ord(speaker) + take)
        rows.append(f"{path.name},{label},{speaker}")
    table = folder / "mine.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


@pytest.fixture(name="job")
def small_job(tmp_path: Path) -> FitJob:
    recordings = Recordings(manifests=(write_table(tmp_path),))
    roles = {"validation_speakers": None, "test_speakers": ("mine/d",)}
    return tiny_network.job(recordings, tmp_path, network="", epochs=6, seed=3, **roles)


def test_adapts_to_new_voices_and_a_new_label(job: FitJob, base: Path) -> None:
    notes = Notes()
    comparison = adapt(dataclasses.replace(job, description="Mine.", epochs=30), base, notes)
    check_comparison(comparison, notes, job.run_folder)
    check_card(job.output, base)
    check_statistics(job.output, base)


def check_comparison(comparison: Comparison | None, notes: Notes, run_folder: Path) -> None:
    assert comparison is not None
    assert comparison.common == ("happy", "sad")
    assert comparison.before is not None
    assert comparison.after is not None
    assert (comparison.before.count, comparison.after.count, comparison.whole.count) == (6, 6, 9)
    assert comparison.whole.uar > 0.6
    text = "\n".join(notes.notes)
    assert "of these labels it knows: happy, sad" in text
    assert "held-out speakers: mine/d" in text
    assert "after, all 3 labels" in text
    figures = json.loads((run_folder / "metrics.json").read_text())
    assert figures["comparison"]["before"]["count"] == 6
    assert figures["speaker_independent"] is True
    for name in ("curves.png", "confusion.png", "reliability.png"):
        assert (run_folder / name).is_file()


def check_card(adapted: Path, base: Path) -> None:
    """The card says where the model comes from, and what holds for both trainings."""
    loaded, first = load_model(adapted), load_model(base).card
    card, mark = loaded.card, hashlib.sha256(base.read_bytes()).hexdigest()
    assert card.name == "tiny-adapted"
    assert (
        card.description == f"Mine. Adapted from tiny (SHA-256 {mark}) to 27 clips of 3 speakers."
    )
    assert card.limits == "Buzzes."
    assert card.labels == ("happy", "sad", "angry")
    assert (card.spectrum, card.window) == (first.spectrum, first.window)
    assert [(c.name, c.clips, c.speakers) for c in card.corpora] == [
        ("ravdess", 16, 4),
        ("mine (adapted to)", 27, 3),
    ]
    assert (first.licence, card.licence) == ("CC-BY-NC-SA-4.0", "LicenseRef-unknown")
    assert [metric.name for metric in card.metrics] == ["UAR", "WA", "ECE", "debiased ECE"]
    assert all(metric.speaker_independent and metric.count == 9 for metric in card.metrics)
    assert "mine/d" in card.metrics[0].protocol
    assert (
        card.calibration.method == "that of tiny, but at least 1: no speaker was left to fit it on"
    )
    temperature = float(loaded.model.get_layer("temperature").temperature)
    assert temperature == pytest.approx(card.calibration.temperature)
    assert temperature == pytest.approx(max(1.0, first.calibration.temperature))
    assert loaded.record is not None
    assert loaded.record.training_speakers[:3] == ("mine/a", "mine/b", "mine/c")
    assert loaded.record.test_speakers == ("mine/d", "ravdess/06")
    assert all(layer.trainable for layer in loaded.model.layers)


def check_statistics(adapted: Path, base: Path) -> None:
    models = (load_model(path).model for path in (base, adapted))
    before, after = (
        [np.asarray(w) for w in model.weights if w.path.startswith("batch_normalization")]
        for model in models
    )
    assert len(before) == 4
    np.testing.assert_array_equal(before, after)


def test_a_resumed_adaptation_is_bitwise_the_uninterrupted_one(job: FitJob, base: Path) -> None:
    job = dataclasses.replace(job, epochs=5)
    adapt(job, base, Notes())
    whole = tiny_network.weights(job.output)
    again = dataclasses.replace(job, run_folder=job.run_folder.with_name("again"))
    resumed = dataclasses.replace(again, resume=True)
    with pytest.raises(KeyboardInterrupt):
        adapt(again, base, Notes("epoch 1/2"))  # of the head alone
    with pytest.raises(SerError, match="continue it with --resume"):
        adapt(again, base, Notes())
    with pytest.raises(KeyboardInterrupt):
        adapt(resumed, base, Notes("epoch 2/3"))  # of all layers
    notes = Notes()
    adapt(resumed, base, notes)
    assert "going on after epoch 2 of 3" in notes.notes
    tiny_network.require_equal(whole, tiny_network.weights(job.output))


def test_one_speaker_is_measured_on_held_out_clips_and_says_so(job: FitJob, base: Path) -> None:
    job = dataclasses.replace(job, test_speakers=None, training_speakers=("mine/a",), epochs=2)
    notes = Notes()
    comparison = adapt(job, base, notes)
    assert comparison is not None
    assert comparison.whole.count == 3
    warned = next(note for note in notes.notes if note.startswith("warning: no speaker is"))
    assert "speaker-dependent" in warned
    card = load_model(job.output).card
    assert not any(metric.speaker_independent for metric in card.metrics)
    assert "held-out clips of speakers in training mine/a" in card.metrics[0].protocol


def test_nothing_held_out_claims_nothing_and_labels_may_be_own_ones(
    job: FitJob, base: Path
) -> None:
    notes = Notes()
    mapping = (("angry", "fed up"),)
    renamed = dataclasses.replace(job.recordings, mapping=mapping, note=notes.note)
    job = dataclasses.replace(job, recordings=renamed, test_speakers=(), epochs=1)
    assert adapt(job, base, notes) is None
    assert "warning: nothing is held out, so nothing will be measured" in notes.notes
    assert any("no known corpus has the label fed up" in note for note in notes.notes)
    card = load_model(job.output).card
    assert card.labels == ("happy", "sad", "fed up")
    assert card.metrics == ()


def test_a_model_that_is_worse_afterwards_says_so(job: FitJob, base: Path) -> None:
    """The training clips have the labels the wrong way round."""
    (table_path,) = job.recordings.manifests
    rows = [row.split(",") for row in table_path.read_text().splitlines()]
    exchanged = {"happy": "sad", "sad": "happy"}
    for row in rows:
        row[1] = row[1] if row[2] == "d" else exchanged.get(row[1], row[1])
    table_path.write_text("\n".join(map(",".join, rows)) + "\n")
    recordings = Recordings(manifests=(table_path,), dropped=("angry",))
    notes = Notes()
    adapt(dataclasses.replace(job, recordings=recordings), base, notes)
    (line,) = [note for note in notes.notes if "worse than before" in note]
    assert line.startswith("warning: on the held-out speakers the adapted model is worse than")
    assert "NLL by" in line
    assert job.output.is_file()


def test_speakers_that_the_model_has_heard_are_named(job: FitJob, base: Path) -> None:
    corpus = base.parent / "ravdess"
    again = dataclasses.replace(
        job, recordings=Recordings((corpus,)), test_speakers=("ravdess/01",), epochs=1
    )
    notes = Notes()
    adapt(again, base, notes)
    told = "ravdess/01 were in the first model's training"
    assert f"warning: {told}: before and after flatter" in notes.notes
    metric = load_model(job.output).card.metrics[0]
    assert not metric.speaker_independent
    assert told in metric.protocol


# The head.


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("emotion-tcn", ("neutral", "sad", "angry")),
        ("issa-ravdess", ("angry", "boredom", "happy", "sad")),
    ],
)
def test_labels_in_common_keep_their_scores(name: str, new: tuple[str, ...]) -> None:
    old = ("neutral", "happy", "sad", "angry")
    keras.utils.set_random_seed(1)
    model = create_model(name, len(old))
    for weight in model.get_layer("logits").weights:
        weight.assign(np.random.default_rng(0).uniform(0.5, 1.0, weight.shape))
    if name == "issa-ravdess":
        shape = (3, *model.get_layer("frontend").output.shape[1:])
        features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        model.get_layer("standardize").adapt(features)
    model.get_layer("temperature").temperature.assign(2.0)
    other = with_labels(model, old, new)
    assert float(other.get_layer("temperature").temperature) == 1.0
    assert float(model.get_layer("temperature").temperature) == 2.0
    power = np.random.default_rng(2).random((2, 90, model.input_shape[-1]), np.float32)
    first, second = (
        np.asarray(keras.Model(m.input, m.get_layer("logits").output)(power))
        for m in (model, other)
    )
    for place, label in enumerate(new):
        if label in old:
            np.testing.assert_allclose(
                second[:, place], first[:, old.index(label)], rtol=1e-4, atol=1e-5
            )


def test_what_learns_in_each_stage() -> None:
    assert head_of(create_model("issa-ravdess", 3)) == ("scores", "logits")
    model = create_model("emotion-tcn", 3)
    assert head_of(model) == ("logits",)
    with frozen_normalisation(model, head_alone=True):
        assert [v.path for v in model.trainable_variables] == ["logits/kernel", "logits/bias"]
    with frozen_normalisation(model, head_alone=False):
        names = {v.path.partition("/")[0] for v in model.trainable_variables}
        assert "logits" in names
        assert not any(name.startswith("batch_normalization") for name in names)
    assert any("batch_normalization" in v.path for v in model.trainable_variables)


def test_a_frozen_layer_stays_so_and_normalisation_inside_another_is_frozen() -> None:
    inputs = keras.Input((3,))
    encoder = keras.layers.Dense(3, name="encoder", trainable=False)
    block = keras.Sequential([inputs, keras.layers.Dense(3), keras.layers.BatchNormalization()])
    logits = keras.layers.Dense(2, name="logits")(block(encoder(inputs)))
    model = keras.Model(inputs, logits)
    before = [v.path for v in model.trainable_variables]
    with frozen_normalisation(model, head_alone=False):
        assert [v.path.rsplit("/")[-1] for v in model.trainable_variables] == ["kernel", "bias"] * 2
    assert [v.path for v in model.trainable_variables] == before


def test_a_model_without_our_head_is_refused() -> None:
    inputs = keras.Input((3,))
    with pytest.raises(SerError, match="no layer 'logits'"):
        head_of(keras.Model(inputs, keras.layers.Dense(2)(inputs)))
    with pytest.raises(SerError, match="no dense layer"):
        head_of(keras.Model(inputs, keras.layers.ReLU(name="logits")(inputs)))


# Recipe.


def test_few_clips_only_nudge_and_many_need_fewer_epochs() -> None:
    recipe = Recipe(epochs=45, batch_clips=32, learning_rate=4e-3)
    few, *many = [stages_for(recipe, clips, None, None) for clips in (60, 100, 500, 5000)]
    rates = [every.learning_rate for _, every in (few, *many)]
    assert rates == sorted(rates)
    assert few[0].epochs == few[1].epochs < many[0][1].epochs
    assert few[0].learning_rate < many[0][0].learning_rate == recipe.learning_rate
    epochs = [every.epochs for _, every in many]
    assert epochs == sorted(epochs, reverse=True)
    for head, every in (few, *many):
        assert every.learning_rate < head.learning_rate
        assert 2 <= every.epochs <= 40
        assert 4 <= every.batch_clips <= 32


@pytest.mark.parametrize(("epochs", "wanted"), [(1, (1, 0)), (2, (1, 1)), (13, (6, 7))])
def test_the_named_epochs_are_those_of_both_stages(epochs: int, wanted: tuple[int, int]) -> None:
    head, every = stages_for(tiny_network.NETWORK.recipe, 50, epochs, 7)
    assert (head.epochs, every.epochs) == wanted
    assert head.batch_clips == every.batch_clips == 7


# Before and after.


def measured(truth: list[int], rows: list[list[float]]) -> Measured:
    probabilities, index = np.array(rows), np.array(truth)
    return Measured((), index, probabilities, score(probabilities, index), "")


def test_both_models_are_compared_over_the_labels_in_common() -> None:
    before = measured([0, 1], [[0.2, 0.1, 0.7], [0.1, 0.2, 0.7]])
    after = measured([1, 2, 0], [[0.6, 0.1, 0.3], [0.2, 0.2, 0.6], [0.9, 0.1, 0.0]])
    got = compare(before, ("happy", "sad", "calm"), after, ("boredom", "happy", "sad"))
    assert got.common == ("happy", "sad")
    assert got.before is not None
    assert got.after is not None
    assert (got.before.uar, got.after.uar) == (1.0, 0.5)
    assert got.before.nll == pytest.approx(-np.log(2 / 3))
    assert got.whole.count == 3
    assert worse(got).startswith("UAR by 50.0 points, WA by 50.0 points, NLL by 0.")
    assert [line.split()[0] for line in comparison_lines(got)[1:]] == ["before", "after", "after,"]


@pytest.mark.parametrize("old", [("calm", "fearful"), ("calm", "sad")])
def test_without_two_labels_in_common_nothing_is_compared(old: tuple[str, ...]) -> None:
    after = measured([0, 1], [[0.9, 0.1], [0.1, 0.9]])
    got = compare(measured([1], [[0.5, 0.5]]), old, after, ("happy", "sad"))
    assert (got.before, got.after, worse(got)) == (None, None, "")
    assert len(comparison_lines(got)) == 2


def test_what_has_not_become_worse_is_not_called_so() -> None:
    scores = score(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    assert worse(Comparison(("happy", "sad"), scores, scores, scores)) == ""
    better = dataclasses.replace(scores, nll=scores.nll - 0.1)
    assert worse(Comparison(("happy", "sad"), scores, better, better)) == ""
    assert worse(Comparison(("happy", "sad"), better, scores, scores)) == "NLL by 0.100"


def test_a_speaker_who_trained_once_has_trained() -> None:
    clips = clips_of(a="hs", b="h", c="h")
    features = tuple(
        ClipFeatures(clip, str(k) * 64, True, np.zeros((1, 1), np.float32))
        for k, clip in enumerate(clips)
    )
    prepared = Prepared(tiny_network.NETWORK, tuple(clips), features=features)
    before = TrainingRecord(("x/c",), ("x/a",), ("x/d",), 0, {"x/c": "c" * 12})
    got = adapted_record(before, prepared, Split((0, 1), (2,), (3,)), 7)
    marks = {"x/a": "0" * 12 + "1" * 12, "x/b": "2" * 12, "x/c": "c" * 12}
    assert got == TrainingRecord(("x/a", "x/c"), ("x/b",), ("x/d",), 7, marks)


def test_voices_of_the_first_training_are_known_by_another_name(
    job: FitJob, base: Path, fitted: tiny_network.Fitted
) -> None:
    """A speaker who trained the first model cannot pass for a stranger by a new name."""
    clips = [clip for clip in fitted.job.recordings.find() if clip.speaker < "ravdess/04"]
    rows = [f"{clip.path},{clip.label},{chr(ord(clip.speaker[-1]) + 48)}" for clip in clips]
    table = job.output.with_name("renamed.csv")
    table.write_text("\n".join(["path,label,speaker", *rows]) + "\n", encoding="utf-8")
    notes, recordings = Notes(), Recordings(manifests=(table,))
    job = dataclasses.replace(job, recordings=recordings, test_speakers=("renamed/a",), epochs=2)
    adapt(job, base, notes)
    known = "ravdess/01 (here renamed/a) were in the first model's training"
    assert f"warning: {known}: before and after flatter" in notes.notes
    card = load_model(job.output).card
    assert known in card.metrics[0].protocol
    assert not any(metric.speaker_independent for metric in card.metrics)
    assert json.loads((job.run_folder / "metrics.json").read_text())["speaker_independent"] is False


# Mistakes and misfortune.


def test_unlucky_input_is_one_line(base: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.keras"

    def refusal(*arguments: object) -> str:
        return error_of(call("fit", *arguments, "-o", target, main=cli.main), "ser-train")

    loaded, other = load_model(base), tmp_path / "other.keras"
    strange = dataclasses.replace(loaded.card, network="n" * LONGEST_NAME)
    save_model(other, loaded.model, strange, TrainingRecord((), (), (), 0))
    table = ("--corpus", write_table(tmp_path, speakers="ab"))
    assert "there is no network 'nnn" in refusal("--init", other, *table)
    assert "there is no speaker 'x'" in refusal("--init", base, *table, "--test-speakers", "x")
    assert "wanted one of --network NAME" in refusal("--init", base, "--network", "tiny", *table)
    assert "--init MODEL.keras" in refusal(*table)
    assert not target.exists()


def test_the_command_adapts_a_shipped_model(tmp_path: Path) -> None:
    table, target = write_table(tmp_path, labels=("happy", "boredom")), tmp_path / "mine.keras"
    begun = ["--init", ROOT / "models" / "emotion-light.keras", "--corpus", table]
    rest = ["--epochs", "1", "--cache-dir", tmp_path / "cache", "-o", target]
    done = call("fit", *begun, *rest, main=cli.main)
    assert (done.returncode, done.stdout) == (0, "")
    for words in ("it knows: happy", "held-out speakers: mine/c", "after, all 2 labels"):
        assert words in done.stderr
    assert load_model(target).card.labels == ("happy", "boredom")
