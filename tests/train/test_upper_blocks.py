"""The last blocks of an encoder learn after the head, on what lies below them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import tiny_corpora, tiny_network
from helpers.notes import Notes
from ser_live import SerError
from ser_live.model.card import SpectrumSpec
from ser_train.commands.fit import FitJob, fit
from ser_train.data.prepare import below_upper_blocks, prepare
from ser_train.data.recordings import Recordings
from ser_train.evaluation.calibration import measure
from ser_train.models.emotion_whisper import build_emotion_whisper
from ser_train.models.keras_file import load_model, require_one_start
from ser_train.models.recipe import ORDINARY_HEAD, UpperBlocks, WaveformAugmentation
from ser_train.models.registry import NETWORKS

SIZES = {"blocks": 2, "units": 8, "heads": 2, "inner_units": 12}


def build(n_labels: int, bins: int) -> Any:
    """Build the network of the default model in small, its encoder with weights of a seed."""
    model = build_emotion_whisper(n_labels, bins, **SIZES)
    encoder, random = model.get_layer("encoder"), np.random.default_rng(0)
    weights = [random.normal(0.0, 0.3, w.shape) for w in encoder.get_weights()]
    encoder.set_weights([w.astype(np.float16) for w in weights])
    return model


@pytest.fixture(name="job")
def small_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FitJob:
    recipe = dataclasses.replace(
        tiny_network.NETWORK.recipe,
        augmentation=None,
        waveforms=WaveformAugmentation(copies=2),
        upper=UpperBlocks(epochs=2, batch_clips=4, learning_rate=0.01),
    )
    tiny_network.register(
        monkeypatch,
        build=build,
        recipe=recipe,
        spectrum=SpectrumSpec(fft_samples=400),
        front_end="encoder",
        pooled="encoder",
        ordinary=dataclasses.replace(ORDINARY_HEAD, steps=20, copies=2),
    )
    corpus = tiny_corpora.write_ravdess(tmp_path / "ravdess", range(1, 7), ["neutral", "sad"])
    return tiny_network.job(Recordings((corpus,)), tmp_path)


@pytest.mark.parametrize("upper", [1, 2])
def test_below_and_above_are_the_encoder(upper: int) -> None:
    from ser_train.layers import LowerEncoder, UpperEncoder  # noqa: PLC0415 - Keras takes seconds

    encoder = build(2, 201).get_layer("encoder")
    power = np.random.default_rng(1).exponential(size=(2, 61, 201)).astype(np.float32)
    power[1, 41:] = 0.0
    parted = UpperEncoder(encoder, upper)(LowerEncoder(encoder, upper, time=50)(power))
    np.testing.assert_allclose(parted, encoder(power), rtol=5e-3, atol=5e-3)


@pytest.mark.integration
@pytest.mark.usefixtures("no_pictures")
def test_the_last_block_learns_alone_and_goes_on_from_its_checkpoint(
    job: FitJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_corpora.write_sound(tmp_path / "chats" / "a.wav", "happy", 1, seconds=1.5)
    job = dataclasses.replace(job, ordinary=(tmp_path / "chats",))
    scores = fit(job, Notes())
    model = load_model(job.output).model
    learnt, published = (m.get_layer("encoder").get_weights() for m in (model, build(2, 201)))
    kept = [np.array_equal(a, b) for a, b in zip(learnt, published, strict=True)]
    of_block = (len(kept) - 5) // 2
    assert kept == [True] * (5 + of_block) + [False] * of_block
    again = dataclasses.replace(job, output=tmp_path / "again.keras", run_folder=tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        fit(again, Notes("epoch 1/2", after="last 1 of the encoder's blocks"))
    fit(dataclasses.replace(again, resume=True), notes := Notes())
    assert "going on after epoch 1 of 2" in notes.notes
    tiny_network.require_equal(*map(tiny_network.weights, (job.output, again.output)))
    pretrained = dataclasses.replace(NETWORKS["tiny"], is_pretrained=True)
    monkeypatch.setitem(NETWORKS, "tiny", pretrained)
    own = pretrained.with_front_end_of(model)
    clips = [clip for clip in job.recordings.find() if clip.speaker == "ravdess/06"]
    heard = prepare(clips, own, job.cache_folder, Notes(), skip=False, train=False)
    measured = measure(model, heard, range(len(clips)), ("neutral", "sad"), whole=False)
    assert scores is not None
    assert scores.nll == pytest.approx(measured.scores.nll, rel=0.01)


def test_more_blocks_than_there_are_are_refused(job: FitJob) -> None:
    network = NETWORKS[job.network]
    with pytest.raises(SerError, match=r"blocks is 3, wanted at most the 2 blocks of the encoder"):
        below_upper_blocks(network, UpperBlocks(blocks=3))


def test_an_encoder_is_wanted_and_stays_in_an_adaptation(tmp_path: Path) -> None:
    with pytest.raises(SerError, match=r"emotion-tcn has no encoder: leave out recipe\.upper"):
        NETWORKS["emotion-tcn"].with_settings([("recipe.upper.epochs", "2")])
    with pytest.raises(SerError, match=r"keeps the encoder as it is: leave out recipe\.upper"):
        require_one_start("", tmp_path / "a.keras", settings=(("recipe.upper.blocks", "2"),))
