"""A second head learns to tell ordinary talk; the first one stays as it is."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from helpers import tiny_corpora, tiny_network
from helpers.notes import Notes
from ser_live import SerError
from ser_train.commands.adapt import adapt
from ser_train.commands.fit import FitJob, fit
from ser_train.data.recordings import Recordings
from ser_train.data.splits import Split
from ser_train.models.inference import KerasClassifier
from ser_train.models.keras_file import load_model
from ser_train.models.recipe import ORDINARY_HEAD, OrdinaryHead, WaveformAugmentation

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_pictures")]

HEAD = OrdinaryHead(
    dataclasses.replace(ORDINARY_HEAD.training, learning_rate=0.03, weight_decay=0.01),
    steps=100,
    copies=6,
    ordinary_odds=0.5,
    prior=(("neutral", 2.0),),
)


@pytest.fixture(name="job")
def small_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FitJob:
    """Six actors who hum, and five people who talk, each in a file of their own."""
    tiny_network.register(monkeypatch, ordinary=HEAD)
    corpus = tiny_corpora.write_ravdess(tmp_path / "ravdess", range(1, 7), ["neutral", "sad"])
    for person in range(5):
        path = tmp_path / "chats" / f"{person}.wav"
        tiny_corpora.write_sound(path, "happy", 100 + person, seconds=1.5)
    return tiny_network.job(
        Recordings((corpus,)),
        tmp_path,
        ordinary=(tmp_path / "chats",),
        validation_speakers=("ravdess/05", "chats/3"),
        test_speakers=("ravdess/06", "chats/4"),
    )


def outputs(path: Path, prepared: list[np.ndarray]) -> list[np.ndarray]:
    classifier = KerasClassifier(path)
    return [
        np.concatenate([x for x in (o.probabilities, o.ordinary) if x is not None], axis=1)
        for o in (classifier.batch_outputs(one[None]) for one in prepared)
    ]


def heard(folder: Path, pattern: str) -> list[np.ndarray]:
    from ser_live.engine.spectrum import PowerSpectrum  # noqa: PLC0415
    from ser_train.audio import read_audio  # noqa: PLC0415

    spec = tiny_network.NETWORK.spectrum
    return [PowerSpectrum(spec).process(read_audio(p)) for p in sorted(folder.rglob(pattern))]


@pytest.mark.parametrize("kind", ["spectra", "features", "copies"])
def test_talk_is_told_and_emotion_stays_as_it_is(
    job: FitJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    recipe = tiny_network.NETWORK.recipe
    if kind != "spectra":
        waveforms = WaveformAugmentation(copies=2) if kind == "copies" else None
        recipe = dataclasses.replace(recipe, augmentation=None, waveforms=waveforms)
        changes = {"front_end": "pooled", "recipe": recipe}
        tiny_network.register(monkeypatch, ordinary=HEAD, **changes)
    notes = Notes()
    fit(job, notes)
    assert any(n.startswith("ordinary talk, training: 3 clips of 3 speakers") for n in notes.notes)
    alone = dataclasses.replace(
        job,
        ordinary=(),
        output=tmp_path / "alone.keras",
        run_folder=tmp_path / "alone",
        validation_speakers=("ravdess/05",),
        test_speakers=("ravdess/06",),
    )
    fit(alone, notes)
    talk, acted = heard(tmp_path / "chats", "4.wav"), heard(tmp_path / "ravdess", "*-06.wav")
    both, single = (outputs(path, talk + acted) for path in (job.output, alone.output))
    for one, other in zip(both, single, strict=True):
        np.testing.assert_array_equal(one[:, :2], other)
    ordinary = [float(one[0, 2]) for one in both]
    assert min(ordinary[: len(talk)]) > 0.5 > max(ordinary[len(talk) :])
    file = load_model(job.output)
    assert (file.card.ordinary_odds, file.card.prior) == (0.5, {"neutral": 2.0})
    assert [(c.name, c.clips) for c in file.card.corpora] == [("chats", 3), ("ravdess", 8)]
    assert file.card.licence == "LicenseRef-unknown"
    assert "neutral to it until" in file.card.limits
    assert file.record is not None
    assert file.record.validation_speakers == ("ravdess/05", "chats/3")
    assert file.record.test_speakers == ("ravdess/06", "chats/4")
    assert "ravdess/06" in file.card.metrics[0].protocol
    assert "chats" not in file.card.metrics[0].protocol


def test_further_acted_emotion_is_no_talk_to_the_head(job: FitJob, tmp_path: Path) -> None:
    for person in range(4):
        path = tmp_path / "stage" / f"{person}.wav"
        tiny_corpora.write_sound(path, "angry", 200 + person, seconds=1.5)
    fit(job, notes := Notes())
    assert any("name others with --acted PATH" in note for note in notes.notes)
    more = dataclasses.replace(
        job,
        acted=(tmp_path / "stage", tmp_path / "ravdess"),
        output=tmp_path / "more.keras",
        run_folder=tmp_path / "more",
        test_speakers=(*(job.test_speakers or ()), "stage/3"),
    )
    fit(more, notes := Notes())
    assert not any("--acted" in note for note in notes.notes)
    assert any(n.startswith("acted beside it, training: 3 clips of 3") for n in notes.notes)
    stage, talk = heard(tmp_path / "stage", "3.wav"), heard(tmp_path / "chats", "4.wav")
    before, after = (outputs(path, stage + talk) for path in (job.output, more.output))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[:, :2], other[:, :2])
    assert before[0][0, 2] > 0.5 > after[0][0, 2]
    assert after[1][0, 2] > 0.5
    file = load_model(more.output)
    assert [(c.name, c.clips) for c in file.card.corpora] == [
        ("chats", 3),
        ("ravdess", 8),
        ("stage", 3),
    ]
    assert file.record is not None
    assert {"stage/0", "stage/1", "stage/2"} <= {*file.record.training_speakers}
    assert "stage/3" in file.record.test_speakers


def test_the_head_is_the_same_again(job: FitJob, tmp_path: Path) -> None:
    fit(job, Notes())
    again = dataclasses.replace(job, output=tmp_path / "b.keras", run_folder=tmp_path / "b")
    fit(again, Notes())
    first, second = (tiny_network.weights(path) for path in (job.output, again.output))
    tiny_network.require_equal(first, second)


def test_what_cannot_tell_talk_is_refused(job: FitJob, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = dataclasses.replace(job.recordings, mapping=(("neutral", "calm"),))
    with pytest.raises(SerError, match="recordings with the label 'neutral' beside talk"):
        fit(dataclasses.replace(job, recordings=renamed), Notes())
    with pytest.raises(SerError, match="--ordinary wants a new model"):
        adapt(job, job.output, Notes())
    tiny_network.register(monkeypatch, pooled="")
    with pytest.raises(
        SerError, match=r"tiny has no head for ordinary talk; .* emotion-tcn, emotion-whisper"
    ):
        fit(job, Notes())


def test_a_split_of_two_lists_is_parted() -> None:
    ours, others = Split((0, 3, 5), (1, 4), (2,)).parted(3)
    assert (ours, others) == (Split((0,), (1,), (2,)), Split((0, 2), (1,), ()))
