"""Batches of clips: their targets, what an epoch draws, and that nothing else decides it."""

from pathlib import Path

import numpy as np
import pytest

from helpers import tiny_corpora, tiny_network
from ser_live.model.card import SpectrumSpec
from ser_train.corpora import Clip
from ser_train.data.batches import Batches, FeatureSource, Targets, WindowSource
from ser_train.data.spectra import SpectrumCache


def test_labels_that_a_corpus_lacks_are_masked() -> None:
    clips = [
        Clip(Path("a"), "happy", "x/1", "x"),
        Clip(Path("b"), "sad", "x/1", "x"),
        Clip(Path("c"), "boredom", "y/1", "y"),
        Clip(Path("d"), "happy", "y/1", "y"),
    ]
    labels = ("happy", "sad", "boredom")
    targets = Targets(clips, labels, 0.2, mask_missing=True)
    np.testing.assert_array_equal(
        targets.offsets == 0, [[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 1]]
    )
    assert targets.offsets.min() <= -1e8
    np.testing.assert_allclose(targets.targets[0], [0.9, 0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(targets.targets.sum(axis=1), 1.0, atol=1e-6)
    unmasked = Targets(clips, labels, 0.0, mask_missing=False)
    assert not unmasked.offsets.any()


def test_the_loss_counts_from_how_frequent_a_label_is() -> None:
    clips = [Clip(Path("a"), label, "x/1", "x") for label in ("happy", "sad", "sad", "sad")]
    targets = Targets(clips, ("happy", "sad"), 0.0, mask_missing=True, balance=1.0)
    np.testing.assert_allclose(targets.offsets, np.log([[0.25, 0.75]] * 4), rtol=1e-6)
    half = Targets(clips, ("happy", "sad"), 0.0, mask_missing=False, balance=0.5)
    np.testing.assert_allclose(half.offsets, 0.5 * targets.offsets, rtol=1e-6)


@pytest.mark.parametrize("drawn_equally", [True, False])
def test_a_label_is_as_frequent_as_the_batches_have_it(drawn_equally: bool) -> None:
    """Of a corpus with one label in four and of a large one with one in two."""
    clips = [Clip(Path("a"), "happy" if i < 2 else "sad", "x/1", "x") for i in range(8)]
    clips += [Clip(Path("a"), ("happy", "sad")[i % 2], "y/1", "y") for i in range(24)]
    corpora = [clip.corpus for clip in clips] if drawn_equally else None
    targets = Targets(clips, ("happy", "sad"), 0.0, False, 1.0, corpora)
    source = FeatureSource(np.zeros((len(clips), 1, 1), np.float32).__getitem__)
    batches = Batches(source, targets, 8, 0.0, 0, corpora)
    drawn = np.concatenate([b.targets for epoch in range(200) for b in batches.epoch(epoch)])
    np.testing.assert_allclose(np.exp(targets.offsets[0]), drawn.mean(axis=0), atol=0.01)
    assert np.exp(targets.offsets[0, 0]) == pytest.approx(0.375 if drawn_equally else 14 / 32)


def numbered(corpora: list[str], batch_clips: int) -> Batches:
    """Batches of clips whose input is their place."""
    clips = [Clip(Path("a"), "happy", f"{name}/1", name) for name in corpora]
    targets = Targets(clips, ("happy", "sad"), 0.0, mask_missing=False)
    places = np.arange(len(clips), dtype=np.float32).reshape(-1, 1, 1)
    return Batches(FeatureSource(places.__getitem__), targets, batch_clips, 0.0, 0, corpora)


def test_an_epoch_draws_as_many_clips_of_each_corpus_as_the_smallest_has() -> None:
    batches = numbered(["large"] * 9 + ["small"] * 3, batch_clips=4)
    assert batches.count == 2
    heard = [
        np.sort(np.concatenate([batch.inputs for batch in batches.epoch(epoch)])[:, 0])
        for epoch in range(20)
    ]
    for drawn in heard:
        assert len(set(drawn)) == 6
        np.testing.assert_array_equal(drawn[3:], [9, 10, 11])
    assert set(np.concatenate(heard)) == set(range(12))


def test_a_handful_beside_a_corpus_is_repeated_and_the_epoch_stays_long() -> None:
    batches = numbered(["large"] * 37 + ["handful"] * 3, batch_clips=10)
    drawn = np.sort(np.concatenate([batch.inputs for batch in batches.epoch(0)])[:, 0])
    assert len(set(drawn[:5])) == 5
    counts = np.bincount(drawn[5:].astype(int))[37:]  # a quarter of the mean: five of three
    assert sorted(counts.tolist()) == [1, 2, 2]


def test_batches_depend_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    cache = SpectrumCache(tmp_path / "cache", SpectrumSpec(), (1.0, 1.1))
    paths = [tiny_corpora.write_sound(tmp_path / f"{i}.wav", "happy", i) for i in range(5)]
    clips = [Clip(path, ("happy", "sad")[i % 2], "x/1", "x") for i, path in enumerate(paths)]
    recipe = tiny_network.NETWORK.recipe
    targets = Targets(clips, ("happy", "sad"), 0.1, mask_missing=False)

    def epoch(number: int, seed: int = 0) -> list[np.ndarray]:
        source = WindowSource([cache.load(c) for c in clips], recipe, SpectrumSpec(), seed)
        batches = Batches(source, targets, 3, recipe.mixup, seed)
        return [batch.inputs for batch in batches.epoch(number)]

    first = epoch(1)
    assert [len(batch) for batch in first] == [3, 2]
    assert all(np.isfinite(batch).all() for batch in first)
    for one, two in zip(first, epoch(1), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0][:, :20], epoch(2)[0][:, :20])
    assert not np.array_equal(first[0][:, :20], epoch(1, seed=1)[0][:, :20])


def test_an_error_in_the_background_is_raised_in_front() -> None:
    targets = Targets([Clip(Path("a"), "happy", "x/1", "x")] * 3, ("happy", "sad"), 0.0, False)
    batches = Batches(FeatureSource(np.zeros((1, 4), np.float32).__getitem__), targets, 3, 0.0, 0)
    with pytest.raises(IndexError):
        list(batches.epoch(0))
